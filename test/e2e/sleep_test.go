package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// A ping keeps a server awake. Silence lets it sleep, in a write that says how to wake it, and the
// next ping wakes it.
func TestSilenceSleepsAndAPingWakes(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha", replicas(3))
	events := w.events()
	const idleAfter = 20 * time.Second // enough to see it awake
	w.run(append(idle, "--idle-after", idleAfter.String())...)
	w.awaitReplicas("alpha", 3)
	for range 8 {
		w.ping("alpha")
		wait.Consistently(t, 3*time.Second, "used, and awake", w.staying(3, "alpha"))
	}
	w.awaitReplicas("alpha", 0)
	e := events.next(scaler.Slept, "alpha")
	if e.From != 3 || e.To != 0 || e.Cause != policy.CauseIdle || e.Idle < idleAfter {
		t.Errorf("published %+v", e)
	}
	if got := w.mark("alpha", "replicas"); got != "3" {
		t.Errorf("it is to wake with %q replicas", got)
	}
	w.ping("alpha")
	w.awaitReplicas("alpha", 3)
	events.next(scaler.Woken, "alpha")
	if e := events.next(scaler.Ready, "alpha"); e.Took <= 0 {
		t.Errorf("published %+v", e)
	}
}

// A lease wakes a server, and keeps it awake without any ping until it runs out or its holder ends
// it. The idle clock starts then, not when the lease began.
func TestALeaseKeepsAwakeUntilItEnds(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"runs-out", "ended", "unused"} {
		w.deploy(name)
	}
	events := w.events()
	w.run(idle...)
	w.ping("unused") // or the log would prove nothing
	for _, name := range []string{"runs-out", "ended", "unused"} {
		w.awaitReplicas(name, 0)
	}

	ended := w.namespace + "/ended"
	said := w.says(0, "lease", "--ttl", "1h", "--holder", "ann@laptop", ended)
	if said != ended+" is leased to ann@laptop for 1h\n" {
		t.Errorf("lease says %q", said)
	}
	w.lease("runs-out", 20*time.Second) // enough to see it
	for _, name := range []string{"runs-out", "ended"} {
		if e := events.next(scaler.Woken, name); e.Cause != policy.CauseLease || e.To != 1 {
			t.Errorf("published %+v", e)
		}
	}
	leased := w.awaitReason("runs-out", policy.Leased)
	w.awaitReason("ended", policy.Leased)
	if len(leased.Leases) != 1 || leased.Leases[0].Holder != "the-test" {
		t.Fatalf("its leases are %+v", leased.Leases)
	}
	if said := w.says(0, "status", ended); !strings.Contains(said, "ann@laptop, for another 59m") {
		t.Errorf("status says %q", said)
	}
	events = w.events()
	until := leased.Leases[0].Until
	wait.Consistently(t, time.Until(until), "leased, and awake", w.staying(1, "runs-out", "ended"))

	end := time.Now()
	said = w.says(0, "lease", "--end", "--holder", "ann@laptop", ended)
	if said != ended+" is not leased to ann@laptop any more\n" {
		t.Errorf("lease --end says %q", said)
	}
	if e := events.next(scaler.Slept, "runs-out"); e.At.Before(until.Add(3 * time.Second)) {
		t.Errorf("it slept at %s, its lease ran out at %s", e.At, until)
	}
	if e := events.next(scaler.Slept, "ended"); e.At.Before(end.Add(3 * time.Second)) {
		t.Errorf("it slept at %s, its lease was ended at %s", e.At, end)
	}
}

// A log that never held a ping proves nothing: perhaps nobody reports. So nothing sleeps, and the
// status says why. From the first ping on silence is proof, also about a server that has never been
// pinged itself, and not about the time before.
func TestALogWithoutPingsProvesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy("silent")
	w.deploy("used")
	events := w.events()
	w.run(idle...)
	w.awaitReplicas("silent", 1)
	if s := w.awaitReason("silent", policy.Blind); !strings.Contains(s.Decision.Text, "never held a ping") {
		t.Errorf("its status says %q", s.Decision.Text)
	}
	wait.Consistently(t, 6*time.Second, "awake without proof", w.staying(1, "silent"))

	first := time.Now()
	w.ping("used")
	if e := events.next(scaler.Slept, "silent"); e.At.Before(first.Add(3*time.Second)) || e.Idle > e.At.Sub(first) {
		t.Errorf("it slept at %s after %s of silence, the first ping came at %s", e.At, e.Idle, first)
	}
}

// A ping that crosses the patch of a sleep, before or after it, ends with the server awake; also
// when the daemon dies at that moment and only its successor can know.
func TestAPingThatCrossesASleepEndsAwake(t *testing.T) {
	for _, c := range []struct {
		crosses string
		killed  bool
	}{{"before", false}, {"after", true}} {
		t.Run(fmt.Sprintf("%s the patch, killed %v", c.crosses, c.killed), func(t *testing.T) {
			w := newWorld(t)
			r := newRelay(t)
			w.deploy("alpha", replicas(2))
			events := w.events()
			w.run(append(alone, "--kubeconfig", r.kubeconfig)...)
			ping := func() {
				if err := w.Ping(t.Context(), w.id("alpha")); err != nil {
					t.Error(err)
				}
			}
			done := newMoment()
			r.act(func(patch string) {
				if c.crosses == "before" && strings.Contains(patch, `"replicas":0}`) { // each: the first may meet a conflict
					ping()
				}
			}, w.asleep("alpha", done.hold))
			ping()
			done.then(t, func() {
				if c.crosses == "after" {
					ping()
				}
				if c.killed {
					w.kill()
				}
			})
			if c.killed {
				if err := w.wants(0, "alpha"); err != nil {
					t.Fatal(err)
				}
				w.run(alone...)
			}
			if e := events.next(scaler.Woken, "alpha"); e.Cause != policy.CauseActivity || e.To != 2 {
				t.Errorf("published %+v", e)
			}
			events.next(scaler.Ready, "alpha")
		})
	}
}
