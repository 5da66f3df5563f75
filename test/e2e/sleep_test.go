package e2e

import (
	"testing"
	"time"

	"idle-scaler/scaler"
)

// The main job: a ping keeps a server awake, silence lets it sleep, with what is needed to wake it, and the next ping wakes it.
func TestSilenceSleepsAndAPingWakes(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(3))
	b.run(idle...)
	events := b.events()
	b.awaitReplicas("alpha", 3)
	for range 5 {
		b.ping("alpha")
		consistently(t, time.Second, "used, and asleep", b.staysAt("alpha", 3))
	}
	b.awaitReplicas("alpha", 0)
	if e := events.next(scaler.Slept, "alpha"); e.From != 3 || e.To != 0 || e.Cause != scaler.CauseIdle || e.Idle < 3*time.Second {
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
