package scaler

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// A sleep gives up if another leader has just changed the server and that event is not published
// yet. The next sweep publishes it first.
func TestNoSleepOverwritesAnUnpublishedEvent(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.prove = func() { // just before the sleep looks at the server
			s := *w.alpha()
			s.Mark.Last = Event{ID: "of-another-leader", Type: Scaled, Server: alpha, At: time.Now(), To: 3}
			w.cluster.put(s)
		}
		w.sweep()
		w.expectReplicas(3)
		w.bus.prove = nil
		w.sweep()
		w.expectReplicas(0)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Scaled, Slept}) {
			t.Errorf("published %v", got)
		}
	}, running(3))
}

// A sleep that was written without an answer is published once, by the next sweep at the latest,
// also if nobody changes the server.
func TestUnsureSleepIsPublished(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { return ErrUnsure }
		w.sweep()
		w.cluster.onWrite = nil
		w.expectReplicas(0)
		for range 3 {
			w.sweep()
		}
		w.expectPublished(Slept)
	}, running(3))
	lead(t, func(w *world) { // it lands long after the sleep was given up
		w.cluster.onWrite = func(server *Server) error {
			slept := written(server, 0, Mark{Restore: 3, Because: policy.BecauseIdle, Asleep: time.Now()})
			slept.Mark.Last = Event{ID: changeID(server), Type: Slept, Server: alpha, At: time.Now(), From: 3}
			time.AfterFunc(time.Minute, func() { w.cluster.put(slept) })
			return fmt.Errorf("%w: no answer", ErrUnsure)
		}
		w.sweep()
		w.cluster.onWrite = nil
		time.Sleep(time.Minute)
		w.expectReplicas(0)
		w.expectPublished(Slept)
		w.sweep()
		w.expectPublished(Slept)
	}, running(3))
}

// A change that a former leader writes after the next one has begun is published too.
func TestLateWriteOfAFormerLeaderIsPublished(t *testing.T) {
	for name, late := range map[string]struct {
		age  time.Duration
		want []EventType
	}{
		"a moment ago": {time.Second, []EventType{Scaled}},
		"long ago, when the stream may have had it": {republishFor, nil},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.onChange = func(ID) {} // and nobody notices
				w.change("alpha", func(s *Server) {
					s.Mark.Last = Event{ID: "of-another-leader", Type: Scaled, Server: alpha, At: time.Now().Add(-late.age), To: 3}
					s.Mark.Hold = policy.Hold{Until: time.Now().Add(time.Hour)}
				})
				for range 3 {
					w.sweep()
				}
				w.expectPublished(late.want...)
			}, running(3))
		})
	}
}

// However often a server has a pass while NATS is away, its event is published once when NATS is
// back.
func TestEventIsPublishedOnceAfterAnOutage(t *testing.T) {
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
		w.bus.setAway(nil)
		time.Sleep(time.Minute)
		w.expectPublished(Scaled)
		if n := w.meter.events.Load(); n != 1 {
			t.Errorf("%d events counted", n)
		}
	}, running(3))
}

// Before a command whose last write got no answer is rejected, its server is read once more:
// rejected means that it was not applied.
func TestLastWriteIsLookedFor(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { time.Sleep(w.config.RetryFor); return ErrUnsure }
		if o := w.do(Command{Verb: Scale, Replicas: 5}); o == nil || o.Err != nil || o.Event.Type != Scaled {
			t.Errorf("outcome %+v", o)
		}
		w.expectPublished(Scaled)
	}, running(2))
	lead(t, func(w *world) { // it lands during the next try, which is the last
		late := written(w.alpha(), 5, Mark{})
		w.cluster.onWrite = func(server *Server) error {
			if late.Mark.Last.ID == "" {
				late.Mark.Last = Event{
					ID: changeID(server), Type: Scaled, Server: alpha, At: time.Now(), From: 2, To: 5, Cause: policy.CauseCommand,
				}
				return fmt.Errorf("%w: not there yet", ErrUnsure)
			}
			time.Sleep(w.config.RetryFor)
			w.cluster.put(late)
			return ErrConflict
		}
		if o := w.do(Command{Verb: Scale, Replicas: 5}); o == nil || o.Err != nil || o.Event.Type != Scaled {
			t.Errorf("outcome %+v", o)
		}
		w.expectPublished(Scaled)
	}, running(2))
}

// A forced stop whose pods can't be ended has an error as its answer. It is applied, so no event
// says that it was rejected.
func TestForcedStopWhosePodsCannotBeEnded(t *testing.T) {
	lead(t, func(w *world) {
		w.pods.err = ErrRefused
		stop := Command{Verb: Stop, Force: true, Stamp: w.stamp()}
		for _, time := range []string{"first", "second"} { // it comes again, because its acknowledgement got lost
			if o := w.do(stop); o == nil || !errors.Is(o.Err, ErrRefused) || o.Event.Type != Slept || o.Server == nil ||
				o.Server.Replicas != 0 {
				t.Errorf("outcome %s %+v", time, o)
			}
		}
		w.expectReplicas(0)
		w.expectPublished(Slept)
	}, running(2))
}

// behind is a Cache that does not know of the last changes yet.
type behind struct {
	*fakeCluster
	servers map[ID]*Server
}

func (b behind) Get(id ID) (*Server, bool) { s, ok := b.servers[id]; return s, ok }

// A command that a former leader has applied does not expire, also when the cache of the next
// leader does not have the change yet.
func TestAppliedCommandDoesNotExpireUnseen(t *testing.T) {
	for name, fails := range map[string]int{"at once": 0, "after a while": 3} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				before := w.alpha()
				stop := Command{Verb: Stop, Stamp: w.stamp()}
				w.do(stop)
				w.end()
				w.Scaler.cache = behind{w.cluster, map[ID]*Server{alpha: before}}
				w.nextLeader()
				time.Sleep(time.Hour)
				w.cluster.lost = fails
				if o := w.do(stop); o == nil || o.Err != nil || o.Event.Type != Slept {
					t.Errorf("outcome %+v", o)
				}
				w.expectPublished(Slept)
				late := activity.Stamp{Sequence: 1 << 40, Time: stop.Stamp.Time.Add(time.Second)}
				if o := w.do(Command{Verb: Start, Stamp: late}); o == nil || !errors.Is(o.Err, ErrExpired) {
					t.Errorf("of one that was not applied: outcome %+v", o)
				}
				w.expectPublished(Slept, Expired)
			}, running(2))
		})
	}
}

// A command ends after its event is published: whoever reads the answer finds the event.
func TestACommandEndsAfterItsEvent(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.setAway(errors.New("NATS is away"))
		ended := make(chan Outcome, 1)
		w.Submit(w.t.Context(), Command{Verb: Start, Server: alpha, Stamp: w.stamp()}, func(o Outcome) { ended <- o })
		time.Sleep(time.Minute)
		w.expectReplicas(1)
		if len(ended) > 0 {
			t.Error("it ended before its event was published")
		}
		w.bus.setAway(nil)
		time.Sleep(publishBackoff)
		if w.expectPublished(Woken); len(ended) == 0 {
			t.Error("it has not ended, and its event is published")
		}
	}, running(0))
}
