package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// All that a daemon knows is in the cluster and in the streams: the next one says the same of every
// server, whatever its state. Demand that came while no daemon ran wakes.
func TestARestartForgetsNothing(t *testing.T) {
	w := newWorld(t)
	names := []string{"asleep", "leased", "scaled", "stopped", "used", "woken"}
	for _, name := range names {
		w.deploy(name, replicas(2))
	}
	for _, name := range []string{"scaled", "used", "woken"} {
		w.set(name, "paused", "true")
	}
	events := w.events()
	w.run(alone...)
	w.ping("asleep")
	w.ping("used")
	w.lease("used", time.Hour)
	w.publish("stop", "stopped", `{"id":"c1","actor":"ann","reason":"too loud"}`)
	w.publish("scale", "scaled", `{"id":"c2","replicas":3}`)
	w.publish("stop", "woken", ``)
	w.publish("start", "woken", `{"id":"c3"}`)
	events.next(scaler.Ready, "woken")
	for name, want := range map[string]int32{"asleep": 0, "leased": 0, "scaled": 3, "stopped": 0, "used": 2, "woken": 2} {
		w.awaitReplicas(name, want)
	}
	known := func() map[string]string {
		said := make(map[string]string)
		for _, name := range names {
			s, err := w.status(name)
			natstest.Check(t, err)
			s.IdleFor, s.IdleSeconds, s.Decision.Text = "", 0, "" // these tell the time
			text, err := json.Marshal(s)
			natstest.Check(t, err)
			said[name] = string(text)
		}
		return said
	}
	var before map[string]string
	var changed time.Time
	wait.Eventually(t, "the status of all is at rest", func() error {
		if said := known(); !maps.Equal(before, said) {
			before, changed = said, time.Now()
		}
		if rest := time.Since(changed); rest < time.Second {
			return fmt.Errorf("changed %s ago to %s", rest, before)
		}
		return nil
	})
	used, stopped := before["used"], before["stopped"]
	if !strings.Contains(used, `"last_activity":"20`) || !strings.Contains(stopped, `"command_id":"c1"`) {
		t.Errorf("nothing was known: %s", before)
	}
	for _, end := range []func(){w.kill, w.stop} {
		end()
		w.run(alone...)
		wait.Eventually(t, "the next says the same", func() error {
			after := known()
			for name := range before {
				if before[name] != after[name] {
					return fmt.Errorf("of %s it said\n%s\nbefore, and\n%s\nafter", name, before[name], after[name])
				}
			}
			return nil
		})
	}

	w.kill()
	w.ping("asleep")
	w.lease("leased", time.Hour)
	events = w.events()
	w.run(alone...)
	for name, cause := range map[string]policy.Cause{"asleep": policy.CauseActivity, "leased": policy.CauseLease} {
		if e := events.next(scaler.Woken, name); e.Cause != cause {
			t.Errorf("%s was woken by %s", name, e.Cause)
		}
	}
	if err := w.wants(0, "stopped"); err != nil {
		t.Error(err)
	}
}

// An event is published although the daemon was killed between the patch and its publication: it is
// in the patch, and the successor publishes it under the same id, once.
func TestAnEventOutlivesItsDaemon(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	r := newRelay(t)
	w.run(append(alone, "--kubeconfig", r.kubeconfig)...)
	slept := newMoment()
	r.act(nil, w.asleep("alpha", slept.hold))
	w.ping("alpha")
	slept.then(t, w.kill)
	if events := w.stored(scaler.Slept, "alpha"); len(events) > 0 {
		t.Fatalf("published already: %+v", events)
	}
	var last struct{ ID string }
	if err := json.Unmarshal([]byte(w.mark("alpha", "last")), &last); err != nil || last.ID == "" {
		t.Fatalf("the last transition is %q, %v", w.mark("alpha", "last"), err)
	}
	w.run(alone...)
	wait.Eventually(t, "it is published", func() error {
		e := w.stored(scaler.Slept, "alpha")
		if len(e) != 1 || e[0].ID != last.ID || e[0].Cause != policy.CauseIdle || e[0].From != 1 {
			return fmt.Errorf("the stream has %+v, want the one with id %s", e, last.ID)
		}
		return nil
	})
	// The next one does not publish again what the stream has.
	w.kill()
	w.run(append(alone, "--idle-after", "1h")...)
	w.ping("alpha")
	w.awaitReplicas("alpha", 1)
	if events := w.stored(scaler.Slept, "alpha"); len(events) != 1 {
		t.Errorf("the stream has %+v", events)
	}
}
