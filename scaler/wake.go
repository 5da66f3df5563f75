package scaler

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// wake is a server on its way from zero to ready, or one that is awake already and waited for. One goroutine follows it; those who wait for
// the server listen.
type wake struct {
	woken  bool // else it was awake already: how long that takes is measured of wakes only
	stop   context.CancelFunc
	failed chan struct{} // closed when it is known that waiting does not help
	why    atomic.Value  // of string: why it is not ready, as far as is known
}

// follow follows a server that was just woken on its way to ready. Began is when it was woken.
func (t *term) follow(server *Server, began time.Time) {
	t.accompanied(&wake{woken: true}, server, began)
}

// accompanied begins to follow a server.
func (t *term) accompanied(w *wake, server *Server, began time.Time) *wake {
	t.mu.Lock()
	defer t.mu.Unlock()
	if former := t.wakes[server.ID]; former != nil {
		former.stop() // it was put to zero meanwhile
	}
	ctx, stop := context.WithDeadline(t.ctx, began.Add(t.s.config.Rules.StartDeadline))
	w.stop, w.failed = stop, make(chan struct{})
	w.why.Store("")
	t.wakes[server.ID] = w
	t.beside(server.ID, func() {
		defer stop()
		t.accompany(ctx, w, server, began)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.wakes[server.ID] == w {
			delete(t.wakes, server.ID)
		}
	})
	return w
}

// following returns the wake that is under way, or begins to follow the server now.
func (t *term) following(server *Server) *wake {
	t.mu.Lock()
	w := t.wakes[server.ID]
	t.mu.Unlock()
	if w != nil {
		return w
	}
	return t.accompanied(&wake{}, server, t.s.tracker.Unstamp(startingAt(server)))
}

// startingAt is when the server began what may be a start, by our clock.
func (s *Scaler) startingAt(server *Server) time.Time { return s.tracker.Local(startingAt(server)) }

// refusalLasts is how long the cluster's refusal to make pods has to be seen to be believed: it is also told of the time before a wake, and
// with the count of pods from before some of them were made, until the status is written again.
const refusalLasts = time.Second

// accompany tells why the server is not ready, that it is, or that it will not be. It ends when all replicas are ready.
func (t *term) accompany(ctx context.Context, w *wake, server *Server, began time.Time) {
	s := t.s
	changed, stop := s.cache.Watch(server.ID)
	defer stop()
	diagnose := time.After(s.config.DiagnoseAfter)
	var diagnoses <-chan Diagnosis
	told := !w.woken && server.Ready > 0 // that it is ready: of who is so already it is no news
	slow := false                        // right after a wake a refusal may be of before it, or of some of the pods while others are on their way

	var lasting <-chan time.Time // from when a refusal is seen until it is believed
	believed := false
	event := func(kind EventType, text string) Event {
		return Event{
			ID: noticeID(server, kind, text), Type: kind, Server: server.ID, At: s.now(),
			From: server.Replicas, To: server.Replicas, Cause: server.Mark.Last.Cause,
			Actor: server.Mark.Last.Actor, Command: server.Mark.Last.Command, Text: text, Took: s.now().Sub(began),
		}
	}
	fail := func(text string) {
		w.why.Store(text)
		close(w.failed)
		if !told {
			t.run(server.ID, func() { t.recordFailure(server, event(Failed, text)) })
		}
	}
	for {
		now, ok := s.cache.Get(server.ID)
		if !ok || now.Replicas == 0 && now.Generation > server.Generation {
			return // gone, or put to zero again
		}
		if now.ready(server.Generation) && !told {
			told = true
			e := event(Ready, "")
			if w.woken {
				s.meter.Wake("ready", e.Took)
			}
			if !t.run(server.ID, func() { t.tell(e) }) { // after it was told that it is woken, which is in the lane
				t.tell(e)
			}
		}
		if now.allReady(server.Generation) {
			return
		}
		switch refused := now.Refused; {
		case refused == nil || !slow || !told && now.Total > 0:
			lasting, believed = nil, false
		case believed:
			fail(fmt.Sprintf("%s: %s", refused.Reason, refused.Message))
			return
		case lasting == nil:
			lasting = time.After(refusalLasts)
		}
		select {
		case <-changed:
		case <-diagnose:
			slow, diagnoses = true, s.pods.Diagnose(ctx, server)
		case <-lasting:
			believed = true
		case d, ok := <-diagnoses:
			if !ok {
				diagnoses = nil
				continue
			}
			text := fmt.Sprintf("%s: %s", d.Reason, d.Text)
			if d.Fatal {
				fail(text)
				return
			}
			w.why.Store(text)
			if !told {
				t.tell(event(Progress, text))
			}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				fail(fmt.Sprintf("not ready within %s", s.config.Rules.StartDeadline))
			}
			return
		}
	}
}

// recordFailure writes on the Deployment why it will not get ready, so that every replica can say so, and tells it.
func (t *term) recordFailure(server *Server, e Event) {
	_, written, err := t.apply(server.ID, time.Time{}, func(now *Server) (Change, error) {
		if now.Replicas == 0 || now.Ready > 0 || !now.Mark.Awake.Equal(server.Mark.Awake) {
			return Change{}, nil // that wake is over
		}
		if now.Mark.Failed == e.Text {
			return Change{}, nil // a former leader has found that out, or an earlier wait
		}
		mark := now.Mark
		mark.Failed = e.Text
		e.At = t.s.now()
		return Change{Replicas: now.Replicas, Mark: mark, Event: e}, nil
	})
	if err != nil {
		t.s.logger.Warn("cannot record why a server does not get ready", "server", server.ID.String(), "text", e.Text, "err", err)
	} else if written.ID != "" {
		t.tell(written)
	}
}

// ready reports whether some replica is ready and the counts are at least as new as the generation.
func (s *Server) ready(generation int64) bool { return s.Observed >= generation && s.Ready > 0 }

func (s *Server) allReady(generation int64) bool {
	return s.Observed >= generation && s.Ready >= s.Replicas && s.Updated >= s.Replicas
}
