package scaler

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/policy"
)

// A change that was seen only after its predecessor was told, because another leader wrote it at that moment, is not overwritten before it is
// told, too: the sleep gives up, and the next sweep tells it first.
func TestNoSleepOverwritesAnEventThatIsNotTold(t *testing.T) {
	lead(t, func(w *world) {
		for range cap(w.inFlight) {
			w.inFlight <- struct{}{} // the sleep has to wait just before it looks at the server
		}
		time.AfterFunc(500*time.Millisecond, func() {
			s := *w.alpha()
			s.Mark.Last = Event{ID: "of-another-leader", Type: Scaled, Server: alpha, At: time.Now(), To: 3}
			w.cluster.put(s)
			<-w.inFlight
		})
		w.sweep()
		w.expectReplicas(3)
		for len(w.inFlight) > 0 {
			<-w.inFlight
		}
		w.sweep()
		w.expectReplicas(0)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Scaled, Slept}) {
			t.Errorf("told %v", got)
		}
	}, running(3))
}

// A sleep that was written though no answer came is told by the next sweep at the latest, once, and not only when somebody changes the server.
func TestUnsureSleepIsTold(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { return ErrUnsure }
		_, _ = w.Sweep(w.t.Context())
		w.cluster.onWrite = nil
		w.expectReplicas(0)
		for range 3 {
			w.sweep()
		}
		w.expectTold(Slept)
	}, running(3))
	lead(t, func(w *world) { // it is seen long after the write was given up
		w.cluster.onWrite = func(server *Server) error {
			slept := written(server, 0, Mark{Restore: 3, Because: policy.BecauseIdle, Asleep: time.Now(), Last: Event{ID: eventID(server), Type: Slept, Server: alpha, At: time.Now(), From: 3}})
			time.AfterFunc(time.Minute, func() { w.cluster.put(slept) })
			return fmt.Errorf("%w: no answer", ErrUnsure)
		}
		_, _ = w.Sweep(w.t.Context())
		w.cluster.onWrite = nil
		time.Sleep(time.Minute)
		w.expectReplicas(0)
		w.expectTold(Slept)
		w.sweep()
		w.expectTold(Slept)
	}, running(3))
}

// So is what a former leader writes after the next has looked what it has left.
func TestWhatAFormerLeaderWritesLateIsTold(t *testing.T) {
	for name, late := range map[string]struct {
		age  time.Duration
		told []EventType
	}{"a moment ago": {time.Second, []EventType{Scaled}}, "long ago, when the stream may have had it": {republishFor, nil}} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.onChange = func(ID) {} // nor does anybody notice
				w.change("alpha", func(s *Server) {
					s.Mark.Last = Event{ID: "of-another-leader", Type: Scaled, Server: alpha, At: time.Now().Add(-late.age), To: 3}
					s.Mark.Hold = policy.Hold{Until: time.Now().Add(time.Hour)}
				})
				for range 3 {
					w.sweep()
				}
				w.expectTold(late.told...)
			}, running(3))
		})
	}
}

// While NATS is away sweeps put nothing more into a lane that is telling already.
func TestUntoldIsToldByOne(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onChange = func(ID) {}
		w.bus.setAway(ErrUnsure)
		w.change("alpha", func(s *Server) {
			s.Mark.Last = Event{ID: "of-another-leader", Type: Scaled, Server: alpha, At: time.Now(), To: 3}
			s.Mark.Hold = policy.Hold{Until: time.Now().Add(time.Hour)}
		})
		for range 10 {
			w.sweep()
		}
		if n := w.queued(alpha); n != 0 {
			t.Errorf("%d wait in the lane", n)
		}
		w.bus.setAway(nil)
		time.Sleep(time.Minute)
		w.expectTold(Scaled)
	}, running(3))
}

// queued is how much waits in a lane behind what is being done.
func (w *world) queued(id ID) int {
	synctest.Wait()
	lanes := &w.leading().lanes
	lanes.mu.Lock()
	defer lanes.mu.Unlock()
	return len(lanes.queues[id])
}
