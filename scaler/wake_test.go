package scaler

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/policy"
)

// Only wakes are measured. A scale of a server that has ready replicas has no "ready" event; that
// it failed is published all the same, because a replica may wait for the rest. A start or a scale
// of a server without any has both.
func TestOnlyWakesAreMeasured(t *testing.T) {
	more, start := Command{Verb: Scale, Replicas: 3, Wait: time.Minute}, Command{Verb: Start, Wait: time.Minute}
	for _, tt := range []struct {
		name      string
		server    func() *Server
		ready     int
		c         Command
		fails     bool
		published []EventType
		wakes     int32
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
				if got := w.bus.types(); !slices.Equal(got, tt.published) {
					t.Errorf("published %v, want %v", got, tt.published)
				}
				if n := w.meter.ready.Load(); n != tt.wakes {
					t.Errorf("%d wakes measured, want %d", n, tt.wakes)
				}
			}, tt.server)
		})
	}
}

// The reason why a wake will not get ready is written and published once, however many leaders find
// it out. Another reason is published too.
func TestFailureIsPublishedOnce(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.ping()
		w.pods.diagnoses <- Diagnosis{"ErrImagePull", "no such image", true}
		time.Sleep(w.config.DiagnoseAfter + time.Second)
		w.expectPublished(Woken, Failed)
		writes := len(w.cluster.writes)
		for range 2 {
			w.nextLeader()
			time.Sleep(w.config.Rules.StartDeadline)
		}
		w.expectPublished(Woken, Failed)
		if n := len(w.cluster.writes); n != writes {
			t.Errorf("%d more writes", n-writes)
		}
	}, asleep(policy.BecauseIdle))
}

// A start of a server that failed to start may fail again, and is answered with the new reason.
func TestStartAfterAFailure(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		for _, why := range []string{"no such image", "still no such image"} {
			outcome := w.request(Command{Verb: Start, Wait: time.Minute})
			w.pods.diagnoses <- Diagnosis{"ErrImagePull", why, true}
			if o := <-outcome; !errors.Is(o.Err, ErrFailed) || !strings.Contains(o.Err.Error(), ": "+why) {
				t.Errorf("outcome %+v, want %q", o, why)
			}
		}
		w.expectPublished(Woken, Failed, Unchanged, Failed)
	}, asleep(policy.BecauseIdle))
}

// A wake that is refused for days keeps nothing of its tries.
func TestRefusedWakesDoNotGrow(t *testing.T) {
	for _, err := range []error{ErrRefused, ErrConflict, ErrUnsure} {
		lead(t, func(w *world) {
			w.fail(err)
			w.ping()
			time.Sleep(6 * time.Hour)
			if n := len(w.term.Load().states[alpha].tries.unsure); n > maxUnsure {
				t.Errorf("%v: %d are kept", err, n)
			}
		}, asleep(policy.BecauseIdle))
	}
}

// That settings can't be read is published after a wake: no wake waits for the stream of events.
func TestUnreadableSettingsDelayNoWake(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.setAway(ErrUnsure)
		w.change("alpha", func(s *Server) {
			set(func() *Server { return s }, "group", "g", "after", "nobody")()
		})
		w.ping()
		time.Sleep(time.Minute)
		w.expectReplicas(3)
	}, set(asleep(policy.BecauseIdle), "group", "g"))
}

// A failed start ends with "ready" if the server gets ready after all, also under another leader.
func TestFailedEndsWithReady(t *testing.T) {
	for name, meanwhile := range map[string]func(*world){
		"the same leader": func(*world) {}, "another leader": (*world).nextLeader,
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.slow = true
				w.ping()
				w.pods.diagnoses <- Diagnosis{"ImagePullBackOff", "no such image", true}
				time.Sleep(10 * time.Second)
				w.expectPublished(Woken, Failed)
				meanwhile(w)
				time.Sleep(20 * time.Minute)
				w.getReady("alpha")
				if got := w.bus.types(); !slices.Equal(got, []EventType{Woken, Failed, Ready}) {
					t.Errorf("published %v", got)
				}
			}, asleep(policy.BecauseIdle))
		})
	}
}

// How long a wake took does not depend on how long NATS was away.
func TestReadyWhileNATSIsAway(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.ping()
		time.Sleep(time.Second)
		w.bus.setAway(errors.New("NATS is away"))
		w.getReady("alpha")
		time.Sleep(10 * time.Minute)
		w.bus.setAway(nil)
		time.Sleep(publishBackoff)
		if e := w.last(Ready); e.Took != time.Second {
			t.Errorf("published %+v", e)
		}
	}, asleep(policy.BecauseIdle))
}

// The next leader tracks a scale that has some replicas ready.
func TestScaleAcrossLeaders(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.request(Command{Verb: Scale, Replicas: 3})
		w.nextLeader()
		time.Sleep(w.config.Rules.StartDeadline + time.Minute)
		w.lastIs(Failed)
	}, with(running(2), func(s *Server) { s.Ready, s.Updated, s.Total = 2, 2, 2 }))
}
