package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// The main job: a ping keeps a server awake, silence lets it sleep, with what is needed to wake it, and the next ping wakes it.
func TestSilenceSleepsAndAPingWakes(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(3))
	events := b.events()
	const idleAfter = 20 * time.Second // enough to see it awake
	b.run(append(idle, "--idle-after", idleAfter.String())...)
	b.awaitReplicas("alpha", 3)
	for range 8 {
		b.ping("alpha")
		consistently(t, 3*time.Second, "used, and asleep", b.staysAt("alpha", 3))
	}
	b.awaitReplicas("alpha", 0)
	if e := events.next(scaler.Slept, "alpha"); e.From != 3 || e.To != 0 || e.Cause != policy.CauseIdle || e.Idle < idleAfter {
		t.Errorf("told %+v", e)
	}
	if got := b.mark("alpha", "replicas"); got != "3" {
		t.Errorf("remembers %q replicas", got)
	}
	b.ping("alpha")
	b.awaitReplicas("alpha", 3)
	events.next(scaler.Woken, "alpha")
	if e := events.next(scaler.Ready, "alpha"); e.Took <= 0 {
		t.Errorf("told %+v", e)
	}
}

// A lease keeps its server awake without any ping until it runs out by itself or its holder ends it; the idle clock starts
// then, not when it was begun.
func TestALeaseKeepsAwakeUntilItEnds(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"runs-out", "ended", "unused"} {
		b.deploy(name)
	}
	events := b.events()
	b.run(idle...)
	b.lease("runs-out", 8*time.Second)
	b.lease("ended", time.Hour)
	b.ping("unused") // or the log would prove nothing

	leased := b.awaitReason("runs-out", policy.Leased)
	b.awaitReason("ended", policy.Leased)
	if len(leased.Leases) != 1 || leased.Leases[0].Holder != "the-test" {
		t.Fatalf("its leases are %+v", leased.Leases)
	}
	until := leased.Leases[0].Until
	events.next(scaler.Slept, "unused") // what is as idle as they, without a lease
	consistently(t, time.Until(until), "leased, and asleep", b.staysAt("runs-out", 1))

	ended := time.Now()
	if err := b.staysAt("ended", 1)(); err != nil {
		t.Errorf("leased, and asleep: %v", err)
	}
	b.lease("ended", 0)
	if e := events.next(scaler.Slept, "runs-out"); e.At.Before(until.Add(3 * time.Second)) {
		t.Errorf("slept at %s, its lease ran out at %s", e.At, until)
	}
	if e := events.next(scaler.Slept, "ended"); e.At.Before(ended.Add(3 * time.Second)) {
		t.Errorf("slept at %s, its lease was ended at %s", e.At, ended)
	}
}

// A lease is demand as a ping is: it wakes a server that is asleep, and keeps it awake.
func TestALiveLeaseWakes(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(2))
	events := b.events()
	b.run(idle...)
	b.ping("alpha")
	b.awaitReplicas("alpha", 0)
	b.lease("alpha", time.Hour)
	if e := events.next(scaler.Woken, "alpha"); e.Cause != policy.CauseLease || e.To != 2 {
		t.Errorf("told %+v", e)
	}
	b.awaitReplicas("alpha", 2)
	b.awaitReason("alpha", policy.Leased)
	consistently(t, 5*time.Second, "leased, and asleep", b.staysAt("alpha", 2))
}

// Of a server with wake-on-activity=false a ping or a lease does not end the sleep, because its owner says so; a start does.
func TestActivityWakesOnlyWhereItMay(t *testing.T) {
	b := newBench(t)
	b.deploy("batch", replicas(2), annotation("wake-on-activity", "false"))
	events := b.events()
	b.run(idle...)
	b.ping("batch")
	slept := events.next(scaler.Slept, "batch")
	// Up to here a ping may have crossed the sleep, which then has to be undone.
	time.Sleep(time.Until(slept.At.Add(1500 * time.Millisecond)))

	b.ping("batch")
	b.lease("batch", time.Hour)
	eventually(t, "both are known", func() error {
		s, err := b.status("batch")
		if err == nil && (len(s.Leases) != 1 || !s.LastActivity.After(slept.At)) {
			err = fmt.Errorf("leases %v, last activity %s", s.Leases, s.LastActivity)
		}
		return err
	})
	consistently(t, 2500*time.Millisecond, "woken by activity", b.staysAt("batch", 0)) // some sweeps long
	b.awaitReason("batch", policy.Asleep)

	if _, err := b.Start(t.Context(), b.id("batch"), patience, wire.Sender{}); err != nil {
		t.Fatal(err)
	}
	b.awaitReplicas("batch", 2)
}

// What the owner has written on one server beats the flags of the daemon: when it sleeps, and whether it does at all.
func TestAnnotationsBeatFlags(t *testing.T) {
	b := newBench(t)
	b.deploy("plain")
	b.deploy("paused", annotation("paused", "true"))
	b.deploy("never", annotation("idle-after", "never"))
	b.deploy("patient", annotation("idle-after", "1h"))
	events := b.events()
	b.run(idle...)
	b.ping("somebody-else")
	events.next(scaler.Slept, "plain")
	consistently(t, 4*time.Second, "asleep", func() error {
		for _, name := range []string{"paused", "never", "patient"} {
			if err := b.staysAt(name, 1)(); err != nil {
				return err
			}
		}
		return nil
	})
	b.awaitReason("paused", policy.Paused)
	if s := b.awaitReason("never", policy.Awake); s.Settings["idle_after"] != "never" {
		t.Errorf("settings %+v", s.Settings)
	}

	// Paused keeps a server from being put to sleep, not from being woken.
	b.patch("plain", "kubectl-annotate", `{"metadata":{"annotations":{"idle-scaler/paused":"true"}}}`)
	b.ping("plain")
	b.awaitReplicas("plain", 1)
	consistently(t, 5*time.Second, "paused, and asleep", b.staysAt("plain", 1))
}

// The same the other way: a server sleeps earlier than the others if its annotation says so.
func TestAnEarlierIdleAfterBeatsTheFlag(t *testing.T) {
	b := newBench(t)
	b.deploy("plain")
	b.deploy("hasty", annotation("idle-after", "2s"))
	b.run(append(idle, "--idle-after", "1h")...)
	b.ping("plain")
	b.awaitReplicas("hasty", 0)
	consistently(t, 3*time.Second, "asleep", b.staysAt("plain", 1))
}

// A log that never held a ping proves nothing: nobody may be reporting. So nothing sleeps, and the status says why. From the first
// ping on silence is proof, also about a server that has never been pinged itself, and not about the time before.
func TestALogWithoutPingsProvesNothing(t *testing.T) {
	b := newBench(t)
	b.deploy("silent")
	b.deploy("used")
	events := b.events()
	b.run(idle...)
	b.awaitReplicas("silent", 1)
	if s := b.awaitReason("silent", policy.Blind); !strings.Contains(s.Decision.Text, "never held a ping") {
		t.Errorf("its status says %q", s.Decision.Text)
	}
	consistently(t, 6*time.Second, "asleep without proof", b.staysAt("silent", 1))

	first := time.Now()
	b.ping("used")
	if e := events.next(scaler.Slept, "silent"); e.At.Before(first.Add(3*time.Second)) || e.Idle > e.At.Sub(first) {
		t.Errorf("slept at %s after %s of silence, the first ping came at %s", e.At, e.Idle, first)
	}
}
