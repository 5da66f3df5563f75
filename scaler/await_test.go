package scaler

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/policy"
)

// awaiting waits for alpha as a replica does whose cache may be older than the leader's answer.
func (w *world) awaiting(a Applied) <-chan error {
	a.Server, a.UID, a.Wait = alpha, "uid-alpha", time.Minute
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(w.t.Context(), a.Wait)
		defer cancel()
		_, err := w.Await(ctx, a, func(*Server) string { return "its image is pulled" })
		done <- err
	}()
	synctest.Wait()
	return done
}

// A replica whose cache is older than the leader's write waits until the cache is as new. Before
// that the cache would say that a woken server is ready, as it was before its sleep, or that
// somebody stopped it.
func TestAwaitBelievesNothingOlder(t *testing.T) {
	lead(t, func(w *world) {
		version, err := strconv.Atoi(w.alpha().Version)
		if err != nil {
			t.Fatal(err)
		}
		awaited := w.awaiting(Applied{Version: strconv.Itoa(version + 1)})
		if len(awaited) > 0 {
			t.Fatal("what was before counts")
		}
		w.change("alpha", func(*Server) {})
		if err := <-awaited; err != nil {
			t.Error(err)
		}
	}, running(3))
}

// A Deployment that was deleted and made again under the same name is another one: the started one
// is gone.
func TestAwaitOfAnotherDeployment(t *testing.T) {
	lead(t, func(w *world) {
		done := make(chan error, 1)
		go func() {
			_, err := w.Await(w.t.Context(), Applied{Server: alpha, UID: "uid-of-before", Version: "1"}, nil)
			done <- err
		}()
		if err := <-done; !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "was deleted") {
			t.Errorf("got %v", err)
		}
	}, running(3))
}

// A start is answered when one replica is ready, a scale when all are. Counts from before the
// command answer neither.
func TestAwaitOfAScale(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.change("alpha", func(s *Server) { s.Replicas = 3 })
		s := w.alpha()
		start := w.awaiting(Applied{Version: s.Version})
		scale := w.awaiting(Applied{Version: s.Version, All: true})
		if len(start)+len(scale) > 0 {
			t.Fatal("the counts of before count")
		}
		w.change("alpha", func(s *Server) { s.Observed, s.Ready, s.Updated, s.Total = s.Generation, 1, 3, 3 })
		if err := <-start; err != nil {
			t.Error(err)
		}
		if len(scale) > 0 {
			t.Error("the scale is answered when one of three is ready")
		}
		w.getReady("alpha")
		if err := <-scale; err != nil {
			t.Error(err)
		}
	}, running(2))
}

// A wait in vain ends with how long it was and the last known reason.
func TestAwaitInVain(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.change("alpha", func(s *Server) { s.Replicas, s.Ready = 3, 0 })
		err := <-w.awaiting(Applied{Version: w.alpha().Version})
		if want := "team-a/alpha is not ready after 1m0s (its image is pulled)"; !errors.Is(err, ErrNotInTime) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}, running(2))
}

// old is a cluster whose Deployments have the UID that a label says.
type old struct{ *fakeCluster }

func (o old) Seen(id ID, version string) (*Server, bool) {
	server, reached := o.fakeCluster.Seen(id, version)
	if server != nil {
		copied := *server
		copied.UID = copied.Labels["uid"]
		server = &copied
	}
	return server, reached
}

// A replica that has not seen yet that a Deployment was deleted, or made again, does not take the
// former one for it.
func TestAwaitOfADeploymentMadeAgain(t *testing.T) {
	for _, gone := range []bool{false, true} {
		lead(t, func(w *world) {
			w.cache = old{w.cluster}
			w.cluster.onChange = func(ID) {}
			version, err := strconv.Atoi(w.alpha().Version)
			if err != nil {
				t.Fatal(err)
			}
			s := *w.alpha()
			s.Labels = map[string]string{"uid": "new"}
			if gone {
				w.cluster.remove(alpha)
			}
			time.AfterFunc(50*time.Millisecond, func() { w.cluster.put(s) })
			_, err = w.Await(w.t.Context(),
				Applied{Server: alpha, UID: "new", Version: strconv.Itoa(version + 2), Wait: time.Minute}, nil)
			if gone && err != nil {
				t.Errorf("gone: %v", err)
			}
		}, with(running(2), func(s *Server) { s.Labels = map[string]string{"uid": "old"} }))
	}
}

// A start that waits for its group is ready by counts from after the wake, not by those from before
// the stop.
func TestAwaitOfAStartAfterOthers(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.change("api", func(s *Server) { s.Observed, s.Ready, s.Updated, s.Total = s.Generation, 1, 1, 1 })
		outcomes := w.request(Command{Verb: Start, Server: w.server("api").ID, Wait: 5 * time.Minute, Stamp: w.stamp()})
		w.getReady("db")
		w.expect("api", 3)
		synctest.Wait()
		if len(outcomes) > 0 {
			t.Errorf("answered %+v by the counts of before", <-outcomes)
		}
		w.getReady("api")
		if o := <-outcomes; o.Err != nil {
			t.Error(o.Err)
		}
	}, chain(asleep(policy.BecauseIdle))...)
}
