package scaler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"idle-scaler/policy"
)

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
		woken, err := t.awaitTurn(ctx, session, server, c)
		if err != nil {
			return woken, err
		}
		server = woken
	}
	return t.awaitReady(ctx, session, server, c)
}

// awaitTurn returns the server when those that it comes after are ready, so that it is woken.
func (t *term) awaitTurn(ctx, session context.Context, server *Server, c Command) (*Server, error) {
	woken, err := t.s.watch(ctx, server.ID, func(now *Server) bool { return !now.waits() })
	if over := t.over(session, server.ID, err); over != nil {
		return nil, over
	}
	switch {
	case err != nil:
		return woken, fmt.Errorf("%w: %s waits for %s after %s: it wakes as soon as they are ready",
			ErrNotInTime, server.ID, strings.Join(t.waitingFor(woken), ", "), c.Wait)
	case woken.Replicas == 0:
		return woken, fmt.Errorf("%w: %s was stopped again by %s while its start was waiting: ask them, or start it again",
			ErrSuperseded, server.ID, woken.writer())
	}
	return woken, nil
}

func (t *term) awaitReady(ctx, session context.Context, server *Server, c Command) (*Server, error) {
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
	if over := t.over(session, server.ID, err); over != nil {
		return nil, over
	}
	switch {
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

// over says why there is nothing left to wait for, whatever the server is like: the term or the session has ended, or the server is gone.
func (t *term) over(session context.Context, id ID, err error) error {
	switch {
	case t.ctx.Err() != nil || session.Err() != nil:
		return errNotLeader
	case errors.Is(err, ErrUnknown):
		return fmt.Errorf("%w: %s was deleted while its start was waiting", ErrUnknown, id)
	}
	return nil
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
