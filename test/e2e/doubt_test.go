package e2e

import (
	"fmt"
	"testing"
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// While NATS is away nothing sleeps, and that time is not idle time afterwards. Then pings and
// commands work as before, without a restart of the daemon.
func TestNATSMayGoAndCome(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	const idleAfter = 12 * time.Second // enough to see it awake, and that the ping is known
	d := w.run(append(idle, "--idle-after", idleAfter.String())...)
	w.awaitReplicas("alpha", 1)
	events := w.events()
	w.awaitPing("alpha")
	s, err := w.status("alpha")
	natstest.Check(t, err)

	w.stopNATS()
	gone := time.Now()
	wait.Eventually(t, "the daemon is blind", func() error { return d.metric("idle_scaler_blind 1") })
	if code, body, err := d.get("/readyz"); code != 503 {
		t.Errorf("without NATS /readyz says %d %s %v", code, body, err)
	}
	wait.Consistently(t, idleAfter+3*time.Second, "awake", w.staying(1, "alpha"))
	away := time.Since(gone)
	w.startNATS()

	e := events.next(scaler.Slept, "alpha")
	if idle := e.At.Sub(s.LastActivity); idle < idleAfter+away {
		t.Errorf("it slept %s after the ping, and NATS was away for %s of it", idle, away)
	}
	wait.Eventually(t, "the daemon is not blind", func() error { return d.metric("idle_scaler_blind 0") })
	w.ping("alpha")
	w.awaitReplicas("alpha", 1)
	w.publish("scale", "alpha", `{"replicas":2}`)
	w.awaitReplicas("alpha", 2)
	if a, err := w.Stop(t.Context(), w.id("alpha"), false, wire.Sender{}); err != nil || a.Event.Type != "slept" {
		t.Errorf("answered %+v, %v", a, err)
	}
}

// A log that was purged proves nothing of the time before, whether the daemon sees that or comes
// later: no server sleeps before the daemon has heard the log for as long as its idle-after.
func TestAPurgedLogProvesNothing(t *testing.T) {
	for _, seen := range []bool{true, false} {
		t.Run(fmt.Sprintf("seen %v", seen), func(t *testing.T) {
			w := newWorld(t)
			w.deploy("alpha")
			const idleAfter = 20 * time.Second // time to see it blind
			flags := append(alone, "--idle-after", idleAfter.String())
			events := w.events()
			w.run(flags...)
			wait.Eventually(t, "the log is old enough, and proves something", func() error {
				w.ping("alpha") // it must not sleep yet
				if s, err := w.status("alpha"); err != nil || s.Decision.Reason != string(policy.Awake) {
					return fmt.Errorf("it is treated as %s, %w", s.Decision.Reason, err)
				}
				return nil
			})
			if !seen {
				w.kill()
			}
			stream, err := w.stream(activityStream)
			natstest.Check(t, err)
			purged := time.Now()
			natstest.Check(t, stream.Purge(t.Context()))
			if !seen {
				w.run(flags...)
			}
			w.awaitReason("alpha", policy.Blind)
			w.ping("somebody-else")
			if slept := events.next(scaler.Slept, "alpha"); slept.At.Before(purged.Add(idleAfter)) {
				t.Errorf("it slept at %s, the log was purged at %s", slept.At, purged)
			}
		})
	}
}
