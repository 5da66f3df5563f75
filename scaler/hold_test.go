package scaler

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

var (
	holdAwake  = Command{Verb: Hold, Until: "2h", Actor: "ann", Reason: "demo"}
	holdAsleep = Command{Verb: Hold, Until: "2h", Asleep: true, Actor: "bob"}
)

// must submits a command that has to succeed, and returns its event.
func (w *world) must(c Command) Event {
	w.t.Helper()
	w.stepTime()
	o := w.do(c)
	if o == nil || o.Err != nil {
		w.t.Fatalf("%s: outcome %+v", c.Verb, o)
	}
	synctest.Wait()
	return o.Event
}

// stepTime makes two commands differ in their instants, as those of a stream do.
func (w *world) stepTime() { time.Sleep(time.Millisecond) }

// A hold awake wakes at once, whatever made the server zero. It keeps the server awake until its
// end; then the idle rule counts.
func TestHoldAwake(t *testing.T) {
	for name, s := range map[string]func() *Server{
		"running": running(3), "asleep": asleep(policy.BecauseIdle),
		"stopped": asleep(policy.BecauseCommand), "held asleep": asleep(policy.BecauseHold),
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				began := time.Now()
				w.must(holdAwake)
				w.expectReplicas(3)
				if len(w.cluster.writes) != 1 {
					t.Errorf("%d writes", len(w.cluster.writes))
				}
				for time.Since(began) < 119*time.Minute {
					time.Sleep(10 * time.Minute)
					if time.Since(began) < 119*time.Minute {
						w.sweep()
						w.expectReplicas(3)
					}
				}
				time.Sleep(2 * time.Minute)
				w.sweep()
				w.expectReplicas(0)
				if e := w.last(Slept); e.Cause != policy.CauseIdle || !w.alpha().Mark.Hold.Until.IsZero() {
					t.Errorf("event %+v, marked %+v", e, w.alpha().Mark)
				}
			}, s)
		})
	}
}

// A hold asleep sleeps at once, also while silence proves nothing. No ping, lease, window or group
// wakes the server until its end. Then demand wakes it at once.
func TestHoldAsleep(t *testing.T) {
	mate := set(named("mate", running(1)), "group", "g", "idle-after", "never")
	lead(t, func(w *world) {
		w.tracker.Lost("NATS is away", time.Now())
		w.bus.prove = func() { t.Error("asked the log") }
		w.must(holdAsleep)
		w.expectReplicas(0)
		w.bus.prove = nil
		w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-2 * idleAfter)}, time.Now())
		w.lease(5 * time.Hour)
		for range 11 {
			w.ping()
			w.pingTo("mate")
			w.sweep()
			w.expectReplicas(0)
			time.Sleep(10 * time.Minute)
		}
		w.expect("mate", 1)
		time.Sleep(8 * time.Minute)
		w.expectReplicas(0)
		time.Sleep(2 * time.Minute) // no sweep here: that is once an hour
		w.expectReplicas(2)
	}, set(running(2), "group", "g", "keep-warm", "0 0 * * * for 9h"), mate)
	lead(t, func(w *world) { // without demand it stays asleep
		w.ping()
		w.must(holdAsleep)
		time.Sleep(4 * time.Hour)
		w.expectReplicas(0)
		w.ping()
		w.expectReplicas(2)
	}, running(2))
}

// When somebody raises a server that is held asleep, it sleeps again without a proof of silence.
func TestHoldAsleepIsRestored(t *testing.T) {
	lead(t, func(w *world) {
		w.must(holdAsleep)
		w.change("alpha", func(s *Server) { s.Replicas, s.Writer, s.Ours = 1, "kubectl", false })
		w.tracker.Lost("NATS is away", time.Now())
		w.bus.away = nil
		w.bus.prove = func() { t.Error("asked the log") }
		w.sweep()
		w.expectReplicas(0)
		if e := w.last(Slept); e.Cause != policy.CauseHold || e.Actor != "bob" ||
			w.alpha().Mark.Because != policy.BecauseHold {
			t.Errorf("event %+v, marked %+v", e, w.alpha().Mark)
		}
	}, running(2))
}

// slowly is a Cache that takes its time.
type slowly struct{ *fakeCluster }

func (s slowly) Get(id ID) (*Server, bool) {
	time.Sleep(2 * time.Millisecond)
	return s.fakeCluster.Get(id)
}

// When a hold asleep ends while its sleep is being decided, nothing sleeps, because silence was not
// proven.
func TestHoldThatEndsProvesNothing(t *testing.T) {
	lead(t, func(w *world) {
		w.change("alpha",
			func(s *Server) { s.Mark.Hold = policy.Hold{Asleep: true, Until: time.Now().Add(time.Millisecond)} })
		w.bus.setAway(errors.New("nats is away"))
		w.Scaler.cache = slowly{w.cluster}
		w.sweep()
		w.expectReplicas(3)
		w.bus.setAway(nil)
	}, running(3))
}

// The newest explicit order wins, and says which one it ends. Each is one write.
func TestNewestOrderWins(t *testing.T) {
	const (
		two       = "until 2000-01-01T02:00:00Z"
		endAwake  = "ends the hold awake " + two + ` by "ann" ("demo")`
		endAsleep = "ends the hold asleep " + two + ` by "bob"`
		endStop   = "ends the stop of 2000-01-01T00:00:00Z"
	)
	five := Command{Verb: Scale, Replicas: 5}
	for _, tt := range []struct {
		name     string
		server   func() *Server
		first    Command
		second   Command
		replicas int
		held     string
		says     string
	}{
		{"stop ends a hold awake", running(2), holdAwake, Command{Verb: Stop}, 0, "", endAwake},
		{"scale to zero ends a hold awake", running(2), holdAwake, Command{Verb: Scale}, 0, "", endAwake},
		{"start ends a hold asleep", running(2), holdAsleep, Command{Verb: Start}, 2, "", endAsleep},
		{"scale ends a hold asleep", running(2), holdAsleep, five, 5, "", endAsleep},
		{"start keeps a hold awake", running(2), holdAwake, Command{Verb: Start}, 2, "awake", ""},
		{"scale keeps a hold awake", running(2), holdAwake, five, 5, "awake", ""},
		{
			"a hold awake ends a stop", running(2),
			Command{Verb: Stop},
			holdAwake, 2, "awake", "held awake " + two + "; " + endStop,
		},
		{"a hold asleep ends a stop", running(2), Command{Verb: Stop}, holdAsleep, 0, "asleep", endStop},
		{
			"a hold awake ends a hold asleep", running(2),
			holdAsleep, holdAwake, 2, "awake", "held awake " + two + "; " + endAsleep,
		},
		{
			"a hold asleep ends a hold awake", running(2),
			holdAwake, holdAsleep, 0, "asleep", "held asleep " + two + "; " + endAwake,
		},
		{
			"a hold ends one of nobody", running(2),
			Command{Verb: Hold, Until: "1h"},
			holdAsleep, 0, "asleep", "; ends the hold awake until 2000-01-01T01:00:00Z",
		},
		{"release ends a hold awake", running(2), holdAwake, Command{Verb: Release}, 2, "", `ends the hold awake`},
		{"release ends a hold asleep", running(2), holdAsleep, Command{Verb: Release}, 0, "", `ends the hold asleep`},
		{"release of nothing", running(2), Command{Verb: Start}, Command{Verb: Release}, 2, "", "there was no hold"},
		{"release is no start", running(2), Command{Verb: Stop}, Command{Verb: Release}, 0, "", "there was no hold"},
		{"stop twice", running(2), Command{Verb: Stop}, Command{Verb: Stop}, 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.must(tt.first)
				e := w.must(tt.second)
				w.expectReplicas(tt.replicas)
				held := ""
				if hold := w.alpha().Mark.Hold; hold.Holds(time.Now()) {
					held = hold.String()
				}
				if held != tt.held || !strings.Contains(e.Text, tt.says) || tt.says == "" && e.Text != "" {
					t.Errorf("held %q, text %q", held, e.Text)
				}
				if n := len(w.cluster.writes); n != 2 || e.Cause != policy.CauseCommand {
					t.Errorf("%d writes, event %+v", n, e)
				}
			}, tt.server)
		})
	}
}

// After a release the other rules count: demand wakes, silence puts to sleep, a stop lasts.
func TestRelease(t *testing.T) {
	lead(t, func(w *world) {
		w.must(holdAsleep)
		w.ping()
		w.expectReplicas(0)
		w.must(Command{Verb: Release})
		w.expectReplicas(2)
	}, running(2))
	lead(t, func(w *world) {
		w.must(holdAwake)
		w.must(Command{Verb: Release})
		time.Sleep(idleAfter)
		w.sweep()
		w.expectReplicas(0)
	}, running(2))
	lead(t, func(w *world) {
		w.must(Command{Verb: Stop})
		w.must(Command{Verb: Release})
		w.ping()
		w.expectReplicas(0)
	}, running(2))
}

// A hold counts from when it was ordered, not from when it is applied. A hold that is over by then
// has expired, and its event says so.
func TestHoldCountsFromItsCommand(t *testing.T) {
	lead(t, func(w *world) {
		c, ordered := holdAwake, time.Now()
		c.Stamp = w.stamp()
		time.Sleep(5 * time.Minute)
		w.must(c)
		if hold := w.alpha().Mark.Hold; !hold.Until.Equal(ordered.Add(2*time.Hour)) || hold.Actor != "ann" ||
			hold.Reason != "demo" {
			t.Errorf("held %+v", hold)
		}
		c.Until, c.Stamp = "1m", w.stamp()
		time.Sleep(5 * time.Minute)
		if o := w.do(c); o == nil || !errors.Is(o.Err, ErrExpired) || w.last(Expired).ID == "" {
			t.Errorf("outcome %+v", o)
		}
	}, running(2))
	lead(t, func(w *world) { // by a clock in the zone of the server
		c := holdAwake
		c.Until = "18:00"
		w.must(c)
		if got := explain.Instant(w.alpha().Mark.Hold.Until); got != "2000-01-01T17:00:00Z" {
			t.Errorf("held until %s", got)
		}
	}, set(running(2), "time-zone", "Europe/Rome"))
}

// A hold that is delivered again is applied once, also after it has ended.
func TestRedeliveredHold(t *testing.T) {
	for _, c := range []Command{holdAwake, holdAsleep} {
		lead(t, func(w *world) {
			c.Stamp = w.stamp()
			first := w.do(c)
			time.Sleep(time.Hour)
			if o := w.do(c); o == nil || o.Err != nil || o.Event.ID != first.Event.ID {
				t.Errorf("outcome %+v", o)
			}
			if n := len(w.cluster.writes); n != 1 {
				t.Errorf("%d writes", n)
			}
		}, running(2))
	}
}

// A hold that makes no sense is an error on any replica, and changes nothing.
func TestRejectedHolds(t *testing.T) {
	for until, want := range map[string]error{"": ErrInvalid, "soon": ErrInvalid, "-1h": ErrInvalid, "9000h": ErrInvalid} {
		lead(t, func(w *world) {
			c := Command{Verb: Hold, Server: alpha, Until: until}
			if _, err := w.Check(w.t.Context(), c); !errors.Is(err, want) {
				t.Errorf("until %q: checked %v", until, err)
			}
			if o := w.do(c); o == nil || !errors.Is(o.Err, want) {
				t.Errorf("until %q: outcome %+v", until, o)
			}
			w.expectPublished(Rejected)
		}, running(2))
	}
}

// While the settings of a server can't be read, its time zone is not known, and a hold until a time
// of the day is an error.
func TestHoldsWithoutAZone(t *testing.T) {
	for until, want := range map[string]error{"18:00": ErrInvalid, "2h": nil, "2000-01-01T18:00:00Z": nil} {
		lead(t, func(w *world) {
			c := Command{Verb: Hold, Server: alpha, Until: until}
			if _, err := w.Check(w.t.Context(), c); !errors.Is(err, want) || want != nil &&
				!strings.Contains(err.Error(), "time-zone") {
				t.Errorf("until %q: checked %v", until, err)
			}
			if o := w.do(c); o == nil || !errors.Is(o.Err, want) {
				t.Errorf("until %q: outcome %+v", until, o)
			}
		}, set(running(2), "time-zone", "Rome"))
	}
}

// An order for zero is refused at once while somebody else decides about the replicas and would
// undo it. The error and the event say who that is and what to do. An order for more is applied.
func TestOrdersBesideKEDA(t *testing.T) {
	keda := with(running(2), func(s *Server) { s.Rival = policy.KEDA })
	for _, c := range []Command{holdAsleep, {Verb: Stop}, {Verb: Scale}} {
		lead(t, func(w *world) {
			c.Server = alpha
			if _, err := w.Check(w.t.Context(), c); !errors.Is(err, ErrSuperseded) {
				t.Errorf("%s: checked %v", c.Verb, err)
			}
			o := w.do(c)
			if o == nil || !errors.Is(o.Err, ErrSuperseded) || !strings.Contains(o.Err.Error(), "delete the ScaledObject") {
				t.Errorf("%s: outcome %+v", c.Verb, o)
			}
			w.expectPublished(Rejected)
			w.expectReplicas(2)
		}, keda)
	}
	for _, c := range []Command{holdAwake, {Verb: Start}, {Verb: Scale, Replicas: 3}, {Verb: Release}} {
		lead(t, func(w *world) { w.must(c) }, keda)
	}
}

// The server keeps a hold through automatic sleeps and wakes as long as the hold is in force, and
// no longer.
func TestHoldOutlivesAutomaticChanges(t *testing.T) {
	inForce := policy.Hold{Asleep: true, Until: time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC), Actor: "bob"}
	for _, after := range []time.Duration{0, 2 * time.Hour} {
		lead(t, func(w *world) {
			time.Sleep(after)
			now := time.Now()
			mark := func(s *Server) { s.Mark.Hold = inForce }
			term, awake := w.term.Load(), with(running(2), mark)()
			slept := term.planSleep(awake, policy.BecauseIdle, activity.Stamp{}, Event{At: now}).Mark.Hold
			woken := term.planWake(with(asleep(policy.BecauseHold), mark)(), 2, Event{At: now}).Mark.Hold
			if slept != woken || slept.Holds(now) != (after == 0) || after > 0 && slept != (policy.Hold{}) {
				t.Errorf("after %s: asleep with %+v, woken with %+v", after, slept, woken)
			}
		})
	}
}

// A hold awake is an order, so it wakes a server whose zero is somebody else's.
func TestHoldAwakeOfSomebodysZero(t *testing.T) {
	lead(t, func(w *world) {
		w.must(holdAwake)
		w.expectReplicas(1)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Woken, Ready}) {
			t.Errorf("published %v", got)
		}
	}, running(0))
}
