package scaler

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/policy"
)

// How long a wake took is measured of wakes only. Of a server that has ready replicas nobody is told that it is ready, nor that it failed when more
// do not get ready: who waits for these is answered. Of one that has none both are told, also when nothing but a command waits for it.
func TestOnlyWakesAreMeasured(t *testing.T) {
	more, start := Command{Verb: Scale, Replicas: 3, Wait: time.Minute}, Command{Verb: Start, Wait: time.Minute}
	for _, tt := range []struct {
		name   string
		server func() *Server
		ready  int
		c      Command
		fails  bool
		told   []EventType
		wakes  int32
	}{
		{"a wake", asleep(policy.BecauseIdle), 0, start, false, []EventType{Woken, Ready}, 1},
		{"a wake by scale", asleep(policy.BecauseIdle), 0, more, false, []EventType{Woken, Ready}, 1},
		{"a wake that fails", asleep(policy.BecauseIdle), 0, start, true, []EventType{Woken, Failed}, 0},
		{"more than are ready", running(2), 2, more, false, []EventType{Scaled}, 0},
		{"more than are ready, which fail", running(2), 2, more, true, []EventType{Scaled, Failed}, 0},
		{"more than one that is ready of two", running(2), 1, more, false, []EventType{Scaled}, 0},
		{"more than none", running(2), 0, more, false, []EventType{Scaled, Ready}, 0},
		{"a start of what is not ready", running(2), 0, start, false, []EventType{Unchanged, Ready}, 0},
		{"a start of what fails", running(2), 0, start, true, []EventType{Unchanged, Failed}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.slow = true
				w.change("alpha", func(s *Server) { s.Ready = tt.ready })
				if tt.fails {
					w.pods.diagnoses <- Diagnosis{"ImagePullBackOff", "no such image", true}
				}
				outcomes := w.request(tt.c)
				time.Sleep(10 * time.Second)
				if !tt.fails {
					w.getReady("alpha")
				}
				synctest.Wait()
				if len(outcomes) == 0 {
					t.Fatal("no answer")
				}
				if o := <-outcomes; errors.Is(o.Err, ErrFailed) != tt.fails || !tt.fails && o.Err != nil {
					t.Errorf("outcome %+v", o)
				}
				if got := w.bus.types(); !slices.Equal(got, tt.told) {
					t.Errorf("told %v, want %v", got, tt.told)
				}
				if n := w.meter.ready.Load(); n != tt.wakes {
					t.Errorf("%d wakes measured, want %d", n, tt.wakes)
				}
			}, tt.server)
		})
	}
}

// Why a wake will not get ready is written and told once, however many leaders find it out; another reason is told, too.
func TestFailureIsToldOnce(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		diagnose := func(reason string) {
			w.pods.diagnoses <- Diagnosis{reason, "no such image", true}
			time.Sleep(w.config.DiagnoseAfter + time.Second)
		}
		w.ping()
		diagnose("ErrImagePull")
		w.expectTold(Woken, Failed)
		writes := len(w.cluster.writes)
		for range 2 {
			w.nextLeader()
			diagnose("ErrImagePull")
		}
		w.expectTold(Woken, Failed)
		if n := len(w.cluster.writes); n != writes {
			t.Errorf("%d more writes", n-writes)
		}
		w.nextLeader()
		diagnose("ImagePullBackOff")
		w.expectTold(Woken, Failed, Failed)
	}, asleep(policy.BecauseIdle))
}
