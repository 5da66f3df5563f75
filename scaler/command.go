package scaler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// Verb is what a command asks for.
type Verb string

// The verbs.
const (
	Start   Verb = "start"
	Stop    Verb = "stop"
	Scale   Verb = "scale"
	Hold    Verb = "hold"
	Release Verb = "release"
)

// Command is one order from the bus.
type Command struct {
	Stamp    activity.Stamp // its place in the command stream: its identity, and its order among all commands
	Taken    time.Time      // when the stream took it
	Verb     Verb
	Server   ID
	Replicas int           // of a scale
	Force    bool          // of a stop: end the pods at once
	Asleep   bool          // of a hold: asleep, not awake
	Until    string        // of a hold: until when, as policy.ParseUntil reads it
	Wait     time.Duration // how long the replica that took the request waits; the leader only checks it
	Deadline time.Time     // it expires at this instant; zero: only by its age
	ID       string        // its sender's name for it, may be empty
	Actor    string        // who sent it, as it says itself
	Reason   string        // why, in the words of the actor
}

// Outcome is the end of a command.
type Outcome struct {
	Err    error   // nil when it was applied
	Server *Server // as it was then; nil when there is none
	Event  Event   // what it did
}

// Check returns the server of a command, or why the command can't be applied to it. Any replica
// asks before it puts a request on the command stream, and the leader asks again. Only a server
// that is not in memory costs a request to the API server. Errors: ErrInvalid, ErrOutOfRange,
// ErrSuperseded, and those of Status.
func (s *Scaler) Check(ctx context.Context, c Command) (*Server, error) {
	if err := s.checkValues(c); err != nil {
		return nil, err
	}
	server, err := s.lookUp(ctx, c.Server)
	if err != nil {
		return nil, err
	}
	if err := checkOrder(c, server); err != nil || c.Verb != Hold {
		return server, err
	}
	_, err = c.until(server, s.now())
	return server, err
}

// checkValues checks what a command says, whatever its server is.
func (s *Scaler) checkValues(c Command) error {
	if !slices.Contains([]Verb{Start, Stop, Scale, Hold, Release}, c.Verb) {
		return fmt.Errorf("%w: unknown verb %q: use start, stop, scale, hold or release", ErrInvalid, c.Verb)
	}
	if c.Wait < 0 {
		return fmt.Errorf(`%w: wait %s is negative: write how long to wait, like "60s"`, ErrInvalid, c.Wait)
	}
	if c.Wait > s.config.MaxWait {
		return fmt.Errorf("%w: wait %s is above the limit: ask for at most %s", ErrOutOfRange, c.Wait, s.config.MaxWait)
	}
	if c.Verb == Scale && c.Replicas < 0 {
		return fmt.Errorf("%w: replicas %d: ask for 0 or more", ErrOutOfRange, c.Replicas)
	}
	return nil
}

// checkOrder checks whether the server allows what a command asks for.
func checkOrder(c Command, server *Server) error {
	if most := server.Settings.MaxReplicas; c.Verb == Scale && c.Replicas > most {
		return fmt.Errorf("%w: replicas %d is above the limit of %s: ask for at most %d, "+
			"or raise its annotation idle-scaler/max-replicas", ErrOutOfRange, c.Replicas, server.ID, most)
	}
	if c.sleeps() && server.Rival != "" {
		return fmt.Errorf("%w: %s is scaled by %s, which would undo it: %s",
			ErrSuperseded, server.ID, server.Rival, explain.Advice(server.Rival))
	}
	return nil
}

// sleeps reports whether the command asks for zero replicas.
func (c Command) sleeps() bool {
	return c.Verb == Stop || c.Verb == Scale && c.Replicas == 0 || c.Verb == Hold && c.Asleep
}

// event returns the event that the command caused, without what it did.
func (c Command) event(now time.Time) Event {
	return Event{At: now, Cause: policy.CauseCommand, Actor: c.Actor, Command: c.ID, Reason: c.Reason}
}

// appliedTo reports whether the command, or a newer one, was applied to the server. Then it comes
// again only because its acknowledgement got lost, and did not come too late.
func (c Command) appliedTo(server *Server) bool {
	done := server.Mark.Done.Stamp
	return c.Stamp.Equal(done) || c.Stamp.OlderThan(done)
}
