package scaler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// within runs f, and fails if that takes longer than limit.
func within(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s took longer than %s", what, limit)
	}
}

// NATS may go away between a sleep and its event. No sweep waits for it. The end of the term waits
// for it only as long as passes may go on, and not at all when the lease is lost.
func TestNothingWaitsForNATS(t *testing.T) {
	for name, want := range map[string]time.Duration{"asked to end": DefaultConfig().DrainFor, "lost the lease": 0} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.end()
				lost := false
				w.begin(func() bool { return !lost })
				w.cluster.onWrite = func(*Server) error { w.bus.setAway(ErrUnsure); return nil }
				within(t, time.Second, "the sweep", func() { w.sweep() })
				w.expectReplicas(0)
				within(t, time.Second, "the next", func() { w.sweep() })
				lost = want == 0
				began := time.Now()
				within(t, time.Hour, "the end", w.end)
				if took := time.Since(began); took > want {
					t.Errorf("ended after %s, want %s", took, want)
				}
				w.bus.setAway(nil)
				w.begin(func() bool { return true })
				w.expectPublished(Slept)
			}, running(2))
		})
	}
}

// While a command is tried for minutes on one server, sweeps go on.
func TestSweepWaitsForNoCommand(t *testing.T) {
	for name, server := range map[string]func() *Server{"to sleep": running(2), "to wake": asleep(policy.BecauseIdle)} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.onWrite = func(s *Server) error {
					if s.ID == alpha {
						return fmt.Errorf("%w: no answer", ErrUnsure)
					}
					return nil
				}
				w.Submit(w.t.Context(), Command{Verb: Scale, Replicas: 3, Server: alpha, Stamp: w.stamp()}, func(Outcome) {})
				synctest.Wait()
				if w.alpha().Replicas == 0 {
					w.tracker.Ping(alpha, w.stamp())
				}
				within(t, time.Second, "the sweep", func() { w.sweep() })
				w.expect("beta", 0)
			}, server, named("beta", running(2)))
		})
	}
}

// failing says how writes go, and counts the tries by the name of the server.
type failing struct {
	mu    sync.Mutex
	err   error
	tries map[string]int
}

func (w *world) fail(err error) *failing {
	f := &failing{err: err, tries: map[string]int{}}
	w.cluster.onWrite = func(s *Server) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tries[s.ID.Name]++
		return f.err
	}
	return f
}

func (f *failing) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = nil
}

func (f *failing) tried(name string) int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tries[name]
}

// A wake that the API server refuses is not tried again at each of a thousand pings, but it is
// tried again.
func TestRefusedWakesAreFew(t *testing.T) {
	lead(t, func(w *world) {
		refused := w.fail(ErrRefused)
		for range 1000 {
			w.ping()
			time.Sleep(time.Millisecond)
		}
		if writes := refused.tried("alpha"); writes > 2 {
			t.Errorf("%d writes in a second", writes)
		}
		for range 300 {
			w.ping()
			w.sweep()
			time.Sleep(time.Second)
		}
		if writes := refused.tried("alpha"); writes < 10 || writes > 25 {
			t.Errorf("%d writes in five minutes", writes)
		}
		refused.end()
		time.Sleep(wakeBackoff)
		w.expectReplicas(3)
	}, asleep(policy.BecauseIdle))
}

// A failed wake is tried again without another ping or sweep: soon after it can succeed, and not
// much more often than at pings.
func TestFailedWakesAreTriedAgain(t *testing.T) {
	unsure := fmt.Errorf("%w: no answer", ErrUnsure)
	for name, tt := range map[string]struct {
		err  error
		by   func(w *world)
		most int // how often it is tried
	}{
		"refused, at a ping":       {ErrRefused, func(w *world) { w.Enqueue(alpha) }, 26},
		"refused, in a sweep":      {ErrRefused, func(w *world) { _, _ = w.Sweep() }, 26},
		"not answered, at a ping":  {unsure, func(w *world) { w.Enqueue(alpha) }, 220},
		"not answered, in a sweep": {unsure, func(w *world) { _, _ = w.Sweep() }, 220},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				failing := w.fail(tt.err)
				w.tracker.Ping(alpha, w.stamp())
				tt.by(w)
				time.Sleep(w.config.RetryFor + time.Second)
				if tries := failing.tried("alpha"); tries < 2 || tries > tt.most {
					t.Errorf("tried %d times", tries)
				}
				failing.end()
				time.Sleep(wakeBackoff)
				w.expectReplicas(3)
			}, asleep(policy.BecauseIdle))
		})
	}
}

// Commands for servers that are not there leave places to the others, whether they name one server
// or many. Some wait for a short time; those beyond are rejected at once. Each has an outcome.
func TestCommandsForAbsentServersAreBounded(t *testing.T) {
	for name, server := range map[string]func(i int) ID{
		"of many names": func(i int) ID { return ID{Namespace: "team-a", Name: fmt.Sprintf("ghost-%d", i)} },
		"of one name":   func(int) ID { return ID{Namespace: "team-a", Name: "ghost"} },
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				const beyond = maxAbsent / 2 // the places that a namespace may not have
				outcomes := make(chan Outcome, maxAbsent)
				for i := range maxAbsent {
					w.Submit(w.t.Context(), Command{Verb: Start, Server: server(i), Stamp: w.stamp()},
						func(o Outcome) { outcomes <- o })
				}
				synctest.Wait()
				if got := len(outcomes); got != beyond {
					t.Errorf("%d were rejected at once, want %d", got, beyond)
				}
				time.Sleep(appearsWithin)
				synctest.Wait()
				if got := len(outcomes); got != cap(outcomes) {
					t.Fatalf("%d have an outcome, want %d", got, cap(outcomes))
				}
				for range cap(outcomes) {
					if o := <-outcomes; !errors.Is(o.Err, ErrUnknown) || o.Event.Type != Rejected {
						t.Fatalf("outcome %+v", o)
					}
				}
				late := named("late", running(1))()
				time.AfterFunc(10*time.Second, func() { w.cluster.put(*late) }) // then the places are free again
				if o := w.do(Command{Verb: Scale, Replicas: 2, Server: late.ID}); o == nil || o.Err != nil {
					t.Errorf("outcome %+v", o)
				}
			})
		})
	}
}

// A command from the time in which nobody led waits as long for its server as a new one.
func TestOldCommandWaitsForItsServer(t *testing.T) {
	lead(t, func(w *world) {
		w.end()
		stamp := w.stamp()
		time.Sleep(5 * time.Minute)
		w.begin(func() bool { return true })
		time.AfterFunc(10*time.Second, func() { w.cluster.put(*running(1)()) })
		if o := w.do(Command{Verb: Scale, Replicas: 2, Stamp: stamp}); o == nil || o.Err != nil {
			t.Errorf("outcome %+v", o)
		}
	})
}

// A forced stop ends the pods of its server, and none of a later start, also when the stop comes
// again because its acknowledgement got lost.
func TestForcedStopSparesThePodsOfALaterStart(t *testing.T) {
	raise := func(w *world) {
		w.change("alpha", func(s *Server) { s.Replicas, s.Writer, s.Ours = 2, "kubectl", false })
	}
	lead(t, func(w *world) {
		stop := Command{Verb: Stop, Force: true, Stamp: w.stamp()}
		w.do(stop)
		raise(w)
		time.Sleep(20 * time.Minute)
		if o := w.do(stop); o == nil || o.Err != nil || len(w.pods.killed) != 1 {
			t.Errorf("outcome %+v, %d kills", o, len(w.pods.killed))
		}
	}, running(2))
	lead(t, func(w *world) {
		w.cluster.slow = true // the pods have not ended yet
		time.AfterFunc(time.Second, func() { raise(w) })
		if o := w.do(Command{Verb: Stop, Force: true}); o == nil || o.Err != nil || len(w.pods.killed) != 0 {
			t.Errorf("outcome %+v, %d kills", o, len(w.pods.killed))
		}
	}, with(running(2), func(s *Server) { s.Total = 2 }))
}

// If the term ends before a rejection is published, the command is not finished. It comes again to
// the next leader, which publishes the rejection.
func TestRejectionIsPublishedByTheNextLeader(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.setAway(ErrUnsure)
		c := Command{Verb: Scale, Replicas: 99, Server: alpha, Stamp: w.stamp()}
		w.Submit(w.t.Context(), c, func(o Outcome) { t.Errorf("finished before its rejection was published: %+v", o) })
		synctest.Wait()
		w.end()
		w.bus.setAway(nil)
		w.begin(func() bool { return true })
		if o := w.do(c); o == nil || !errors.Is(o.Err, ErrOutOfRange) {
			t.Errorf("outcome %+v", o)
		}
		w.expectPublished(Rejected)
	}, running(2))
}

// When a command is left to the next leader, so are those after it: they must not overtake it.
func TestEndLeavesTheCommandsBehindTheOneThatWaits(t *testing.T) {
	for range 20 { // luck decides what is too late
		lead(t, func(w *world) {
			unsure := w.fail(fmt.Errorf("%w: no answer", ErrUnsure))
			for _, replicas := range []int{3, 4} {
				w.Submit(w.t.Context(), Command{Verb: Scale, Replicas: replicas, Server: alpha, Stamp: w.stamp()},
					func(o Outcome) { t.Errorf("finished: %+v", o) })
			}
			synctest.Wait()
			unsure.end()
			w.end()
			w.expectReplicas(2)
			w.begin(func() bool { return true })
		}, running(2))
	}
}

// Forced stops take no more of the API server at once than other passes: those of one namespace
// take at most half.
func TestKillsAreBounded(t *testing.T) {
	var many []func() *Server
	for i := range 3 * DefaultConfig().MaxInFlight {
		many = append(many, named(fmt.Sprintf("server-%d", i), running(2)))
	}
	lead(t, func(w *world) {
		w.pods.killing = func() { time.Sleep(time.Second) }
		began := time.Now()
		left := len(many)
		outcomes := make(chan Outcome, left)
		for i := range many {
			w.Submit(w.t.Context(), Command{Verb: Stop, Force: true, Server: many[i]().ID, Stamp: w.stamp()},
				func(o Outcome) { outcomes <- o })
		}
		for ; left > 0; left-- {
			if o := <-outcomes; o.Err != nil {
				t.Errorf("outcome %+v", o)
			}
		}
		if took := time.Since(began); took != 6*time.Second || len(w.pods.killed) != len(many) {
			t.Errorf("%d kills of a second each took %s", len(w.pods.killed), took)
		}
	}, many...)
}

// A rejected command is not applied later, although its acknowledgement got lost: neither by this
// leader nor by the next. A newer session's command is not rejected by the old one.
func TestRejectedIsNotAppliedLater(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { return fmt.Errorf("%w: no answer", ErrUnsure) }
		c := Command{Verb: Scale, Replicas: 5, Server: alpha, Stamp: w.stamp()}
		session, cut := context.WithCancel(w.t.Context())
		w.Submit(session, c, func(o Outcome) { t.Errorf("finished by the old session: %+v", o) })
		synctest.Wait()
		cut()
		time.Sleep(w.config.RetryFor)
		synctest.Wait()
		if got := w.bus.types(); len(got) > 0 {
			t.Errorf("published %v", got)
		}
		if o := w.do(c); o == nil || !errors.Is(o.Err, ErrUnsure) || o.Event.Type != Rejected {
			t.Errorf("outcome %+v", o)
		}
		w.cluster.onWrite = nil
		if o := w.do(c); o == nil || !errors.Is(o.Err, ErrUnsure) || len(w.cluster.writes) != 0 {
			t.Errorf("outcome %+v, %d writes", o, len(w.cluster.writes))
		}
		w.nextLeader()
		if o := w.do(c); o == nil || !errors.Is(o.Err, ErrSuperseded) || len(w.cluster.writes) != 0 {
			t.Errorf("the next leader: outcome %+v, %d writes", o, len(w.cluster.writes))
		}
		if got := w.bus.types(); !slices.Equal(got, []EventType{Rejected}) {
			t.Errorf("published %v", got)
		}
		c.Stamp = activity.Stamp{Sequence: c.Stamp.Sequence + 1, Time: time.Now()}
		if o := w.do(c); o == nil || o.Err != nil {
			t.Errorf("the next command: outcome %+v", o)
		}
	}, running(2))
}
