package scaler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"idle-scaler/policy"
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

// await returns when the server is as ready as the command asks for, when it is known that it won't be, or when nobody waits any more.
func (t *term) await(session context.Context, server *Server, c Command) (*Server, error) {
	ctx, cancel := context.WithTimeout(t.ctx, c.Wait)
	defer cancel()
	defer context.AfterFunc(session, cancel)()
	go func() { // who is gone is not waited for
		select {
		case <-c.Left:
			cancel()
		case <-ctx.Done():
		}
	}()

	if server.waits() {
		woken, err := t.s.watch(ctx, server.ID, func(now *Server) bool { return !now.waits() })
		switch {
		case t.ctx.Err() != nil || session.Err() != nil:
			return nil, errNotLeader
		case errors.Is(err, ErrUnknown):
			return nil, fmt.Errorf("%w: %s was deleted while its start was waiting", ErrUnknown, server.ID)
		case err != nil:
			return woken, fmt.Errorf("%w: %s waits for %s after %s: it wakes as soon as they are ready",
				ErrNotInTime, server.ID, strings.Join(t.waitingFor(woken), ", "), c.Wait)
		case woken.Replicas == 0:
			return woken, fmt.Errorf("%w: %s was stopped again by %s while its start was waiting: ask them, or start it again", ErrSuperseded, server.ID, woken.writer())
		}
		server = woken
	}
	enough := (*Server).ready
	if c.Verb == Scale {
		enough = (*Server).allReady
	}
	if now, ok := t.s.cache.Get(server.ID); ok && enough(now, server.Generation) {
		return now, nil
	}
	w := t.following(server)
	watched, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // a failure that is known ends the wait, unless the server turns out to be ready
		select {
		case <-w.failed:
		case <-watched.Done():
		}
		stop()
	}()
	now, err := t.s.watch(watched, server.ID, func(now *Server) bool {
		return now.Replicas == 0 && now.Generation > server.Generation || enough(now, server.Generation)
	})
	switch {
	case t.ctx.Err() != nil || session.Err() != nil:
		return nil, errNotLeader
	case errors.Is(err, ErrUnknown):
		return nil, fmt.Errorf("%w: %s was deleted while its start was waiting", ErrUnknown, server.ID)
	case err == nil && now.Replicas == 0:
		return now, fmt.Errorf("%w: %s was set to zero again by %s while its start was waiting: ask them, or start it again",
			ErrSuperseded, server.ID, now.writer())
	case err == nil:
		return now, nil
	case ctx.Err() == nil:
		return now, fmt.Errorf("%w: %s will not get ready: %s", ErrFailed, server.ID, w.why.Load())
	}
	select {
	case <-c.Left: // said all the same: it reaches who was taken for gone and is not
		return now, fmt.Errorf("%w: %s is not ready yet, and it looked as if nobody waited any more: it goes on starting; ask for its status", ErrNotInTime, server.ID)
	default:
	}
	because := ""
	if why := w.why.Load().(string); why != "" {
		because = " (" + why + ")"
	}
	return now, fmt.Errorf("%w: %s is not ready after %s%s: it goes on starting; ask for its status, or wait longer", ErrNotInTime, server.ID, c.Wait, because)
}

// watch returns the server as soon as it is as wanted. Errors: ErrUnknown when it is gone, or that of ctx, with the server as it is then.
func (s *Scaler) watch(ctx context.Context, id ID, wanted func(*Server) bool) (*Server, error) {
	changed, stop := s.cache.Watch(id)
	defer stop()
	for {
		server, ok := s.cache.Get(id)
		switch {
		case !ok:
			return nil, ErrUnknown
		case wanted(server):
			return server, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return server, ctx.Err()
		}
	}
}

// writer says who set the replicas.
func (s *Server) writer() string {
	if because := s.Mark.Because; s.Replicas == 0 && (because == policy.BecauseCommand || because == policy.BecauseHold) { // also of a zero that was somebody's before
		return "a command" + sender(s.Mark.Last)
	}
	if s.Ours {
		return "idle-scaler"
	}
	return zeroer(s.Writer)
}

// zeroer says whose field manager made a server zero. A Scale with zero replicas is like one without any: Kubernetes notes no owner.
func zeroer(manager string) string {
	if manager == "" {
		return "somebody whom Kubernetes does not name (so it is after kubectl scale)"
	}
	return policy.Writer(manager)
}
