package scaler

import (
	"errors"
	"fmt"
	"time"
)

// rejection is the end of a command that was not applied.
type rejection struct {
	event string // its ID
	err   error
}

// maxRejected bounds the servers of which the last rejection is kept.
const maxRejected = 10_000

// late returns ErrExpired for a command past its limits, unless it was applied in time. Before it
// gives up it measures the clock again, which may have been corrected a moment ago. Once for each
// server and term it also reads the server, because a former leader may have applied the command.
func (t *term) late(st *state, c *pending) error {
	if c.tries.sent || t.expired(c.Command) == nil {
		return nil
	}
	server, exists := t.s.cache.Get(c.Server)
	if exists && c.appliedTo(server) {
		return nil
	}
	_ = t.s.log.Prove(t.ctx) // without an answer the last measurement of the clock counts
	late := t.expired(c.Command)
	if late == nil || !exists || st.fresh {
		return late
	}
	if c.tries.began.IsZero() {
		c.tries.began = t.s.now()
	}
	server, err := t.s.fresh(t.ctx, c.Server)
	st.fresh = err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrUnmanaged)
	switch {
	case err == nil && c.appliedTo(server):
		return nil
	case st.fresh:
		return late
	case c.tries.over(t.s.now(), t.s.config.RetryFor) || !transient(err):
		//nolint:errorlint // this error does not make it worth another try
		return fmt.Errorf("%w; whether it was applied in time can't be found out: %v", late, err)
	}
	return err
}

// expired returns ErrExpired for a command past its limits, by the clock as it was measured last.
func (t *term) expired(c Command) error {
	now, limit := t.s.now(), t.s.config.CommandMaxAge
	if age := now.Sub(c.Taken); age > limit {
		return fmt.Errorf("%w: the command is %s old, the limit is %s: send it again if it is still wanted",
			ErrExpired, age.Round(time.Second), limit)
	}
	if !c.Deadline.IsZero() && now.After(c.Deadline) {
		return fmt.Errorf("%w: its deadline was %s: send it again if it is still wanted",
			ErrExpired, c.Deadline.UTC().Format(time.RFC3339))
	}
	return nil
}

// reject publishes that a command was not applied, and finishes it. If the term ends before the
// stream has the event, the command comes again to the next leader: otherwise nobody would ever
// learn of it.
func (t *term) reject(st *state, c *pending, err error, p priority) result {
	e := c.event(t.s.now())
	e.ID, e.Type, e.Server, e.Text = rejectionID(c.Command), Rejected, c.Server, err.Error()
	if errors.Is(err, ErrExpired) {
		e.Type = Expired
	}
	if server, ok := t.s.cache.Get(c.Server); ok {
		e.From, e.To = server.Replicas, server.Replicas
	}
	c.wrong = err // also after the next try to publish it
	if t.publish(st, e) != nil {
		return retry(publishBackoff, byCommand)
	}
	t.mu.Lock()
	if len(t.rejected) >= maxRejected { // by commands for servers that never were
		clear(t.rejected)
	}
	t.rejected[c.Server] = rejection{e.ID, err}
	t.mu.Unlock()
	return t.end(st, c, Outcome{Err: err, Event: e}, p)
}

// rejectedBefore returns why a command was rejected, nil if that was not published. This outlives
// the state of the server, because the server may not be there.
func (t *term) rejectedBefore(c Command) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	event := rejectionID(c)
	if r := t.rejected[c.Server]; r.event == event {
		return r.err
	}
	if t.former.events[event] {
		return fmt.Errorf("%w: it was rejected before; its event says why", ErrSuperseded)
	}
	return nil
}

func rejectionID(c Command) string {
	return fmt.Sprintf("command-%d@%d", c.Stamp.Sequence, c.Stamp.Time.UnixNano())
}
