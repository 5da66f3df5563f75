package wire

import (
	"fmt"
	"time"
)

// DeadlineHeader of a command says until when it may be applied: an instant, or how long after the
// stream took it. The latter works even if two clocks differ.
const DeadlineHeader = "Idle-Scaler-Deadline"

// AppliedWithin is the least time in which a command that somebody waits for may still be applied.
const AppliedWithin = 30 * time.Second

// defaultWait is how long a requested start waits by default.
const defaultWait = 60 * time.Second

// The longest texts in bytes that a command may carry. They end up in annotations, which share 256
// KiB.
const (
	maxCommandID = 128
	maxActor     = 256
	maxReason    = 1024
	maxUntil     = 64
)

// Sender says who sends a command, and why. All fields are optional.
type Sender struct {
	ID     string `json:"id,omitempty"`     // the sender's name for this command
	Actor  string `json:"actor,omitempty"`  // who asks, as it says itself
	Reason string `json:"reason,omitempty"` // why, in the words of the actor
}

// Command is one order about one server.
type Command struct {
	Verb   Verb
	Server ID
	Sender
	Replicas int           // of a scale
	Force    bool          // of a stop: end the pods at once
	Asleep   bool          // of a hold: asleep, not awake
	Until    string        // of a hold: a duration, a time of the day or an instant
	Wait     time.Duration // of a start or scale: how long to wait for ready replicas; 0: not at all
}

func (s *Sender) fields() fields {
	return fields{
		"id": text{&s.ID, maxCommandID}, "actor": text{&s.Actor, maxActor}, "reason": text{&s.Reason, maxReason},
	}
}

// ReadCommand reads a command from its subject and payload. Requested means that somebody waits for
// the answer. The domain checks whatever depends on the server or the configuration. On error the
// command holds as much as could be read, for the event that rejects it.
func (s Subjects) ReadCommand(subject string, payload []byte, requested bool) (Command, error) {
	verb, id, err := s.ParseCommand(subject)
	c := Command{Verb: verb, Server: id}
	if err == nil {
		err = c.read(payload, requested)
	}
	return c, err
}

// read reads the payload. Each verb has only the fields that mean something to it.
func (c *Command) read(payload []byte, requested bool) error {
	var awake, asleep string
	to := c.Sender.fields()
	switch c.Verb {
	case VerbStart:
		to["wait"] = &c.Wait
	case VerbScale:
		to["wait"], to["replicas"] = &c.Wait, &c.Replicas
	case VerbStop:
		to["force"] = &c.Force
	case VerbHold:
		to["awake_until"], to["asleep_until"] = text{&awake, maxUntil}, text{&asleep, maxUntil}
	}
	has, err := decode(payload, to)
	c.Asleep, c.Until = has["asleep_until"], awake+asleep
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", c.Verb, err)
	case c.Verb == VerbScale && !has["replicas"]:
		return invalid(`scale: no replicas: write how many, like {"replicas":3}`)
	case c.Verb == VerbHold && has["awake_until"] == has["asleep_until"]:
		return invalid(`hold: write either {"awake_until":"18:00"} or {"asleep_until":"2h"}`)
	case c.Verb == VerbStart && requested && !has["wait"]:
		c.Wait = defaultWait
	}
	return nil
}

// ReadDeadline reads a DeadlineHeader. An empty one is the zero time. Taken is when the stream took
// the command.
func ReadDeadline(header string, taken time.Time) (time.Time, error) {
	if header == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(header); err == nil {
		return taken.Add(d), nil
	}
	deadline, err := time.Parse(time.RFC3339Nano, header)
	if err != nil {
		return time.Time{}, invalid("header %s %q: write an instant like %q, or how long it may wait, like %q",
			DeadlineHeader, Shorten(header), "2026-01-02T15:04:05Z", "30s")
	}
	return deadline, nil
}
