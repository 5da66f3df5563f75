package scaler

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy/explain"
	"idle-scaler/test/clocktest"
)

// showing makes the clock of the log show so much more than the clock of this process.
func (w *world) showing(more time.Duration) {
	now := time.Now()
	w.clock.Measured(now.Add(more), now, now)
	log := activity.Log{CompleteSince: w.now().Add(-5 * idleAfter)}
	w.tracker.CaughtUp(log, w.now().Add(-time.Hour))
	w.tracker.CaughtUp(log, w.now())
}

// Only the clock of the log counts. Whatever the leader's own clock shows, servers sleep and wake
// at the same instants of the log, commands are as old, holds are as long, and what is written or
// published means the same to the next leader.
func TestOnlyTheClockOfTheLogCounts(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for _, more := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute, month, -month} {
		t.Run(more.String(), func(t *testing.T) {
			lead(t, func(w *world) {
				w.showing(more)
				isNow := func(what string, at time.Time) {
					t.Helper()
					if !at.Equal(w.now()) {
						t.Errorf("%s at %s, want %s", what, at, w.now())
					}
				}
				s := *w.alpha()
				s.Created = w.now().Add(-2 * time.Hour)
				w.cluster.put(s)
				isNow("started", w.must(Command{Verb: Start}).At)
				isNow("awake", w.alpha().Mark.Awake)

				time.Sleep(idleAfter - time.Second)
				w.sweep()
				w.expectReplicas(2)
				time.Sleep(time.Second)
				w.sweep()
				w.expectReplicas(0)
				isNow("asleep", w.alpha().Mark.Asleep)

				time.Sleep(time.Minute)
				w.ping()
				w.expectReplicas(2)
				if n := w.meter.misSleeps.Load(); n != 1 {
					t.Errorf("%d mistakes counted", n)
				}

				hold := holdAsleep
				hold.Until = explain.Instant(w.now().Add(2 * time.Hour))
				w.must(hold)
				w.ping()
				time.Sleep(2*time.Hour - time.Second)
				w.expectReplicas(0)
				time.Sleep(time.Second)
				w.expectReplicas(2)

				old := w.stamp()
				old.Time = old.Time.Add(-w.config.CommandMaxAge - time.Second)
				if o := w.do(Command{Verb: Stop, Stamp: old}); o == nil || !errors.Is(o.Err, ErrExpired) {
					t.Errorf("an old command: %+v", o)
				}
				if o := w.do(Command{Verb: Stop, Deadline: w.now().Add(-time.Second)}); o == nil || !errors.Is(o.Err, ErrExpired) {
					t.Errorf("one past its deadline: %+v", o)
				}

				w.end()
				w.cluster.slow = true
				w.change("alpha", func(s *Server) { s.Mark.Awake, s.Ready = w.now(), 0 })
				w.begin(func() bool { return true })
				time.Sleep(3 * time.Second)
				w.getReady("alpha")
				if e := w.last(Ready); e.Took != 3*time.Second {
					t.Errorf("it took %s, want 3s", e.Took)
				}
			}, running(2))
		})
	}
}

// A wrong measurement of the clock makes no command expire: the clock is measured again before that
// is published.
func TestClockIsMeasuredBeforeACommandExpires(t *testing.T) {
	lead(t, func(w *world) {
		taken := w.now()
		w.showing(2 * time.Minute)
		w.bus.prove = func() { w.showing(0) }
		if o := w.do(Command{Verb: Start, Taken: taken, Deadline: taken.Add(30 * time.Second)}); o == nil || o.Err != nil {
			t.Errorf("outcome %+v", o)
		}
	}, running(2))
}

// setClock lets a test set the wall clock of this process, as far as the Scaler sees it. The
// monotonic clock goes on.
func (w *world) setClock() *atomic.Int64 {
	w.end()
	by := &atomic.Int64{}
	w.local = func() time.Time { return clocktest.Stepped(time.Now(), time.Duration(by.Load())) }
	w.begin(func() bool { return true })
	return by
}

// A proof of silence ends when the clock is set, as after a suspension of the machine: the proof,
// and the difference between the clocks, are from before that.
func TestSetClockEndsAProof(t *testing.T) {
	for by, sleeps := range map[time.Duration]bool{
		time.Second: true, 2 * time.Second: false, 10 * time.Minute: false,
		-time.Second: true, -2 * time.Second: false, -10 * time.Minute: false,
	} {
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
				w.sweep() // it is proven again
				w.expectReplicas(0)
			}, with(running(3), func(s *Server) { s.Created = s.Created.Add(-2 * time.Hour) }))
		})
	}
}

// A decision that was made before the clock was set is not sent.
func TestSetClockEndsADecision(t *testing.T) {
	for by, want := range map[time.Duration]error{
		time.Second: nil, 2 * time.Second: ErrConflict, time.Hour: ErrConflict,
		-time.Second: nil, -time.Hour: ErrConflict,
	} {
		lead(t, func(w *world) {
			set := w.setClock()
			decided := w.local()
			set.Store(int64(by))
			c := Change{Replicas: 5, Event: Event{Type: Scaled, At: w.now()}}
			term := w.term.Load()
			if _, _, err := term.write(term.state(alpha), w.alpha(), c, decided); !errors.Is(err, want) {
				t.Errorf("set by %s: error %v", by, err)
			}
		}, running(3))
	}
}
