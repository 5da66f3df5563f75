package scaler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"idle-scaler/policy"
)

// Applied is where a command has left a server, and what is waited for. A replica that waits for the server
// believes only what it sees of it in this version or a later one.
type Applied struct {
	Server     ID
	UID        string
	Generation int64
	Version    string
	All        bool          // a scale: all replicas are to be ready, not one
	Wait       time.Duration // how long the sender said to wait
}

// Wanted reports whether a server has replicas, or will have once those that it comes after are ready.
func (s *Server) Wanted() bool { return s.Replicas > 0 || s.waits() }

// Await waits on the cache of this replica, until a server that was started or scaled is as ready as the
// command asks for: it has a ready replica, or for a scale all of them. It returns the server as it is then.
// Errors: ErrFailed when it will not get ready, ErrSuperseded when it was stopped again, ErrUnknown when it was
// deleted, ErrNotInTime when ctx is done. Why says why it has not got ready since an instant, as far as the caller knows.
func (s *Scaler) Await(ctx context.Context, a Applied, why func(since time.Time) string) (*Server, error) {
	var seen *Server
	server, err := s.watch(ctx, a.Server, func(now *Server) bool {
		if now.UID != a.UID {
			return true
		}
		if !s.cache.Reached(a.Server, a.Version) {
			return false
		}
		seen = now
		switch {
		case now.waits():
			return false
		case now.Replicas == 0 || now.Mark.Failed != "" && (a.All || now.Ready == 0):
			return true
		case a.All:
			return now.allReady(a.Generation)
		}
		return now.ready(a.Generation)
	})
	switch {
	case errors.Is(err, ErrUnknown), err == nil && server.UID != a.UID:
		return nil, fmt.Errorf("%w: %s was deleted while its start was waiting", ErrUnknown, a.Server)
	case err == nil && server.Replicas == 0:
		return server, fmt.Errorf("%w: %s was set to zero again by %s while its start was waiting: ask them, or start it again",
			ErrSuperseded, a.Server, server.writer())
	case err == nil && server.Mark.Failed != "" && (a.All || server.Ready == 0):
		return server, fmt.Errorf("%w: %s will not get ready: %s", ErrFailed, a.Server, server.Mark.Failed)
	case err == nil:
		return server, nil
	case seen != nil && seen.waits():
		facts := s.facts(seen, s.now())
		return seen, fmt.Errorf("%w: %s waits for %s: it wakes as soon as they are ready",
			ErrNotInTime, a.Server, strings.Join(facts.Group.Waiting, ", "))
	}
	because := ""
	if text := why(server.Mark.Awake); text != "" {
		because = " (" + text + ")"
	}
	return server, fmt.Errorf("%w: %s is not ready after %s%s: it goes on starting; ask for its status, or wait longer",
		ErrNotInTime, a.Server, a.Wait, because)
}

// watch returns the server as soon as it is as wanted. Errors: ErrUnknown when it is gone, or that of ctx, with
// the server as it is then.
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
	because := s.Mark.Because
	if s.Replicas == 0 && (because == policy.BecauseCommand || because == policy.BecauseHold) { // also of a zero that was somebody's before
		return "a command" + sender(s.Mark.Last)
	}
	if s.Ours {
		return "idle-scaler"
	}
	return zeroer(s.Writer)
}

// zeroer says whose field manager made a server zero. A Scale with zero replicas is like one without any:
// Kubernetes notes no owner.
func zeroer(manager string) string {
	if manager == "" {
		return "somebody whom Kubernetes does not name (so it is after kubectl scale)"
	}
	return policy.Writer(manager)
}
