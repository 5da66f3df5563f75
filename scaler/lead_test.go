package scaler

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// Only the leader writes. A command that is submitted to another replica is not finished, so that
// it comes again.
func TestOnlyTheLeaderWrites(t *testing.T) {
	lead(t, func(w *world) {
		w.end()
		w.ping()
		if o := w.do(Command{Verb: Start}); o != nil {
			t.Errorf("outcome %+v", o)
		}
		w.begin(func() bool { return false }) // a leader that did not renew its lease in time
		w.Enqueue(alpha)
		if o := w.do(Command{Verb: Start}); o != nil {
			t.Errorf("outcome %+v", o)
		}
		w.expectReplicas(0)
	}, asleep(policy.BecauseIdle))
}

// A pass that has begun ends before the daemon does.
func TestEndFinishesPassesThatHaveBegun(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { time.Sleep(time.Second); return nil }
		finished := 0
		w.Submit(w.t.Context(), Command{Verb: Stop, Server: alpha, Stamp: w.stamp()}, func(Outcome) { finished++ })
		synctest.Wait()
		w.end()
		w.expectReplicas(0)
		if finished != 1 {
			t.Errorf("finished %d times", finished)
		}
		w.begin(func() bool { return true })
	}, running(2))
}

// A command that can't be applied yet does not delay the end: it is left to the next leader.
func TestEndLeavesWaitingCommands(t *testing.T) {
	lead(t, func(w *world) {
		finished := 0
		w.Submit(w.t.Context(), Command{Verb: Start, Server: ID{Namespace: "team-a", Name: "nobody"}, Stamp: w.stamp()},
			func(Outcome) { finished++ })
		synctest.Wait()
		began := time.Now()
		w.end()
		if took := time.Since(began); took > 0 || finished != 0 {
			t.Errorf("ended after %s, %d finished", took, finished)
		}
		w.begin(func() bool { return true })
	})
}

// If a leader dies before it publishes an event, the event is on the Deployment, and the next
// leader publishes it.
func TestNextLeaderPublishesMissingEvents(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.away = ErrUnsure
		w.ping()
		synctest.Wait()
		w.end()
		w.bus.away = nil
		w.begin(func() bool { return true })
		synctest.Wait()
		if got := w.bus.types(); !slices.Contains(got, Woken) {
			t.Fatalf("published %v", got)
		}
		w.bus.known = map[string]bool{w.alpha().Mark.Last.ID: true}
		w.end()
		published := len(w.bus.types())
		w.begin(func() bool { return true })
		synctest.Wait()
		if got := w.bus.types(); len(got) != published {
			t.Errorf("published again: %v", got)
		}
	}, asleep(policy.BecauseIdle))
}

// The next change of a server waits until the stream has the event of the last one.
func TestNextChangeWaitsForTheEvent(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.away = ErrUnsure
		outcomes := 0
		for _, verb := range []Verb{Stop, Start} {
			w.Submit(w.t.Context(), Command{Verb: verb, Server: alpha, Stamp: w.stamp()}, func(Outcome) { outcomes++ })
		}
		time.Sleep(time.Minute)
		w.expectReplicas(0)
		w.bus.mu.Lock()
		w.bus.away = nil
		w.bus.mu.Unlock()
		time.Sleep(time.Minute)
		w.expectReplicas(2)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Slept, Woken, Ready}) || outcomes != 2 {
			t.Errorf("published %v, %d outcomes", got, outcomes)
		}
	}, running(2))
}

// It is published once, with the reason, that nothing can be put to sleep, and once that this is
// over.
func TestBlindnessIsPublished(t *testing.T) {
	lead(t, func(w *world) {
		time.Sleep(70 * time.Minute)
		w.tracker.Lost("NATS is away", time.Now())
		time.Sleep(3 * time.Hour)
		w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-12 * time.Hour)}, time.Now())
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		var published []Event
		for _, e := range w.bus.kept {
			if e.Server.Namespace == "_" {
				published = append(published, e)
			}
		}
		if len(published) != 2 || published[0].Type != Blinded || !strings.Contains(published[0].Text, "NATS is away") ||
			published[1].Type != Sighted || published[1].Took != 3*time.Hour {
			t.Errorf("published %+v", published)
		}
	})
}

// Settings that can't be read are published, once for each mistake.
func TestUnreadableSettingsArePublished(t *testing.T) {
	lead(t, func(w *world) {
		time.Sleep(3 * time.Hour)
		s := *w.alpha()
		s.Bad = errors.New("paused: neither")
		w.cluster.put(s)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if got := w.bus.types(); !slices.Equal(got, []EventType{Unreadable, Unreadable}) ||
			!strings.Contains(w.bus.kept[1].Text, "paused: neither") {
			t.Errorf("published %v", w.bus.kept)
		}
	}, func() *Server { s := running(2)(); s.Bad = errors.New("idle-after: eh?"); return s })
}

// Sweeps come on the schedule, and the first one after a server is idle puts it to sleep.
func TestSweepsOnSchedule(t *testing.T) {
	lead(t, func(w *world) {
		time.Sleep(59 * time.Minute)
		w.expectReplicas(2)
		time.Sleep(2 * time.Minute)
		w.expectReplicas(0)
	}, running(2))
}

// While its lease is late, a leader writes nothing. It keeps the commands that come meanwhile: a
// dropped command would come again after newer ones.
func TestLateLeaseDropsNoCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running(2))
		var late atomic.Bool
		w.begin(func() bool { return !late.Load() })
		late.Store(true)
		finished := 0
		for _, verb := range []Verb{Stop, Start} {
			w.Submit(t.Context(), Command{Verb: verb, Server: alpha, Stamp: w.stamp()}, func(o Outcome) {
				if finished++; o.Err != nil {
					t.Error(o.Err)
				}
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(w.cluster.writes); n != 0 {
			t.Errorf("%d writes without a lease", n)
		}
		late.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(w.cluster.writes); n != 2 || finished != 2 {
			t.Errorf("%d writes, %d finished", n, finished)
		}
		w.end()
	})
}

// A change without an answer, and a change whose leader died before it published the event, are
// published before the next change overwrites them.
func TestNoEventIsOverwritten(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { return ErrUnsure }
		w.sweep()
		w.cluster.onWrite = nil
		w.expectReplicas(0)
		w.ping()
		if got := w.bus.types(); !slices.Equal(got, []EventType{Slept, Woken, Ready}) {
			t.Errorf("published %v", got)
		}
	}, running(2))
	lead(t, func(w *world) {
		stale := *w.alpha()
		slept := stale
		slept.Replicas, slept.Writer, slept.Ours = 0, "idle-scaler", true
		slept.Mark = Mark{
			Restore: 2, Because: policy.BecauseIdle, Asleep: time.Now(),
			Last: Event{ID: "former", Type: Slept, Server: alpha, At: time.Now()},
		}
		w.cluster.put(slept)
		w.do(Command{Verb: Start})
		if got := w.bus.types(); len(got) < 2 || got[0] != Slept || got[1] != Woken {
			t.Errorf("published %v", got)
		}
	}, running(2))
}

// However long it takes to publish that a server is woken, that it is ready is published after
// that.
func TestReadyIsPublishedAfterWoken(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.takes = map[EventType]time.Duration{Woken: time.Minute}
		w.ping()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := w.bus.types(); !slices.Equal(got, []EventType{Woken, Ready}) {
			t.Errorf("published %v", got)
		}
	}, asleep(policy.BecauseIdle))
}
