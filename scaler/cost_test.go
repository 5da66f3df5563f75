package scaler

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// quick is a Cache that costs nothing to ask, like the real one, so that the costs of the Scaler
// are measured.
type quick struct {
	*fakeCluster
	all   []*Server
	byID  map[ID]*Server
	group []*Server
	looks atomic.Int32 // how often the group was asked for
}

func (q *quick) All(yield func(*Server) bool) {
	for _, s := range q.all {
		if !yield(s) {
			return
		}
	}
}

func (q *quick) Get(id ID) (*Server, bool) { s, ok := q.byID[id]; return s, ok }

func (q *quick) Group(string, string) []*Server { q.looks.Add(1); return q.group }

// quickly runs the test with a leader and that many servers, all used a moment ago.
func quickly(t *testing.T, n int, server func() *Server, test func(w *world, q *quick)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-2 * idleAfter)}, time.Now().Add(-time.Hour))
		q := &quick{fakeCluster: w.cluster, byID: map[ID]*Server{}}
		for i := range n {
			s := named(fmt.Sprintf("s-%d", i), server)()
			s.Ready, s.Updated, s.Total = s.Replicas, s.Replicas, s.Replicas
			q.all, q.byID[s.ID] = append(q.all, s), s
			if s.Settings.Group != "" {
				q.group = append(q.group, s)
			}
			w.tracker.Ping(s.ID, activity.Stamp{Sequence: uint64(i + 1), Time: time.Now()})
		}
		w.Scaler.cache = q
		w.begin(func() bool { return true })
		defer func() { w.end() }()
		test(w, q)
	})
}

// A sweep allocates nothing for a server that has nothing to do, whatever is written on it.
func TestSweepLeavesNoGarbage(t *testing.T) {
	for name, server := range map[string]func() *Server{
		"plain":   running(1),
		"noticed": noticed(running(1)),
		"dry":     dry(running(1)),
		"held":    with(running(1), func(s *Server) { s.Mark.Hold.Until = time.Now().Add(time.Hour) }),
		"asleep":  with(asleep(policy.BecauseCommand), func(s *Server) { s.Mark.Last = Event{} }),
		"published": with(asleep(policy.BecauseCommand), func(s *Server) {
			s.Mark.Last = Event{ID: "last", Server: s.ID, Type: Slept, At: time.Now()}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			quickly(t, 1000, server, func(w *world, _ *quick) {
				w.pauses.Set(ID{Namespace: "team-b"}, policy.Pause{Scope: "another"})
				if n := testing.AllocsPerRun(10, func() { _, _ = w.Sweep() }); n > 50 {
					t.Errorf("%.0f allocations", n)
				}
			})
		})
	}
}

// The mistake in the order of a group is published once for each of its servers. After that a sweep
// looks at the group once.
func TestDisorderOfALargeGroupIsPublishedCheaply(t *testing.T) {
	quickly(t, 100, set(running(1), "group", "g", "after", "nobody"), func(w *world, q *quick) {
		time.Sleep(61 * time.Minute) // the schedule is hourly
		q.looks.Store(0)
		time.Sleep(time.Hour)
		if n := q.looks.Load(); n != 1 || len(w.order(Unreadable)) != 100 {
			t.Errorf("%d looks at the group, published of %d", n, len(w.order(Unreadable)))
		}
	})
}

// A ping to a server that is awake allocates nothing, and causes no look at its group.
func TestPingOfAnAwakeServerIsCheap(t *testing.T) {
	for name, server := range map[string]func() *Server{
		"plain": running(1), "group": set(running(1), "group", "g"), "dry": dry(running(1)), "noticed": noticed(running(1)),
	} {
		t.Run(name, func(t *testing.T) {
			quickly(t, 100, server, func(w *world, q *quick) {
				id := q.all[7].ID
				if n := testing.AllocsPerRun(100, func() { w.Enqueue(id) }); n > 0 {
					t.Errorf("%.0f allocations", n)
				}
			})
		})
	}
}

// Everything at once, from many goroutines, ends: nothing is left to do, nothing is kept, and the
// last event of each server is published.
func TestEverythingAtOnce(t *testing.T) {
	var servers []func() *Server
	for n := range 5 {
		servers = append(servers,
			set(named(fmt.Sprintf("group-%d", n), asleep(policy.BecauseIdle)),
				"group", "g", "sleep-notice", "1s", "idle-after", "5s"),
			dry(named(fmt.Sprintf("dry-%d", n), running(1)), "idle-after", "5s"),
			set(named(fmt.Sprintf("warm-%d", n), asleep(policy.BecauseIdle)),
				"keep-warm", fmt.Sprintf("%d 0 * * * for 1m", n+1), "idle-after", "5s"))
	}
	lead(t, func(w *world) {
		var all sync.WaitGroup
		for _, s := range servers {
			id := s().ID
			all.Go(func() {
				for i := range 200 {
					w.tracker.Ping(id, w.stamp())
					w.Enqueue(id)
					time.Sleep(time.Duration(i*i) * time.Millisecond)
				}
			})
			all.Go(func() {
				for i, c := range []Command{
					holdAwake, holdAsleep, {Verb: Stop}, {Verb: Start, Wait: time.Minute}, {Verb: Release},
				} {
					time.Sleep(time.Duration(i) * time.Second)
					c.Server, c.Stamp = id, w.stamp()
					w.Submit(w.t.Context(), c, func(Outcome) {})
				}
			})
		}
		all.Go(func() {
			for range 500 {
				_, _ = w.Sweep()
				time.Sleep(7 * time.Second)
			}
		})
		all.Go(func() {
			for i := range 500 {
				w.pauses.Set(ID{}, policy.Pause{Scope: map[bool]string{true: "all"}[i%2 == 0]})
				time.Sleep(11 * time.Second)
			}
		})
		all.Wait()
		w.pauses.Set(ID{}, policy.Pause{})
		time.Sleep(time.Hour)
		for range 3 {
			w.sweep()
			time.Sleep(time.Minute)
		}
		for _, s := range servers {
			if server := w.server(s().ID.Name); server.Replicas > 0 && !server.Settings.DryRun {
				t.Errorf("%s has %d replicas", server.ID, server.Replicas)
			}
		}
		term := w.term.Load()
		for id, item := range term.queue.items {
			if item.wanted > 0 || item.running || item.failures > 0 {
				t.Errorf("%s is left in the queue: %+v", id, item)
			}
		}
		for id, st := range term.states {
			if st.readiness != nil || len(st.commands) > 0 {
				t.Errorf("%s is left behind: %+v", id, st)
			}
		}
	}, servers...)
}

// Thousands of pings a second to servers that are awake ask for no pass.
func TestAPingToAServerThatIsAwakeAsksForNoPass(t *testing.T) {
	lead(t, func(w *world) {
		w.ping()
		synctest.Wait()
		q := w.term.Load().queue
		w.tracker.Ping(alpha, w.stamp())
		w.Enqueue(alpha)
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.items) > 0 {
			t.Errorf("%d servers wait for a pass", len(q.items))
		}
	}, running(3))
}
