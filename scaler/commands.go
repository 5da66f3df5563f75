package scaler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// pending is a command that waits for its turn, or is being applied.
type pending struct {
	Command
	session context.Context // once it is done, the command comes again by another one
	finish  func(Outcome)
	wrong   error // why it is not even tried
	absent  bool  // it counts among those that wait for a Deployment that is not there

	counted bool // how long it was queued
	tries   tries
	applied bool      // what follows is still to be done
	outcome Outcome   // once it is applied
	killing time.Time // since when its pods are to be ended
}

// MaxInHand is how many commands may be in hand: what the stream may hand out before one is finished.
const MaxInHand = 4096

const (
	appearsWithin = 30 * time.Second // how long a command waits for its Deployment, which may come after it
	maxAbsent     = 512              // how many commands may wait so: they leave places to the others
	maxRejected   = 10_000           // of how many servers it is remembered which command was rejected
)

// Submit takes a command of the stream: it is applied after those submitted before it for the same server.
// Finish is called once, when nothing is left to do for it, unless ctx or the term of leadership ends before:
// then whoever leads next gets it again, and does not apply it twice.
func (s *Scaler) Submit(ctx context.Context, c Command, finish func(Outcome)) {
	if t := s.leading(); t != nil {
		t.submit(&pending{Command: c, session: ctx, finish: finish})
	}
}

// Reject says that a command of the stream makes no sense.
func (s *Scaler) Reject(c Command, err error, finish func(Outcome)) {
	if t := s.leading(); t != nil {
		t.submit(&pending{Command: c, session: t.ctx, finish: finish, wrong: err})
	}
}

func (t *term) submit(c *pending) {
	id := c.Server
	_, there := t.s.cache.Get(id)
	t.state(id) // so that what former leaders have done is known
	t.mu.Lock()
	st := t.states[id]
	if st == nil { // it is gone, and a pass has just forgotten it
		st = new(state)
		t.states[id] = st
	}
	if !there && c.wrong == nil {
		if c.absent = t.absent.Take(id.Namespace); !c.absent {
			c.wrong = fmt.Errorf("%w: there is no Deployment %s, and too many commands of its namespace wait already for some that are not there: "+
				"send it again when there is", ErrUnknown, id)
		}
	}
	st.commands = append(st.commands, c)
	t.mu.Unlock()
	t.queue.add(id, byCommand)
}

// oldest returns the command whose turn it is, nil if none waits. One that is only to be rejected waits for no
// other. Those of a session that has ended are dropped: a newer session has them, and must not find older
// commands applied after its own.
func (t *term) oldest(st *state) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := 0; i < len(st.commands); {
		if c := st.commands[i]; !c.applied && c.session.Err() != nil {
			t.drop(st, c)
			continue
		}
		i++
	}
	if len(st.commands) == 0 {
		return nil
	}
	if i := slices.IndexFunc(st.commands, func(c *pending) bool { return c.wrong != nil }); i >= 0 {
		return st.commands[i]
	}
	return st.commands[0]
}

// drop takes a command away. The caller holds mu.
func (t *term) drop(st *state, c *pending) {
	if c.absent {
		t.absent.Return(c.Server.Namespace)
	}
	i := slices.Index(st.commands, c)
	st.commands = slices.Delete(st.commands, i, i+1)
}

// end finishes a command. The next pass does the next command, or says when something is due.
func (t *term) end(st *state, c *pending, o Outcome, p priority) result {
	t.mu.Lock()
	t.drop(st, c)
	t.mu.Unlock()
	c.finish(o)
	return requeue(p)
}

// reconcileCommand does the next thing that there is to do for the oldest command of a server. When it was
// applied before, by this process or by a former leader, it does what may be left.
func (t *term) reconcileCommand(st *state, c *pending, p priority) result {
	st.current = c
	if !c.applied {
		if !t.leads() { // the lease is late: it is renewed in a moment, or the term ends
			return retry(commandBackoff, byCommand)
		}
		if err := t.rejectedBefore(c.Command); err != nil { // it comes again because its acknowledgement got lost
			return t.end(st, c, Outcome{Err: err}, p)
		}
		switch err := t.apply(st, c); {
		case err != nil && t.asked.Err() != nil, errors.Is(err, errNotLeader):
			return retry(commandBackoff, byCommand)
		case errors.Is(err, errWaits):
			return requeueAt(t.appears(c), byCommand)
		case err != nil && passing(err) && !c.tries.over(t.s.now(), t.s.config.RetryFor):
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
		t.s.logger.Warn("a command was applied, but not all of it was done", "server", c.Server.String(), "command", c.ID, "err", err)
	}
	return t.end(st, c, c.outcome, p)
}

// apply tries once to apply a command, and says in its outcome what it did.
func (t *term) apply(st *state, c *pending) error {
	s := t.s
	if c.wrong != nil {
		return c.wrong
	}
	if err := t.tooLate(st, c); err != nil {
		return err
	}
	if err := s.checkValues(c.Command); err != nil {
		return err
	}
	if c.Verb == Start && !c.counted {
		c.counted = true
		s.meter.Wake("queued", s.age(c.Command))
	}
	server, e, err := t.try(c.Server, &c.tries, func(server *Server) (Change, error) { return t.plan(server, c.Command) })
	switch {
	case errors.Is(err, ErrUnknown) && !c.tries.sent && s.now().Before(t.appears(c)):
		c.tries = tries{} // it is not there yet; one that vanished under our hands is not waited for
		return errWaits
	case passing(err) && !errors.Is(err, errNotLeader) && c.tries.over(s.now(), s.config.RetryFor):
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

// lookOnceMore reads a server before it is published that its command was not applied: the answer to the last
// write may have got lost.
func (t *term) lookOnceMore(c *pending, err error) error {
	server, unread := t.s.fresh(t.ctx, c.Server)
	if unread == nil && c.tries.wrote(server.Mark.Last) {
		c.outcome = Outcome{Server: server, Event: server.Mark.Last}
		return nil
	}
	return fmt.Errorf("%w (tried for %s)", err, t.s.config.RetryFor)
}

// appears is until when a command waits for its Deployment. The time in which nobody led does not count.
func (t *term) appears(c *pending) time.Time {
	return latest(c.Taken, t.began).Add(appearsWithin)
}

func backoffAfter(err error) time.Duration {
	if errors.Is(err, ErrConflict) {
		return contestBackoff
	}
	return commandBackoff
}

// tooLate returns an error if a command comes too late, unless it was applied before. Before it gives up it
// measures the clock again, which may have been corrected a moment ago; and once for each server and term it
// reads the server: a former leader may have applied the command.
func (t *term) tooLate(st *state, c *pending) error {
	if c.tries.sent || t.expired(c.Command) == nil {
		return nil
	}
	server, ok := t.s.cache.Get(c.Server)
	if ok && c.appliedTo(server) {
		return nil
	}
	_ = t.s.log.Prove(t.ctx) // without an answer the last measurement counts
	late := t.expired(c.Command)
	if late == nil || !ok || st.fresh {
		return late
	}
	if c.tries.began.IsZero() {
		c.tries.began = t.s.now()
	}
	server, err := t.s.fresh(t.ctx, c.Server)
	switch {
	case err == nil:
		st.fresh = true
		if c.appliedTo(server) {
			return nil
		}
		return late
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrUnmanaged):
		return late
	case c.tries.over(t.s.now(), t.s.config.RetryFor) || !passing(err):
		return fmt.Errorf("%w; whether it was applied in time can't be found out: %v", late, err) //nolint:errorlint // it is not tried again for that
	}
	return err
}

// age is how long ago the stream took a command.
func (s *Scaler) age(c Command) time.Duration { return s.now().Sub(c.Taken) }

func (t *term) expired(c Command) error {
	if age := t.s.age(c); age > t.s.config.CommandMaxAge {
		return fmt.Errorf("%w: the command is %s old, the limit is %s: send it again if it is still wanted",
			ErrExpired, age.Round(time.Second), t.s.config.CommandMaxAge)
	}
	if !c.Deadline.IsZero() && t.s.now().After(c.Deadline) {
		return fmt.Errorf("%w: its deadline was %s: send it again if it is still wanted", ErrExpired, c.Deadline.UTC().Format(time.RFC3339))
	}
	return nil
}

// appliedTo reports whether the command, or a newer one, was applied before: then it only comes again because
// its acknowledgement got lost, and did not come too late.
func (c Command) appliedTo(server *Server) bool {
	done := server.Mark.Done.Stamp
	return c.Stamp.Equal(done) || c.Stamp.OlderThan(done)
}

// reject publishes that a command was not applied, and finishes it. If the term ends before that is published,
// the command comes again to the next leader: otherwise nobody would ever learn of it.
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
	t.remember(c.Server, rejection{e.ID, err})
	return t.end(st, c, Outcome{Err: err, Event: e}, p)
}

// rejection is the end of a command that was not applied.
type rejection struct {
	event string // its ID
	err   error
}

// remember notes that the last command of a server was rejected. That outlives the server's state, because the
// server may not be there; of very many that never were it is forgotten.
func (t *term) remember(id ID, r rejection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rejected) >= maxRejected {
		clear(t.rejected)
	}
	t.rejected[id] = r
}

// rejectedBefore returns why a command was rejected, nil if that was not published.
func (t *term) rejectedBefore(c Command) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	event := rejectionID(c)
	if r := t.rejected[c.Server]; r.event == event {
		return r.err
	}
	if t.left.events[event] {
		return fmt.Errorf("%w: it was rejected before; its event says why", ErrSuperseded)
	}
	return nil
}

func rejectionID(c Command) string {
	return fmt.Sprintf("command-%d@%d", c.Stamp.Sequence, c.Stamp.Time.UnixNano())
}

// afterPanic rejects the command in whose pass the panic was. If it were left to come again, newer commands
// would overtake it, and it would panic again.
func (t *term) afterPanic(id ID) result {
	c := t.state(id).current
	if c == nil {
		return retry(commandBackoff, byChange)
	}
	c.applied, c.wrong = false, errPanic
	return retry(commandBackoff, byCommand)
}

// errWaits is that of a command whose Deployment is not there yet.
var errWaits = errors.New("its Deployment is not there yet")
