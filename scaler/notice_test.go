package scaler

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/policy"
)

func noticed(server func() *Server, pairs ...string) func() *Server {
	return set(server, append([]string{"sleep-notice", "90s"}, pairs...)...)
}

// sleptAt is when the daemon put a server to sleep.
func (w *world) sleptAt(name string) time.Time { return w.server(name).Mark.Asleep }

// A server gets its notice, and sleeps exactly so long after the notice was published, although
// sweeps are an hour apart.
func TestNotice(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		w.sweep()
		w.expectPublished(SoonAsleep)
		if e := w.last(SoonAsleep); e.From != 2 || e.To != 2 || e.Idle != time.Hour ||
			e.Text != "sleeps at 2000-01-01T00:01:30Z or later, unless a ping or a lease comes before" {
			t.Errorf("event %+v", e)
		}
		time.Sleep(90*time.Second - 1)
		w.expectReplicas(2)
		time.Sleep(time.Minute)
		w.expectReplicas(0)
		if got := w.sleptAt("alpha"); !got.Equal(clockTime(0, 1).Add(30 * time.Second)) {
			t.Errorf("slept at %s", got)
		}
		w.expectPublished(SoonAsleep, Slept)
	}, noticed(running(2)))
}

// Each server sleeps at its own time.
func TestNotices(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		time.Sleep(10 * time.Minute)
		for name, want := range map[string]int{"one": 1, "two": 2, "three": 3} {
			if got := w.sleptAt(name); !got.Equal(clockTime(0, want)) {
				t.Errorf("%s slept at %s", name, got)
			}
		}
	}, noticed(named("one", running(1)), "sleep-notice", "1m"),
		noticed(named("two", running(1)), "sleep-notice", "2m"),
		noticed(named("three", running(1)), "sleep-notice", "3m"))
}

// The notice is published before the server is idle, so that it sleeps when it is.
func TestNoticeAhead(t *testing.T) {
	lead(t, func(w *world) {
		w.ping()
		for range 30 { // until 00:29
			w.sweep()
			time.Sleep(time.Minute)
		}
		time.Sleep(5 * time.Minute)
		if published := w.last(SoonAsleep).At; !published.Equal(clockTime(0, 29)) {
			t.Errorf("published at %s", published)
		}
		if slept := w.sleptAt("alpha"); !slept.Equal(clockTime(0, 30).Add(30 * time.Second)) {
			t.Errorf("slept at %s", slept)
		}
	}, noticed(running(2)))
}

// The cause of a notice is the cause of the sleep, also when the sleep is not due yet, and when
// another cause comes within the notice.
func TestCauseOfANotice(t *testing.T) {
	sleepAt := func(at, idleAfter string) func() *Server {
		return noticed(running(2), "sleep-at", at, "idle-after", idleAfter)
	}
	for _, tt := range []struct {
		name   string
		sweep  time.Time // the only one until it sleeps
		server func() *Server
		cause  policy.Cause
	}{
		{"idle", clockTime(0, 0), noticed(running(2)), policy.CauseIdle},
		{"idle ahead", clockTime(0, 29), noticed(running(2), "idle-after", "90m"), policy.CauseIdle},
		{"sleep-at is due", clockTime(0, 20), sleepAt("10 0 * * *", "never"), policy.CauseSchedule},
		{"sleep-at ahead", clockTime(0, 29), sleepAt("30 0 * * *", "never"), policy.CauseSchedule},
		{"idle first", clockTime(0, 29), sleepAt("40 0 * * *", "90m"), policy.CauseIdle},
		{"idle, and sleep-at within the notice", clockTime(0, 29), sleepAt("30 0 * * *", "30m"), policy.CauseSchedule},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.showing(0)
				time.Sleep(time.Until(tt.sweep))
				w.sweep()
				w.lastIs(SoonAsleep)
				time.Sleep(5 * time.Minute)
				w.expectReplicas(0)
				if published, slept := w.last(SoonAsleep).Cause, w.last(Slept).Cause; published != tt.cause || slept != published {
					t.Errorf("published %s, slept by %s, want %s", published, slept, tt.cause)
				}
			}, tt.server)
		})
	}
}

// A ping or a lease within the notice prevents the sleep. The next sleep has a notice again.
func TestNoticeIsVetoed(t *testing.T) {
	for name, veto := range map[string]func(w *world){
		"ping":  (*world).ping,
		"lease": func(w *world) { w.lease(time.Minute) },
		"order": func(w *world) { w.must(Command{Verb: Start}) },
		"pause": func(w *world) {
			w.pauses.Set(ID{}, policy.Pause{Scope: "all"})
			time.AfterFunc(10*time.Minute, func() { w.pauses.Set(ID{}, policy.Pause{}) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.sweep()
				time.Sleep(89 * time.Second)
				veto(w)
				time.Sleep(29 * time.Minute)
				w.expectReplicas(2)
				time.Sleep(5 * time.Minute)
				before := len(w.bus.types())
				w.sweep()
				published := time.Now()
				if got := w.bus.types(); len(got) != before+1 || got[before] != SoonAsleep {
					t.Fatalf("published %v", got)
				}
				time.Sleep(2 * time.Minute)
				if slept := w.sleptAt("alpha"); slept.Sub(published) != 90*time.Second {
					t.Errorf("slept %s after its notice was published", slept.Sub(published))
				}
			}, noticed(running(2)))
		})
	}
}

// A notice that is published late, because NATS was away, gives as much time.
func TestLateNotice(t *testing.T) {
	lead(t, func(w *world) {
		fail := func(err error) { w.bus.mu.Lock(); defer w.bus.mu.Unlock(); w.bus.away = err }
		fail(ErrUnsure)
		w.sweep()
		time.Sleep(10 * time.Minute)
		w.expectReplicas(2)
		fail(nil)
		published := w.publishTime()
		time.Sleep(5 * time.Minute)
		if took := w.sleptAt("alpha").Sub(published); took != 90*time.Second {
			t.Errorf("slept %s after its notice was published", took)
		}
	}, noticed(running(2)))
}

// publishTime waits until something is published, and returns when that was.
func (w *world) publishTime() time.Time {
	for len(w.bus.types()) == 0 {
		time.Sleep(time.Millisecond)
		synctest.Wait()
	}
	return time.Now()
}

// The next leader reads when a notice was published, and keeps its time. If the former leader could
// not publish it, the next one does, and gives the whole time.
func TestNoticeAcrossLeaders(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		time.Sleep(80 * time.Second)
		w.nextLeader()
		w.sweep()
		w.expectPublished(SoonAsleep)
		published := time.Now().Add(-80 * time.Second)
		time.Sleep(5 * time.Minute)
		if took := w.sleptAt("alpha").Sub(published); took != 90*time.Second {
			t.Errorf("slept %s after its notice was published", took)
		}
	}, noticed(running(2)))
	lead(t, func(w *world) {
		w.bus.away = ErrUnsure
		w.sweep()
		w.end()
		w.bus.away = nil
		w.begin(func() bool { return true })
		time.Sleep(5 * time.Minute)
		w.expectReplicas(2)
	}, noticed(running(2)))
}

// Servers whose notices end at once sleep within the sweep's share of the workers: no wake waits
// for them.
func TestNoticedSleepsLeaveRoom(t *testing.T) {
	var servers []func() *Server
	for n := range 100 {
		servers = append(servers, noticed(named(fmt.Sprintf("s-%d", n), running(1))))
	}
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { time.Sleep(time.Second); return nil }
		w.sweep()
		time.Sleep(90*time.Second + time.Millisecond)
		synctest.Wait()
		queue := w.term.Load().queue
		queue.mu.Lock()
		if n := queue.sweeps.Taken(); n != w.config.MaxSleeps/2 {
			t.Errorf("%d sleeps of one namespace are under way, want half of what the sweep may have", n)
		}
		queue.mu.Unlock()
		time.Sleep(time.Minute)
		for n := range 100 {
			w.expect(fmt.Sprintf("s-%d", n), 0)
		}
	}, servers...)
}

// A group sleeps together and in its order, also when only some of its servers have notices, or all
// at different times.
func TestNoticeOfAGroup(t *testing.T) {
	for name, notices := range map[string][]string{
		"one": {"", "90s", ""}, "all": {"90s", "90s", "90s"}, "differing": {"30s", "5m", "90s"},
		"the last": {"", "", "90s"}, "the first": {"90s", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var servers []func() *Server
			for n, notice := range notices {
				pairs := []string{"group", "g"}
				if notice != "" {
					pairs = append(pairs, "sleep-notice", notice)
				}
				servers = append(servers, set(named(fmt.Sprint(n), running(2)), pairs...))
			}
			lead(t, func(w *world) {
				for range 20 { // as often as by default
					w.sweep()
					time.Sleep(30 * time.Second)
				}
				var first, last time.Time
				for n := range notices {
					w.expect(fmt.Sprint(n), 0)
					at := w.sleptAt(fmt.Sprint(n))
					if first.IsZero() || at.Before(first) {
						first = at
					}
					if at.After(last) {
						last = at
					}
				}
				if !first.Equal(last) {
					t.Errorf("slept from %s to %s", first, last)
				}
			}, servers...)
		})
	}
	t.Run("in order", func(t *testing.T) {
		var servers []func() *Server
		for _, s := range chain(running(2)) {
			servers = append(servers, with(s, func(s *Server) { s.Settings.SleepNotice = 90 * time.Second }))
		}
		lead(t, func(w *world) {
			w.sweep()
			time.Sleep(20 * time.Minute) // no sweep
			if got := w.toZero(); !slices.Equal(got, []string{"web", "api", "db"}) {
				t.Errorf("slept in the order %v", got)
			}
			if got := w.order(Woken); got != nil { // a server that only awaits its notice wakes none
				t.Errorf("woken: %v", got)
			}
		}, servers...)
	})
}

// noticed are the servers of which it was published that they will sleep soon.
func (w *world) noticed() (ids []ID) {
	synctest.Wait()
	for id, st := range w.term.Load().states {
		if !st.noticed.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids
}

// A server that is gone, or was used since its notice, leaves nothing behind.
func TestNoticesLeaveNothingBehind(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		w.cluster.remove(w.server("gone").ID)
		synctest.Wait()
		if noticed := w.noticed(); len(noticed) != 1 {
			t.Errorf("left behind: %v", noticed)
		}
		w.ping()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if noticed := w.noticed(); len(noticed) > 0 {
			t.Errorf("left behind: %v", noticed)
		}
	}, noticed(running(2)), noticed(named("gone", running(2))))
}

// While a notice can't be published, or a command is tried for minutes, sweeps do not pile up
// notices. After that it is published once.
func TestNoticesDoNotQueue(t *testing.T) {
	for name, stick := range map[string]func(w *world) (end func()){
		"NATS is away": func(w *world) func() {
			w.bus.setAway(ErrUnsure)
			return func() { w.bus.setAway(nil) }
		},
		"a command is tried": func(w *world) func() {
			unsure := w.fail(fmt.Errorf("%w: no answer", ErrUnsure))
			w.Submit(w.t.Context(), Command{Verb: Release, Server: alpha, Stamp: w.stamp()}, func(Outcome) {})
			synctest.Wait()
			return unsure.end
		},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				end := stick(w)
				for range 10 {
					w.sweep()
				}
				end()
				time.Sleep(10 * time.Second)
				w.sweep()
				w.sweep()
				if published := w.order(SoonAsleep); len(published) != 1 {
					t.Errorf("published %v", published)
				}
			}, noticed(running(2)))
		})
	}
}

// A server whose group has a longer notice than its own sleeps as soon as that one is over.
func TestNoticesOfAGroupThatDiffer(t *testing.T) {
	var servers []func() *Server
	for n, notice := range []string{"30s", "5m"} {
		servers = append(servers, set(named(fmt.Sprint(n), running(2)), "group", "g", "sleep-notice", notice))
	}
	lead(t, func(w *world) {
		w.sweep()
		for range 8 {
			time.Sleep(time.Minute)
			w.sweep()
		}
		for n := range servers {
			w.expect(fmt.Sprint(n), 0)
		}
	}, servers...)
}
