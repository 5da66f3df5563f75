package scaler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// chain is db, then api, then web, each after the one before.
func chain(server func() *Server) []func() *Server {
	return []func() *Server{
		set(named("api", server), "group", "g", "after", "db"),
		set(named("db", server), "group", "g"),
		set(named("web", server), "group", "g", "after", "api"),
	}
}

// order is the order in which servers had an event of a type.
func (w *world) order(kind EventType) (names []string) {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	for _, e := range w.bus.kept {
		if e.Type == kind {
			names = append(names, e.Server.Name)
		}
	}
	return names
}

// toZero is the order in which servers were put to zero. Their events may come in another order.
func (w *world) toZero() (names []string) {
	synctest.Wait()
	for _, s := range w.cluster.writes {
		if s.Replicas == 0 {
			names = append(names, s.ID.Name)
		}
	}
	return names
}

// Demand for any member wakes all that the daemon has put to sleep, and no others: no stopped
// server, no zero of somebody else, no server of a group of the same name elsewhere.
func TestGroupWakesTogether(t *testing.T) {
	lead(t, func(w *world) {
		w.pingTo("b")
		for name, want := range map[string]int{"a": 3, "b": 3, "c": 3, "stopped": 0, "somebody's": 0, "held": 0} {
			w.expect(name, want)
		}
		elsewhere, _ := w.cluster.Get(ID{Namespace: "team-b", Name: "a"})
		if elsewhere.Replicas != 0 || len(w.cluster.writes) != 3 {
			t.Errorf("%d writes", len(w.cluster.writes))
		}
		if got := w.server("a").Mark.Last.Cause; got != policy.CauseGroup {
			t.Errorf("a was woken because of %q", got)
		}
	},
		set(named("a", asleep(policy.BecauseIdle)), "group", "g"), set(named("b", asleep(policy.BecauseIdle)), "group", "g"),
		set(named("c", asleep(policy.BecauseSchedule)), "group", "g"),
		set(named("stopped", asleep(policy.BecauseCommand)), "group", "g"),
		set(named("somebody's", running(0)), "group", "g"),
		with(set(named("held", asleep(policy.BecauseHold)), "group", "g"), func(s *Server) {
			s.Mark.Hold = policy.Hold{Asleep: true, Until: time.Now().Add(time.Hour)}
		}),
		with(set(named("a", asleep(policy.BecauseIdle)), "group", "g"), func(s *Server) { s.ID.Namespace = "team-b" }),
	)
}

// Demand for a member that is awake wakes those that sleep at once, and not only at the next sweep.
func TestPingOfAnAwakeMemberWakesTheOthers(t *testing.T) {
	lead(t, func(w *world) {
		w.expect("a", 0)
		w.pingTo("b")
		w.expect("a", 3)
	}, set(named("a", asleep(policy.BecauseIdle)), "group", "g"), set(named("b", running(2)), "group", "g"))
}

// Demand for a stopped server, or for somebody else's zero, is no demand for its group.
func TestGroupSleepsOnWhenAStoppedServerIsPinged(t *testing.T) {
	lead(t, func(w *world) {
		w.pingTo("stopped")
		w.pingTo("somebody's")
		w.sweep()
		w.expect("a", 0)
	},
		set(named("a", asleep(policy.BecauseIdle)), "group", "g"),
		set(named("stopped", asleep(policy.BecauseCommand)), "group", "g"),
		set(named("somebody's", running(0)), "group", "g"),
	)
}

// A group sleeps only when all of it is idle, then in one sweep, each server after those that come
// after it. It stays asleep.
func TestGroupSleepsTogether(t *testing.T) {
	lead(t, func(w *world) {
		w.pingTo("db")
		w.sweep()
		for _, name := range []string{"db", "api", "web"} {
			w.expect(name, 2)
		}
		w.sweep()
		time.Sleep(idleAfter)
		w.sweep()
		if got := w.toZero(); !slices.Equal(got, []string{"web", "api", "db"}) {
			t.Errorf("slept in the order %v", got)
		}
		writes := len(w.cluster.writes)
		for range 100 {
			time.Sleep(36 * time.Second)
			w.sweep()
		}
		if n := len(w.cluster.writes); n != writes {
			t.Errorf("%d writes after it was asleep", n-writes)
		}
	}, chain(running(2))...)
}

// A server that can't be put to sleep keeps awake those that it needs, and wakes none.
func TestGroupWithOneThatCannotSleep(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(s *Server) error {
			if s.ID.Name == "api" {
				return ErrConflict
			}
			return nil
		}
		for range 5 {
			w.sweep()
			time.Sleep(time.Minute)
		}
		w.expect("web", 0)
		w.expect("api", 2)
		w.expect("db", 2)
		if len(w.cluster.writes) != 1 {
			t.Errorf("%d writes", len(w.cluster.writes))
		}
		w.cluster.onWrite = nil
		w.sweep()
		w.expect("api", 0)
		w.expect("db", 0)
	}, chain(running(2))...)
}

// Dependencies are ready before the servers after them are woken.
func TestGroupWakesInOrder(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.pingTo("web")
		for i, name := range []string{"db", "api", "web"} {
			time.Sleep(time.Minute)
			w.sweep()
			if got := w.order(Woken); len(got) != i+1 || got[i] != name {
				t.Fatalf("woken %v, want %s to be the next", got, name)
			}
			w.change(name, func(s *Server) { s.Observed = s.Generation }) // seen by the controller, not ready
			if got := w.order(Woken); len(got) != i+1 {
				t.Fatalf("woken %v before %s was ready", got, name)
			}
			w.getReady(name)
		}
		if len(w.cluster.writes) != 3 {
			t.Errorf("%d writes", len(w.cluster.writes))
		}
	}, chain(asleep(policy.BecauseIdle))...)
}

// Counts of a dependency from before its wake make it neither ready nor failed.
func TestGroupDoesNotBelieveOldCounts(t *testing.T) {
	for name, stale := range map[string]func(s *Server){
		"ready":  func(s *Server) { s.Ready = 1 },
		"failed": func(s *Server) { s.Refused = &Refusal{"FailedCreate", "exceeded quota"} },
	} {
		t.Run(name, func(t *testing.T) {
			servers := chain(asleep(policy.BecauseIdle))
			servers[1] = with(servers[1], stale)
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-2 * idleAfter)}, time.Now().Add(-time.Hour))
				w.cluster.slow = true
				for _, s := range servers {
					w.cluster.put(*s())
				}
				w.begin(func() bool { return true })
				w.pingTo("api")
				w.expect("db", 3)
				w.expect("api", 0)
				w.getReady("db")
				w.expect("api", 3)
				w.end()
			})
		})
	}
}

// Nobody waits for ever for a dependency that failed or that is stopped.
func TestGroupDoesNotWaitForServersThatWillNotBeReady(t *testing.T) {
	t.Run("failed", func(t *testing.T) {
		lead(t, func(w *world) {
			w.cluster.slow = true
			w.pingTo("api")
			w.expect("db", 3)
			w.change("db", func(s *Server) { s.Observed = s.Generation })
			w.pods.diagnoses <- Diagnosis{"ImagePullBackOff", "no such image", true}
			time.Sleep(4 * time.Second)
			w.expect("api", 3)
		}, chain(asleep(policy.BecauseIdle))...)
	})
	t.Run("too late", func(t *testing.T) {
		lead(t, func(w *world) {
			w.cluster.slow = true
			w.pingTo("api")
			w.change("db", func(s *Server) { s.Observed = s.Generation })
			time.Sleep(w.config.Rules.StartDeadline - time.Second)
			w.expect("api", 0)
			time.Sleep(2 * time.Second)
			w.expect("api", 3)
		}, chain(asleep(policy.BecauseIdle))...)
	})
	t.Run("stopped", func(t *testing.T) {
		lead(t, func(w *world) {
			w.must(Command{Verb: Stop, Server: w.server("db").ID})
			w.pingTo("api")
			w.expect("db", 0)
			w.expect("api", 3)
		}, chain(asleep(policy.BecauseIdle))...)
	})
	t.Run("stopped meanwhile", func(t *testing.T) {
		lead(t, func(w *world) {
			w.cluster.slow = true
			w.pingTo("api")
			w.expect("db", 3)
			w.must(Command{Verb: Stop, Server: w.server("db").ID})
			w.expect("db", 0)
			w.expect("api", 3)
		}, chain(asleep(policy.BecauseIdle))...)
	})
}

// An order that can't be kept is published for each server concerned. That server stays as it is,
// and still wakes on demand.
func TestGroupInACircle(t *testing.T) {
	circle := func(server func() *Server) []func() *Server {
		return []func() *Server{
			set(named("a", server), "group", "g", "after", "b"), set(named("b", server), "group", "g", "after", "c"),
			set(named("c", server), "group", "g", "after", "a"), set(named("self", server), "group", "h", "after", "self"),
			set(named("lost", server), "group", "i", "after", "nobody"),
		}
	}
	names := []string{"a", "b", "c", "lost", "self"}
	lead(t, func(w *world) {
		time.Sleep(3 * time.Hour)
		for _, name := range names {
			w.expect(name, 2)
		}
		published := w.order(Unreadable)
		slices.Sort(published)
		if !slices.Equal(published, names) {
			t.Errorf("published for %v", published)
		}
		for _, e := range w.bus.kept {
			want := map[string]string{
				"a": "a after b after c after a", "self": "self after self", "lost": "after names nobody",
			}[e.Server.Name]
			if !strings.Contains(e.Text, want) {
				t.Errorf("%s: %s", e.Server.Name, e.Text)
			}
		}
	}, circle(running(2))...)
	lead(t, func(w *world) {
		for _, name := range names {
			w.pingTo(name)
			w.expect(name, 3)
		}
	}, circle(asleep(policy.BecauseIdle))...)
}

// A server that only comes after a circle is not part of it.
func TestGroupBesideACircle(t *testing.T) {
	lead(t, func(w *world) {
		decider := w.decider()
		for name, bad := range map[string]bool{"a": true, "b": true, "beside": false} {
			if f, _ := decider.decide(w.server(name)); (f.Group.Bad != "") != bad {
				t.Errorf("%s: %q", name, f.Group.Bad)
			}
		}
	}, set(named("a", running(1)), "group", "g", "after", "b"), set(named("b", running(1)), "group", "g", "after", "a"),
		set(named("beside", running(1)), "group", "g", "after", "a"))
}

// The next leader wakes servers that wait for others which got ready meanwhile.
func TestNextLeaderGoesOnInOrder(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.pingTo("web")
		w.end()
		w.getReady("db")
		w.begin(func() bool { return true })
		w.expect("api", 3)
		w.expect("web", 0)
	}, chain(asleep(policy.BecauseIdle))...)
}

// The time to wake a large group, or to put it to sleep, does not grow as its cube.
func TestLargeGroup(t *testing.T) {
	var servers []func() *Server
	for n := range 100 {
		servers = append(servers, set(named(fmt.Sprintf("s-%03d", n), asleep(policy.BecauseIdle)), "group", "g"))
	}
	lead(t, func(w *world) {
		w.pingTo("s-050")
		for n := range 100 {
			w.expect(fmt.Sprintf("s-%03d", n), 3)
		}
		time.Sleep(idleAfter + time.Minute)
		w.sweep()
		if n := len(w.order(Slept)); n != 100 {
			t.Errorf("%d slept", n)
		}
	}, servers...)
}

// A ping to one server of a large group costs one look at the group, whichever of its servers
// sleep.
func TestAPingToAGroupIsOneLook(t *testing.T) {
	stopped := set(with(asleep(policy.BecauseCommand), func(s *Server) { s.Mark.Last = Event{} }), "group", "g")
	quickly(t, 500, stopped, func(w *world, q *quick) {
		synctest.Wait()
		q.looks.Store(0)
		w.Enqueue(q.all[0].ID)
		synctest.Wait()
		if n := q.looks.Load(); n > 4 {
			t.Errorf("the group was asked for %d times", n)
		}
	})
}
