package scaler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// Applied is the state in which a command has left a server, and what a replica waits for. The
// replica believes only what it sees of the server in this version or a later one.
type Applied struct {
	Server  ID
	UID     string
	Version string
	All     bool          // a scale: all replicas are to be ready, not one
	Wait    time.Duration // how long the sender said to wait
}

// Await waits on the cache of this replica until a server that was started or scaled is as ready as
// the command asks for: it has a ready replica, or for a scale all of them. It returns the server
// as it is then. Why says why the server is not ready, as far as the caller knows. Errors:
// ErrFailed when it will not get ready, ErrSuperseded when it was stopped again, ErrUnknown when it
// was deleted, ErrNotInTime when ctx is done.
func (s *Scaler) Await(ctx context.Context, a Applied, why func(*Server) string) (*Server, error) {
	changed, stop := s.cache.Watch(a.Server)
	defer stop()
	for {
		server, reached := s.cache.Seen(a.Server, a.Version)
		if reached {
			switch over, err := a.over(server); {
			case errors.Is(err, ErrUnknown):
				return nil, err
			case over:
				return server, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return server, s.notInTime(a, server, reached, why)
		}
	}
}

// over reports whether there is nothing more to wait for.
func (a Applied) over(server *Server) (over bool, err error) {
	switch {
	case server == nil || server.UID != a.UID:
		return true, fmt.Errorf("%w: %s was deleted while its start was waiting", ErrUnknown, a.Server)
	case server.waitsForOthers():
		return false, nil
	case server.Replicas == 0:
		return true, fmt.Errorf("%w: %s was set to zero again %s while its start was waiting: ask them, or start it again",
			ErrSuperseded, a.Server, server.writer())
	case a.All && server.allReady(server.Generation), !a.All && server.ready(server.Generation):
		return true, nil
	case server.Mark.Failed != "" && (a.All || server.Ready == 0):
		return true, fmt.Errorf("%w: %s will not get ready: %s", ErrFailed, a.Server, server.Mark.Failed)
	}
	return false, nil
}

func (s *Scaler) notInTime(a Applied, server *Server, reached bool, why func(*Server) string) error {
	if server == nil || !reached {
		return fmt.Errorf("%w: this replica has not seen within %s what became of %s: ask for its status",
			ErrNotInTime, a.Wait, a.Server)
	}
	if server.waitsForOthers() {
		facts, _ := s.decider().decide(server)
		return fmt.Errorf("%w: %s waits for %s: it wakes as soon as they are ready",
			ErrNotInTime, a.Server, strings.Join(facts.Group.Waiting, ", "))
	}
	because := ""
	if text := why(server); text != "" {
		because = " (" + text + ")"
	}
	return fmt.Errorf("%w: %s is not ready after %s%s: it goes on starting; ask for its status, or wait longer",
		ErrNotInTime, a.Server, a.Wait, because)
}

// writer says who set the replicas, as in "by a command".
func (s *Server) writer() string {
	because := s.Mark.Because
	switch {
	case s.Replicas == 0 && (because == policy.BecauseCommand || because == policy.BecauseHold):
		return explain.Command(s.Mark.Last.Actor, s.Mark.Last.Reason) // also where somebody else made the zero
	case s.Ours:
		return "by idle-scaler"
	}
	return "by " + explain.Zeroer(s.Writer)
}
