package scaler

import (
	"testing"
	"time"

	"idle-scaler/activity"
)

// hearWith makes the clock of NATS so far behind that of this process.
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
				w.do(Command{Verb: Start, Behind: row.first, Stamp: activity.Stamp{Sequence: 1, Time: time.Now().Add(-row.first)}})
				if awake, want := w.alpha().Mark.Awake, time.Now().Add(-row.first); !awake.Equal(want) {
					t.Errorf("awake since %s by the clock of NATS, want %s", awake, want)
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
					t.Errorf("asleep since %s by the clock of NATS, want %s", asleep, want)
				}
			}, running(2))
		})
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
