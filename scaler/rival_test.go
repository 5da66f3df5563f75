package scaler

import (
	"strings"
	"testing"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// revert is what Argo CD does after the daemon has put alpha to sleep.
func (w *world) revert() {
	w.change("alpha", func(s *Server) { s.Replicas, s.Writer, s.Ours = 2, "argocd-controller", false })
}

// sleepAgain lets alpha be idle until it sleeps.
func (w *world) sleepAgain() {
	w.t.Helper()
	time.Sleep(idleAfter)
	w.sweep()
	w.expectReplicas(0)
}

// After two reverts in a row without demand the server is not put to sleep any more. One event says
// so: who reverts it, since when, and what to change.
func TestContended(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		first := time.Now()
		w.revert()
		if r := w.alpha().Mark.Reverts; r.Count != 1 || r.Writer != "argocd-controller" || !r.Since.Equal(first) {
			t.Errorf("reverts %+v", r)
		}
		w.sleepAgain()
		w.revert()
		for range 5 {
			time.Sleep(idleAfter)
			w.sweep()
			w.expectReplicas(2)
		}
		w.expectPublished(Slept, Woken, Slept, Woken, Contended)
		e := w.last(Contended)
		if e.Actor != "argocd-controller" || e.Cause != policy.CauseExternal {
			t.Errorf("event %+v", e)
		}
		for _, part := range []string{
			"Argo CD", "since 2000-01-01T00:00:00Z", "managedFieldsManagers: [idle-scaler]", "RespectIgnoreDifferences=true",
		} {
			if !strings.Contains(e.Text, part) {
				t.Errorf("text lacks %q: %s", part, e.Text)
			}
		}
		w.nextLeader()
		w.expectPublished(Slept, Woken, Slept, Woken, Contended)
		w.ping() // demand changes nothing about it
		time.Sleep(2 * idleAfter)
		w.expectReplicas(2)
	}, running(2))
}

// If the leader dies before it publishes that a server is contended, the next leader does, after
// the event of the wake.
func TestContendedIsPublishedByTheNextLeader(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		w.revert()
		w.sleepAgain()
		w.bus.mu.Lock()
		w.bus.away = ErrUnsure
		w.bus.mu.Unlock()
		w.revert()
		w.end()
		w.bus.away = nil
		w.begin(func() bool { return true })
		w.nextLeader()
		w.expectPublished(Slept, Woken, Slept, Woken, Contended)
	}, running(2))
}

// These things end or prevent that a server counts as contended.
func TestNotContended(t *testing.T) {
	twice := func(w *world) {
		w.sweep()
		w.revert()
		w.sleepAgain()
		w.revert()
	}
	for name, happens := range map[string]func(w *world){
		"the wakes had demand": func(w *world) {
			w.sweep()
			for range 3 {
				w.tracker.Ping(alpha, w.stamp())
				w.revert() // faster than we are
				w.sleepAgain()
			}
			w.revert()
		},
		"a wake of ours in between": func(w *world) {
			w.sweep()
			w.revert()
			w.sleepAgain()
			w.ping()
			w.sleepAgain()
			w.revert()
		},
		"nobody could have asked for it": func(w *world) {
			for range 3 {
				w.sweep()
				w.expectReplicas(0)
				w.tracker.Lost("NATS is away", time.Now())
				w.revert()
				w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-2 * idleAfter)}, time.Now())
				time.Sleep(idleAfter + 2*time.Minute) // settled
			}
		},
		"it was asked for, which does not wake this one": func(w *world) {
			w.change("alpha", func(s *Server) { s.Settings.WakeOnActivity = false })
			w.sweep()
			for range 3 {
				time.Sleep(2 * time.Second)
				w.tracker.Ping(alpha, w.stamp())
				w.revert()
				w.sleepAgain()
			}
			w.revert()
		},
		"a command": func(w *world) { twice(w); w.must(Command{Verb: Start}) },
		"a hold":    func(w *world) { twice(w); w.must(holdAwake); w.must(Command{Verb: Release}) },
		"a changed setting": func(w *world) {
			twice(w)
			w.change("alpha", func(s *Server) { s.Settings.Digest = "another" })
		},
		"a changed setting between the two": func(w *world) {
			w.sweep()
			w.revert()
			w.sleepAgain()
			w.change("alpha", func(s *Server) { s.Settings.Digest = "another" })
			w.revert()
			if n := w.alpha().Mark.Reverts.Count; n != 1 {
				w.t.Errorf("%d reverts counted", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				happens(w)
				w.sleepAgain()
			}, running(2))
		})
	}
}

// A raise while the log was not complete is no revert, because nobody could have asked for it. It
// takes no earlier revert back either.
func TestRevertsBeforeBlindness(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		w.revert()
		w.sleepAgain()
		w.tracker.Lost("NATS is away", time.Now())
		w.revert()
		if r := w.alpha().Mark.Reverts; r.Count != 1 {
			t.Errorf("reverts %+v", r)
		}
	}, running(2))
}

// Somebody who raises a whole group at once is a rival of all of it: its servers are no demand for
// each other.
func TestRevertsOfAGroup(t *testing.T) {
	lead(t, func(w *world) {
		for range policy.MaxReverts {
			time.Sleep(idleAfter)
			w.sweep()
			w.expect("a", 0)
			w.expect("b", 0)
			w.end()
			for _, name := range []string{"a", "b"} { // before a leader sees any of it
				w.change(name, func(s *Server) { s.Replicas, s.Writer, s.Ours = 2, "argocd-controller", false })
			}
			w.nextLeader()
		}
		for _, name := range []string{"a", "b"} {
			if r := w.server(name).Mark.Reverts; r.Count != policy.MaxReverts {
				t.Errorf("%s: reverts %+v", name, r)
			}
		}
	}, set(named("a", running(2)), "group", "g"), set(named("b", running(2)), "group", "g"))
}

// A server that an order stopped and somebody else raised counts as reverted: the order was no
// demand.
func TestRevertOfAStop(t *testing.T) {
	lead(t, func(w *world) {
		w.must(Command{Verb: Stop})
		w.revert()
		if r := w.alpha().Mark.Reverts; r.Count != 1 {
			t.Errorf("reverts %+v", r)
		}
	}, running(2))
}

// While KEDA scales a server, nothing puts it to sleep.
func TestKEDAIsLeftAlone(t *testing.T) {
	lead(t, func(w *world) {
		time.Sleep(5 * time.Hour)
		w.expectReplicas(2)
	}, with(running(2), func(s *Server) { s.Rival = policy.KEDA }))
}
