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

// An order beats automation: no ping and no lease wakes what a stop, or a scale to zero, put to
// zero, also not a lease that lived before. A start wakes it with the replicas that it had.
func TestAStopLasts(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha", replicas(3))
	w.deploy("beta", replicas(2))
	w.run(idle...)
	w.awaitReplicas("alpha", 3)
	w.awaitReplicas("beta", 2)
	w.lease("alpha", time.Hour)
	w.publish("stop", "alpha", ``)
	w.publish("scale", "beta", `{"replicas":0}`)
	for _, name := range []string{"alpha", "beta"} {
		w.awaitReplicas(name, 0)
		if because := w.mark(name, "asleep-because"); because != "command" {
			t.Errorf("%s sleeps because %q", name, because)
		}
	}
	w.lease("beta", time.Hour)
	for _, name := range []string{"alpha", "beta"} {
		w.awaitPing(name)
		w.awaitReason(name, policy.Stopped)
	}
	wait.Consistently(t, 3*time.Second, "stopped", w.staying(0, "alpha", "beta")) // three sweeps
	w.publish("start", "alpha", ``)
	w.publish("start", "beta", ``)
	w.awaitReplicas("alpha", 3)
	w.awaitReplicas("beta", 2)
	for _, key := range []string{"asleep-because", "asleep-since", "replicas"} {
		if mark := w.mark("alpha", key); mark != "" {
			t.Errorf("alpha is awake, with the mark %s %q", key, mark)
		}
	}
}

// A hold keeps its server awake, or asleep, until it ends by itself: no silence ends the one, no
// ping and no lease the other. Demand that came meanwhile counts then. A hold survives a restart.
func TestAHoldLastsUntilItEnds(t *testing.T) {
	w := newWorld(t)
	w.deploy("awake")
	w.deploy("asleep", replicas(2))
	w.deploy("idle")
	events := w.events()
	w.run(idle...)
	w.awaitReplicas("asleep", 2)
	w.says(0, "hold", "--awake-until", "30s", "--actor", "ann", "--reason", "a demo", w.namespace+"/awake")
	until := time.Now().Add(25 * time.Second)
	w.publish("hold", "asleep", `{"asleep_until":"25s","actor":"bob"}`)
	w.awaitReplicas("asleep", 0)
	e := events.next(scaler.Slept, "asleep")
	if e.Actor != "bob" || e.Cause != policy.CauseCommand || !strings.Contains(e.Text, "held asleep until") {
		t.Errorf("published %+v", e)
	}
	w.ping("asleep")
	w.lease("asleep", time.Hour)
	events.next(scaler.Slept, "idle")
	w.awaitReason("asleep", policy.HeldAsleep)
	s := w.awaitReason("awake", policy.Held)
	if s.Hold == nil || s.Hold.Actor != "ann" || s.Hold.Reason != "a demo" || s.Hold.Asleep {
		t.Errorf("its hold is %+v", s.Hold)
	}
	w.kill()
	w.run(idle...)
	wait.Consistently(t, time.Until(until)-time.Second, "held", func() error {
		if err := w.wants(0, "asleep"); err != nil {
			return err
		}
		return w.wants(1, "awake")
	})
	w.awaitReplicas("asleep", 2) // the lease is still there
	if e := events.next(scaler.Woken, "asleep"); e.Cause != policy.CauseLease || e.At.Before(until.Add(-time.Second)) {
		t.Errorf("published %+v", e)
	}
	if e := events.next(scaler.Slept, "awake"); e.Cause != policy.CauseIdle {
		t.Errorf("published %+v", e)
	}
}

// While a namespace is paused nothing of it is put to sleep, over a restart too. What sleeps is
// still woken, orders are still obeyed, and resume ends the pause.
func TestPauses(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	w.deploy("sleeper")
	w.run(idle...)
	w.ping("sleeper")
	w.awaitReplicas("alpha", 0)
	w.awaitReplicas("sleeper", 0)
	w.says(0, "pause", "--actor", "ann", "--reason", "an incident", "-n", w.namespace)
	w.ping("alpha")
	w.awaitReplicas("alpha", 1)
	s := w.awaitReason("alpha", policy.Paused)
	if s.Paused == nil || s.Paused.Actor != "ann" || s.Paused.Reason != "an incident" {
		t.Errorf("it is paused by %+v", s.Paused)
	}
	w.kill()
	w.run(idle...)
	events := w.events()
	w.ping("sleeper")
	events.next(scaler.Woken, "sleeper")
	wait.Consistently(t, 5*time.Second, "paused, and awake", w.staying(1, "alpha"))
	w.publish("stop", "sleeper", "")
	w.awaitReplicas("sleeper", 0)

	events = w.events()
	w.says(0, "resume", "-n", w.namespace)
	events.next(scaler.Slept, "alpha")
}

// "wake --all" wakes what the daemon itself has put to sleep, with the replicas that it had. It
// leaves and names what somebody has stopped, holds asleep or has made zero himself. "disable" does
// the same, and lets nothing sleep after it.
func TestWakeAllAndDisable(t *testing.T) {
	w := newWorld(t)
	sleepers := []string{"idle-1", "idle-2", "idle-3"}
	for _, name := range sleepers {
		w.deploy(name, replicas(2))
	}
	left := []string{"stopped", "held", "foreign"}
	for _, name := range left {
		w.deploy(name)
	}
	w.run(append(idle, "--idle-after", "12s")...) // "wake --wait" has to see them awake
	w.publish("stop", "stopped", `{"actor":"ann"}`)
	w.publish("hold", "held", `{"asleep_until":"1h","actor":"bob"}`)
	w.awaitReplicas("foreign", 1)
	w.scale("foreign", 0)
	w.ping("somebody-else")
	for _, name := range sleepers {
		w.awaitReplicas(name, 0)
	}
	events := w.events()
	said := w.says(0, "wake", "--all", "-n", w.namespace, "--wait", "30s")
	if !containsAll(said, "3 servers", "stopped", "held") {
		t.Errorf("it says %q", said)
	}
	for _, name := range sleepers {
		if e := events.next(scaler.Woken, name); e.To != 2 {
			t.Errorf("published %+v", e)
		}
		events.next(scaler.Slept, name) // it is not paused
	}

	said = w.says(0, "disable", "--wait", "60s")
	if !containsAll(said, "stopped", "held") || strings.Contains(said, "foreign: woken") {
		t.Errorf("it says %q", said)
	}
	after := func() error {
		if err := w.wants(2, sleepers...); err != nil {
			return err
		}
		if err := w.wants(0, left...); err != nil {
			return fmt.Errorf("somebody's order is undone: %w", err)
		}
		return nil
	}
	if err := after(); err != nil {
		t.Errorf("when disable has returned: %v", err)
	}
	wait.Consistently(t, 14*time.Second, "awake after disable", after) // longer than the idle-after
	w.says(0, "disable", "--wait", "60s")                              // twice is once
}
