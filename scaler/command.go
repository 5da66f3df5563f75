package scaler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"

	"idle-scaler/activity"
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
	Wait     time.Duration // how long the replica that took the request waits for the server; the leader only checks it
	Deadline time.Time     // not to be applied after this instant; zero: none but the age limit
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

// Check says whether a command can be applied, from what is in memory (and, for a server that is not there, from the
// API server). It is asked by any replica before a request is put on the command stream, and again by the leader.
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

// lookUp is find for requests: whoever asks for servers that are not there must not flood the API server.
func (s *Scaler) lookUp(ctx context.Context, id ID) (*Server, error) {
	if server, ok := s.cache.Get(id); ok {
		return server, nil
	}
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
		return s.find(ctx, id)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many requests to the API server are under way: try again in a moment", ErrUnsure)
	}
}

func (s *Scaler) checkValues(c Command) error {
	switch c.Verb {
	case Start, Stop, Scale, Hold, Release:
	default:
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

// checkOrder says whether a command asks for what this server may be.
func checkOrder(c Command, server *Server) error {
	if c.Verb == Scale && c.Replicas > server.Settings.MaxReplicas {
		return fmt.Errorf("%w: replicas %d is above the limit of %s: ask for at most %d, or raise its annotation idle-scaler/max-replicas",
			ErrOutOfRange, c.Replicas, server.ID, server.Settings.MaxReplicas)
	}
	if c.sleeps() && server.Rival != "" {
		return fmt.Errorf("%w: %s is scaled by %s, which would undo it: %s", ErrSuperseded, server.ID, server.Rival, explain.Advice(server.Rival))
	}
	return nil
}

// sleeps reports whether the command asks for zero replicas.
func (c Command) sleeps() bool {
	return c.Verb == Stop || c.Verb == Scale && c.Replicas == 0 || c.Verb == Hold && c.Asleep
}

// nearest is how many letters a suggested name may differ.
const nearest = 3

// suggest adds the names that the sender may have meant, nearest first. They are of the same namespace: who may ask about one must not be told
// what there is in others.
func (s *Scaler) suggest(id ID, err error) error {
	if !errors.Is(err, ErrUnknown) {
		return err
	}
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for server := range s.cache.All {
		if server.ID.Namespace != id.Namespace {
			continue
		}
		if d := levenshtein.ComputeDistance(id.Name, server.ID.Name); d <= nearest {
			near = append(near, candidate{server.ID.Name, d})
		}
	}
	if len(near) == 0 {
		return err
	}
	slices.SortFunc(near, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	names := make([]string, 0, 3)
	for _, c := range near[:min(len(near), 3)] {
		names = append(names, c.name)
	}
	return fmt.Errorf("%w; near it are: %s", err, strings.Join(names, ", "))
}
