package bus

import (
	"fmt"
	"time"

	"idle-scaler/activity"
	"idle-scaler/scaler"
)

// What the headers of a command say. Reply is where to answer, Deadline until when it may be applied.
const (
	replyHeader    = "Idle-Scaler-Reply"
	deadlineHeader = "Idle-Scaler-Deadline"
)

// defaultWait is how long a request for a start waits when it does not say.
const defaultWait = 60 * time.Second

// The longest texts that a command may carry: they end up in annotations, of which a Deployment holds 256 KiB.
const (
	maxCommandID = 128
	maxActor     = 256
	maxReason    = 1024
	maxUntil     = 64
)

// parseCommand reads a command from its subject and payload. Requested says that somebody waits for the answer. What can be
// wrong only in view of the server, and the limits of the configuration, is left to the domain. On error the command
// holds what could be read, to tell it.
func (s Subjects) parseCommand(subject string, payload []byte, requested bool) (scaler.Command, error) {
	verb, id, err := s.ParseCommand(subject)
	c := scaler.Command{Verb: verb, Server: id}
	if err != nil {
		return c, err
	}
	err = readOrder(&c, payload, requested)
	return c, err
}

// readOrder reads the payload of a command. Each verb has only the fields that mean something to it.
func readOrder(c *scaler.Command, payload []byte, requested bool) error {
	var awake, asleep string
	to := fields{"id": &c.ID, "actor": &c.Actor, "reason": &c.Reason}
	switch c.Verb {
	case scaler.Start:
		to["wait"] = &c.Wait
	case scaler.Scale:
		to["wait"], to["replicas"] = &c.Wait, &c.Replicas
	case scaler.Stop:
		to["force"] = &c.Force
	case scaler.Hold:
		to["awake_until"], to["asleep_until"] = &awake, &asleep
	}
	has, err := decode(payload, to)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Verb, err)
	}
	if c.Verb == scaler.Scale && !has["replicas"] {
		return invalid(`scale: no replicas: write how many, like {"replicas":3}`)
	}
	if c.Verb == scaler.Hold {
		if has["awake_until"] == has["asleep_until"] {
			return invalid(`hold: write either {"awake_until":"18:00"} or {"asleep_until":"2h"}`)
		}
		c.Asleep, c.Until = has["asleep_until"], awake+asleep
	}
	if c.Verb == scaler.Start && requested && !has["wait"] {
		c.Wait = defaultWait
	}
	return checkTexts(string(c.Verb), []freeText{
		{"id", &c.ID, maxCommandID}, {"actor", &c.Actor, maxActor}, {"reason", &c.Reason, maxReason}, {"until", &c.Until, maxUntil},
	})
}

// freeText is what a sender may write as it likes, up to a length.
type freeText struct {
	field string
	value *string
	most  int
}

// checkTexts says which text is too long, if one is, and shortens it: it is told with the error.
func checkTexts(verb string, texts []freeText) (err error) {
	for _, t := range texts {
		if n := len(*t.value); n > t.most {
			*t.value = shorten(*t.value)
			err = invalid("%s: %s has %d bytes: write at most %d", verb, t.field, n, t.most)
		}
	}
	return err
}

// readDeadline reads the deadline of a command from its header, which need not be there: an instant, or how long after the stream has
// taken it. The latter needs no two clocks that agree.
func readDeadline(c *scaler.Command, header string, taken time.Time) error {
	if header == "" {
		return nil
	}
	if d, err := time.ParseDuration(header); err == nil {
		c.Deadline = taken.Add(d)
		return nil
	}
	deadline, err := time.Parse(time.RFC3339Nano, header)
	if err != nil {
		return invalid("header %s %q: write an instant like %q, or how long it may wait, like %q", deadlineHeader, shorten(header), "2026-01-02T15:04:05Z", "30s")
	}
	c.Deadline = deadline
	return nil
}

// maxTTL is the longest lease.
const maxTTL = 24 * time.Hour

// readTTL reads the payload of a lease.
func readTTL(payload []byte) (time.Duration, error) {
	var ttl time.Duration
	has, err := decode(payload, fields{"ttl": &ttl})
	if err != nil {
		return 0, err
	}
	if !has["ttl"] {
		return 0, invalid(`no ttl: write how long the server is in use, like {"ttl":"5m"}, or {"ttl":"0s"} to end the lease`)
	}
	return ttl, CheckTTL(ttl)
}

// CheckTTL says whether a lease can last so long; zero ends it.
func CheckTTL(ttl time.Duration) error {
	if ttl < 0 {
		return invalid(`ttl %s is negative: write "0s" to end the lease`, ttl)
	}
	if ttl > maxTTL {
		return fmt.Errorf("%w: ttl %s: write at most %s, and renew the lease in time", scaler.ErrOutOfRange, ttl, maxTTL)
	}
	return nil
}

// stamp is the place of a command in its stream.
func (p place) stamp() activity.Stamp { return activity.Stamp{Sequence: p.stream, Time: p.at} }
