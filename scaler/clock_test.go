package scaler

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/test/clocktest"
)

// hearWith makes the clock of the log so far behind that of this process.
func (w *world) hearWith(behind time.Duration) {
	w.tracker.Hear(activity.Log{Born: time.Now().Add(-5 * idleAfter), Behind: behind}, time.Now())
}

// What one leader writes down is no older to the next, whose clock differs: a start is demand for a whole idle-after, and for no longer.
func TestClocksOfLeadersDiffer(t *testing.T) {
	for name, row := range map[string]struct{ first, next time.Duration }{ // how far their clocks are ahead of NATS's
		"the same":            {0, 0},
		"the first is behind": {-10 * time.Minute, 0},
		"the first is ahead":  {10 * time.Minute, 0},
		"the next is ahead":   {0, 10 * time.Minute},
		"both are ahead":      {10 * time.Minute, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.hearWith(row.first)
				w.do(Command{Verb: Start, Stamp: activity.Stamp{Sequence: 1, Time: time.Now().Add(-row.first)}})
				if awake, want := w.alpha().Mark.Awake, time.Now().Add(-row.first); !awake.Equal(want) {
					t.Errorf("awake since %s by the clock of the log, want %s", awake, want)
				}
				// In the bubble there is one clock. For the next leader what was written down by that of NATS moves instead.
				s := *w.alpha()
				s.Created = s.Created.Add(-time.Hour)
				s.Mark.Awake = time.Now().Add(-row.next)
				w.cluster.put(s)
				w.hearWith(row.next)
				time.Sleep(idleAfter - time.Second)
				w.sweep()
				w.expectReplicas(2)
				time.Sleep(time.Second)
				w.sweep()
				w.expectReplicas(0)
				if asleep, want := w.alpha().Mark.Asleep, time.Now().Add(-row.next); !asleep.Equal(want) {
					t.Errorf("asleep since %s by the clock of the log, want %s", asleep, want)
				}
			}, running(2))
		})
	}
}

// How long a wake took is told right also by a leader whose clock is wrong, and that has not woken the server itself.
func TestHowLongAWakeTook(t *testing.T) {
	for _, behind := range []time.Duration{-5 * time.Minute, 0, 5 * time.Minute} { // the clock of the log, against the leader's
		lead(t, func(w *world) {
			w.end()
			w.hearWith(behind)
			w.cluster.slow = true
			w.change("alpha", func(s *Server) { s.Mark.Awake, s.Ready = time.Now().Add(-behind), 0 })
			w.begin(func() bool { return true })
			time.Sleep(3 * time.Second)
			w.getReady("alpha")
			if e := w.last(Ready); e.Took != 3*time.Second {
				t.Errorf("NATS %s behind: told %+v", behind, e)
			}
			w.change("alpha", func(s *Server) { s.Ready, s.UnreadySince = 0, time.Now().Add(-behind) })
			w.Submit(w.t.Context(), Command{Verb: Scale, Replicas: 2, Wait: time.Minute, Server: alpha, Stamp: activity.Stamp{Sequence: 1, Time: time.Now().Add(-behind)}}, func(Outcome) {})
			time.Sleep(2 * time.Second)
			w.getReady("alpha")
			if e := w.last(Ready); e.Took != 2*time.Second {
				t.Errorf("NATS %s behind: told of who is waited for %+v", behind, e)
			}
		}, running(2))
	}
}

// A Deployment that was made, or got ready, a moment ago is new also to a daemon whose clock is ahead.
func TestNewDeploymentOfAClockAhead(t *testing.T) {
	for name, change := range map[string]func(s *Server, at time.Time){
		"made":      func(s *Server, at time.Time) { s.Created = at },
		"got ready": func(s *Server, at time.Time) { s.ReadySince = at },
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.hearWith(10 * time.Minute)
				s := *w.alpha()
				change(&s, time.Now().Add(-10*time.Minute))
				w.cluster.put(s)
				time.Sleep(idleAfter - time.Second)
				w.sweep()
				w.expectReplicas(2)
				time.Sleep(time.Second)
				w.sweep()
				w.expectReplicas(0)
			}, running(2))
		})
	}
}

// A hold ends when it was to end by the clock of the log, whatever those of the leader that took the order, and of the next, say.
func TestHoldsOfLeadersWhoseClocksDiffer(t *testing.T) {
	for name, row := range map[string]struct{ first, next time.Duration }{ // how far their clocks are ahead of NATS's
		"the same":            {0, 0},
		"the first is behind": {-10 * time.Minute, 0},
		"the first is ahead":  {10 * time.Minute, 0},
		"the next is behind":  {0, -10 * time.Minute},
		"the next is ahead":   {0, 10 * time.Minute},
		"both are ahead":      {10 * time.Minute, 20 * time.Minute},
		"both are behind":     {-10 * time.Minute, -10 * time.Minute},
	} {
		for _, c := range []Command{holdAwake, holdAsleep} {
			t.Run(name+", "+map[bool]string{true: "asleep", false: "awake"}[c.Asleep], func(t *testing.T) {
				lead(t, func(w *world) {
					w.hearWith(row.first)
					now := time.Now().Add(-row.first)
					c.Stamp = activity.Stamp{Sequence: 1, Time: now}
					w.do(c)
					if hold := w.alpha().Mark.Hold; !hold.Since.Equal(now) || !hold.Until.Equal(now.Add(2*time.Hour)) {
						t.Errorf("held since %s until %s by the clock of the log, where it is %s", hold.Since, hold.Until, now)
					}
					if told := w.View(w.alpha()).Tell(time.Now()); c.Asleep && (strings.Contains(told, "The hold was ordered") || row.first >= 0 && !strings.Contains(told, "(0s ago)")) {
						t.Errorf("told: %s", told)
					}
					// As above: what was written down by the clock of the log moves.
					w.hearWith(row.next)
					s := *w.alpha()
					s.Created = s.Created.Add(-time.Hour)
					for _, at := range []*time.Time{&s.Mark.Asleep, &s.Mark.Awake, &s.Mark.Hold.Since, &s.Mark.Hold.Until} {
						if !at.IsZero() {
							*at = at.Add(row.first - row.next)
						}
					}
					w.cluster.put(s)
					during, after := 2, 0
					if c.Asleep {
						during, after = 0, 2
						w.tracker.Ping(alpha, activity.Stamp{Sequence: 1, Time: time.Now().Add(-row.next)})
					}
					time.Sleep(2*time.Hour - time.Second)
					w.sweep()
					w.expectReplicas(during)
					time.Sleep(time.Second)
					w.sweep()
					w.expectReplicas(after)
				}, running(2))
			})
		}
	}
}

// The instants that people write are those of the real time, which is that of NATS: any replica, and the leader, takes them so.
func TestHoldUntilAnInstantByAClockAhead(t *testing.T) {
	lead(t, func(w *world) {
		w.hearWith(10 * time.Minute)
		now := time.Now().Add(-10 * time.Minute)
		c := holdAwake
		c.Server, c.Until, c.Stamp = alpha, clock(now.Add(5*time.Minute)), activity.Stamp{Sequence: 1, Time: now}
		if _, err := w.Check(w.t.Context(), c); err != nil {
			t.Error(err)
		}
		if o := w.do(c); o == nil || o.Err != nil || !strings.Contains(o.Event.Text, c.Until) {
			t.Errorf("outcome %+v", o)
		}
		if until := clock(w.alpha().Mark.Hold.Until); until != c.Until {
			t.Errorf("held until %s, want %s", until, c.Until)
		}
		if hold := w.View(w.alpha()).Facts.Hold; !hold.Until.Equal(time.Now().Add(5 * time.Minute)) {
			t.Errorf("held until %s by our clock", hold.Until)
		}
	}, running(2))
}

// Up to its end, and not longer, a hold counts for those who order something else, too, whose clock is ahead.
func TestOrdersAfterAHoldByAClockAhead(t *testing.T) {
	order := func(w *world, c Command) Event {
		w.t.Helper()
		c.Stamp = w.stamp()
		c.Stamp.Time = c.Stamp.Time.Add(-10 * time.Minute)
		return w.must(c)
	}
	lead(t, func(w *world) {
		w.hearWith(10 * time.Minute)
		order(w, holdAsleep)
		time.Sleep(115 * time.Minute)
		if e := order(w, Command{Verb: Start}); !strings.Contains(e.Text, `this ends that "bob" held it asleep until 2000-01-01T01:50:00Z`) {
			t.Errorf("event %+v", e)
		}
		order(w, holdAwake)
		time.Sleep(115 * time.Minute)
		order(w, Command{Verb: Start})
		if w.alpha().Mark.Hold.Until.IsZero() {
			t.Error("the hold is gone before its end")
		}
		time.Sleep(10 * time.Minute)
		order(w, Command{Verb: Start})
		if hold := w.alpha().Mark.Hold; !hold.Until.IsZero() {
			t.Errorf("after its end: %+v", hold)
		}
		stopped := order(w, Command{Verb: Stop})
		if e := order(w, holdAwake); !strings.Contains(e.Text, "had stopped it at "+clock(stopped.At)) {
			t.Errorf("event %+v, stopped at %s", e, stopped.At)
		}
	}, running(2))
}

// What would have become of a server of a dry run is the same for leaders whose clocks differ: its sleep is told once and lasts, and a start ends it,
// by mistake if it comes soon.
func TestDryRunOfLeadersWhoseClocksDiffer(t *testing.T) {
	for name, row := range map[string]struct{ first, next time.Duration }{ // how far their clocks are ahead of NATS's
		"the same":            {0, 0},
		"the first is behind": {-10 * time.Minute, 0},
		"the next is ahead":   {0, 10 * time.Minute},
		"both are ahead":      {10 * time.Minute, 20 * time.Minute},
		"both are behind":     {-10 * time.Minute, -10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.hearWith(row.first)
				w.tracker.Ping(alpha, activity.Stamp{Sequence: 1, Time: time.Now().Add(-row.first)})
				for w.last(WouldSleep).ID == "" {
					time.Sleep(time.Minute)
					w.sweep()
				}
				w.end()
				time.Sleep(row.next - row.first) // only for us: the clock of the log stands still meanwhile
				w.hearWith(row.next)
				w.nextLeader()
				w.sweep()
				w.expectTold(WouldSleep)
				time.Sleep(time.Minute)
				began := time.Now()
				w.do(Command{Verb: Start, Stamp: activity.Stamp{Sequence: 2, Time: began.Add(-row.next)}})
				synctest.Wait()
				if e := w.last(WouldWake); e.Cause != CauseCommand || !e.At.Equal(began) {
					t.Errorf("event %+v, want one of %s", e, began)
				}
				if n := w.meter.wouldMisSleep.Load(); n != 1 {
					t.Errorf("%d mistakes counted", n)
				}
			}, dry(running(2)))
		})
	}
}

// A sleep that would follow a wake without use, as for a window, is named by the instant of that, for any leader.
func TestDryRunAfterAWindowByAnotherClock(t *testing.T) {
	const first, next = 10 * time.Minute, 20 * time.Minute
	lead(t, func(w *world) {
		w.hearWith(first)
		w.sweep()
		time.Sleep(90 * time.Minute) // the window begins and ends by the clock of whoever leads
		w.sweep()
		woken := w.last(WouldWake)
		w.end()
		time.Sleep(next - first)
		w.hearWith(next)
		w.nextLeader()
		time.Sleep(time.Hour)
		w.sweep()
		w.expectTold(WouldSleep, WouldWake, WouldSleep)
		if id, want := w.last(WouldSleep).ID, fmt.Sprintf("uid-alpha-%s-%d", WouldSleep, woken.At.Add(-first).UnixNano()); id != want {
			t.Errorf("told as %s, want %s", id, want)
		}
	}, dry(running(2), "keep-warm", "0 1 * * * for 1h"))
}

// How long a server has slept is measured by one clock.
func TestMisSleepByAClockAhead(t *testing.T) {
	for slept, wrong := range map[time.Duration]int32{time.Minute: 1, 3 * time.Minute: 0} {
		lead(t, func(w *world) {
			w.hearWith(10 * time.Minute)
			w.tracker.Ping(alpha, activity.Stamp{Sequence: 1, Time: time.Now().Add(-10 * time.Minute)})
			w.Enqueue(alpha)
			w.expectReplicas(3)
			if n := w.meter.misSleeps.Load(); n != wrong {
				t.Errorf("woken after %s: %d mistakes counted", slept, n)
			}
		}, with(asleep(policy.BecauseIdle), func(s *Server) { s.Mark.Asleep = time.Now().Add(-10*time.Minute - slept) }))
	}
}

// Whether a command comes too late, and until when its hold lasts, is judged by the clocks as they differ then: ours may be corrected while the session
// that brought it lasts for weeks.
func TestClockIsCorrected(t *testing.T) {
	for _, was := range []time.Duration{-2 * time.Minute, 2 * time.Minute, -time.Hour, time.Hour} { // how far that of NATS was behind ours
		lead(t, func(w *world) {
			w.hearWith(was)
			w.bus.takes = map[EventType]time.Duration{Scaled: time.Second} // meanwhile the others wait
			submit := func(c Command, behind time.Duration) chan Outcome {
				outcomes := make(chan Outcome, 1)
				taken := time.Now().Add(-behind)
				c.Server, c.Stamp = alpha, activity.Stamp{Sequence: w.stamp().Sequence, Time: taken}
				if c.Deadline.IsZero() {
					c.Deadline = taken.Add(30 * time.Second)
				}
				w.Submit(w.t.Context(), c, func(o Outcome) { outcomes <- o })
				return outcomes
			}
			first := submit(Command{Verb: Scale, Replicas: 5}, was)
			synctest.Wait()
			w.hearWith(0)
			rest := []chan Outcome{first, submit(Command{Verb: Start}, 0), submit(holdAwake, 0)}
			late := submit(Command{Verb: Stop, Deadline: time.Now().Add(-time.Second)}, 0)
			for i, outcomes := range rest {
				if o := <-outcomes; o.Err != nil {
					t.Errorf("NATS was %s behind: outcome %d %+v", was, i, o)
				}
			}
			if hold := w.alpha().Mark.Hold; !hold.Until.Equal(hold.Since.Add(2*time.Hour - time.Second)) { // it waited for one
				t.Errorf("NATS was %s behind: held since %s until %s", was, hold.Since, hold.Until)
			}
			if o := <-late; !errors.Is(o.Err, ErrExpired) {
				t.Errorf("NATS was %s behind: of what is late the outcome is %+v", was, o)
			}
		}, running(2))
	}
}

// On a NATS cluster the commands may be stamped by another clock than the pings: by theirs it is judged whether one comes too late, and until when its hold lasts.
func TestCommandsOfAnotherClock(t *testing.T) {
	for _, behind := range []time.Duration{-time.Hour, -time.Minute, time.Minute, time.Hour} {
		lead(t, func(w *world) {
			w.tracker.Measured(behind)
			taken := time.Now().Add(-behind)
			c := holdAwake
			c.Stamp, c.Deadline = activity.Stamp{Sequence: w.stamp().Sequence, Time: taken}, taken.Add(30*time.Second)
			if o := w.do(c); o == nil || o.Err != nil {
				t.Errorf("%s behind: outcome %+v", behind, o)
			}
			if hold := w.alpha().Mark.Hold; !hold.Until.Equal(time.Now().Add(2 * time.Hour)) {
				t.Errorf("%s behind: held until %s", behind, hold.Until)
			}
			c.Stamp, c.Deadline = activity.Stamp{Sequence: w.stamp().Sequence, Time: taken}, taken.Add(-time.Second)
			if o := w.do(c); o == nil || !errors.Is(o.Err, ErrExpired) {
				t.Errorf("%s behind: of what is late the outcome is %+v", behind, o)
			}
		}, running(2))
	}
}

// A clock that was corrected a moment ago, which is not measured yet, makes no command expire: before that is told it is measured.
func TestClockIsMeasuredBeforeACommandExpires(t *testing.T) {
	lead(t, func(w *world) {
		w.hearWith(-2 * time.Minute)
		w.bus.prove = func() { w.hearWith(0) }
		if o := w.do(Command{Verb: Start, Deadline: time.Now().Add(30 * time.Second)}); o == nil || o.Err != nil {
			t.Errorf("outcome %+v", o)
		}
	}, running(2))
}

// setClock lets a test set the clock on the wall of this process, as far as the Scaler sees it. The monotonic clock goes on.
func (w *world) setClock() *atomic.Int64 {
	w.end()
	by := &atomic.Int64{}
	w.Scaler.now = func() time.Time { return clocktest.Stepped(time.Now(), time.Duration(by.Load())) }
	w.begin(func() bool { return true })
	return by
}

// A proof of silence ends when the clock is set, as after a suspension of the machine: what was heard by then, and how far the clock of NATS is behind ours, is
// of before that.
func TestSetClockEndsAProof(t *testing.T) {
	for by, sleeps := range map[time.Duration]bool{time.Second: true, 2 * time.Second: false, 10 * time.Minute: false, -time.Second: true, -2 * time.Second: false, -10 * time.Minute: false} {
		t.Run(by.String(), func(t *testing.T) {
			lead(t, func(w *world) {
				set, proofs := w.setClock(), 0
				w.bus.prove = func() {
					if proofs++; proofs == 1 {
						set.Store(int64(by)) // just when it is proven
					}
				}
				w.sweep()
				if slept := w.alpha().Replicas == 0; slept != sleeps {
					t.Errorf("slept is %v", slept)
				}
				time.Sleep(time.Minute)
				w.sweep() // it is proven anew
				w.expectReplicas(0)
			}, with(running(3), func(s *Server) { s.Created = s.Created.Add(-2 * time.Hour) }))
		})
	}
}

// Nor is a decision sent that was made before the clock was set.
func TestSetClockEndsADecision(t *testing.T) {
	for by, want := range map[time.Duration]error{time.Second: nil, 2 * time.Second: ErrConflict, time.Hour: ErrConflict, -time.Second: nil, -time.Hour: ErrConflict} {
		lead(t, func(w *world) {
			set := w.setClock()
			decided := Event{Type: Scaled, At: w.now()}
			set.Store(int64(by))
			if _, _, err := w.leading().write(w.alpha(), Change{Replicas: 5, Event: decided}); !errors.Is(err, want) {
				t.Errorf("set by %s: error %v", by, err)
			}
		}, running(3))
	}
}
