package scaler

import (
	"errors"
	"fmt"
	"time"
)

// appearsWithin is how long a command waits for its Deployment, which may come after it.
const appearsWithin = 30 * time.Second

// reconcileCommand does what is next for the oldest command of a server. If the command was applied
// before, by this process or by a former leader, that is what may be left to do.
func (t *term) reconcileCommand(st *state, c *pending, p priority) result {
	if !c.applied {
		if !t.leads() { // the lease is late: it is renewed in a moment, or the term ends
			return retry(commandBackoff, byCommand)
		}
		if err := t.rejectedBefore(c.Command); err != nil { // its acknowledgement got lost
			return t.end(st, c, Outcome{Err: err}, p)
		}
		switch err := t.apply(st, c); {
		case err != nil && t.ending.Err() != nil, errors.Is(err, errNotLeader):
			return retry(commandBackoff, byCommand)
		case errors.Is(err, errAbsent):
			return requeueAt(t.appears(c), byCommand)
		case err != nil && transient(err) && !c.tries.over(t.s.now(), t.s.config.RetryFor):
			return retry(backoffAfter(err), byCommand)
		case errors.Is(err, errOutdated): // it was finished before, and its acknowledgement got lost
			return t.end(st, c, Outcome{Err: err}, p)
		case err != nil:
			return t.reject(st, c, err, p)
		}
		c.applied = true
	}
	if c.Verb == Stop && c.Force {
		if r, done := t.kill(c); !done {
			return r
		}
	}
	if err := t.publish(st, c.outcome.Event); err != nil {
		return retry(publishBackoff, byCommand)
	}
	if err := c.outcome.Err; err != nil {
		t.s.logger.Warn("a command was applied, but not all of it was done",
			"server", c.Server.String(), "command", c.ID, "err", err)
	}
	return t.end(st, c, c.outcome, p)
}

// apply tries once to apply a command. Its outcome says what it did.
func (t *term) apply(st *state, c *pending) error {
	s := t.s
	if c.wrong != nil {
		return c.wrong
	}
	if err := t.late(st, c); err != nil {
		return err
	}
	if err := s.checkValues(c.Command); err != nil {
		return err
	}
	if c.Verb == Start && !c.counted {
		c.counted = true
		s.meter.Wake("queued", s.now().Sub(c.Taken))
	}
	server, e, err := t.try(st, c.Server, &c.tries, func(server *Server) (Change, error) {
		return t.planCommand(server, c.Command)
	})
	switch {
	case errors.Is(err, ErrUnknown) && !c.tries.sent && s.now().Before(t.appears(c)):
		c.tries = tries{} // the Deployment is not there yet; one that vanished after a write is not waited for
		return errAbsent
	case transient(err) && !errors.Is(err, errNotLeader) && c.tries.over(s.now(), s.config.RetryFor):
		return t.lookOnceMore(c, err)
	case err != nil:
		return err
	}
	if e.ID == "" { // applied before
		e = server.Mark.Last
	}
	c.outcome = Outcome{Server: server, Event: e}
	if server.Replicas > 0 && e.Type == Woken {
		t.trackWake(st, server, e.At)
	}
	if server.Replicas > 0 && (c.Verb == Start || c.Verb == Scale) {
		t.trackOrder(st, server, c.Verb == Scale)
	}
	return nil
}

// lookOnceMore reads the server before it is published that a command was not applied, because the
// answer to its last write may have got lost.
func (t *term) lookOnceMore(c *pending, err error) error {
	server, unread := t.s.fresh(t.ctx, c.Server)
	if unread == nil && c.tries.wrote(server.Mark.Last) {
		c.outcome = Outcome{Server: server, Event: server.Mark.Last}
		return nil
	}
	return fmt.Errorf("%w (tried for %s)", err, t.s.config.RetryFor)
}

// appears returns until when a command waits for its Deployment. Time in which nobody led does not
// count.
func (t *term) appears(c *pending) time.Time {
	return latestOf(c.Taken, t.began).Add(appearsWithin)
}
