package scaler

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// pending is a command that waits for its turn, or is being applied.
type pending struct {
	Command
	session context.Context // once it is done, another session delivers the command again
	finish  func(Outcome)
	wrong   error // why it is not even tried
	absent  bool  // it counts among those that wait for a Deployment that is not there

	counted bool // how long it was queued
	tries   tries
	applied bool      // only what follows is still to be done
	outcome Outcome   // once it is applied
	killing time.Time // since when its pods are to be ended
}

// MaxInHand is how many commands may be in hand: what the stream may hand out before one is
// finished.
const MaxInHand = 4096

// maxAbsent bounds the commands that wait for a Deployment that is not there, so that others have
// places.
const maxAbsent = 512

// Submit takes a command of the stream. It is applied after those submitted before it for the same
// server. Finish is called once, when nothing is left to do for it. If ctx or the term of
// leadership ends before, finish is not called: the next leader gets the command again, and does
// not apply it twice.
func (s *Scaler) Submit(ctx context.Context, c Command, finish func(Outcome)) {
	if t := s.term.Load(); t != nil {
		t.submit(&pending{Command: c, session: ctx, finish: finish})
	}
}

// Reject takes a command of the stream that makes no sense, and publishes that. Finish is as for
// Submit.
func (s *Scaler) Reject(c Command, err error, finish func(Outcome)) {
	if t := s.term.Load(); t != nil {
		t.submit(&pending{Command: c, session: t.ctx, finish: finish, wrong: err})
	}
}

func (t *term) submit(c *pending) {
	id := c.Server
	_, exists := t.s.cache.Get(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !exists && c.wrong == nil {
		if c.absent = t.absent.Take(id.Namespace); !c.absent {
			c.wrong = fmt.Errorf("%w: there is no Deployment %s, and too many commands of its namespace wait "+
				"already for some that are not there: send it again when there is", ErrUnknown, id)
		}
	}
	st := t.stateLocked(id)
	st.commands = append(st.commands, c)
	t.queue.add(id, byCommand)
}

// oldest returns the command whose turn it is, nil if none waits. A command that is only to be
// rejected waits for no other. Commands of a session that has ended are dropped: a newer session
// has them, and must not find older commands applied after its own.
func (t *term) oldest(st *state) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range slices.Clone(st.commands) {
		if !c.applied && c.session.Err() != nil {
			t.drop(st, c)
		}
	}
	if len(st.commands) == 0 {
		return nil
	}
	wrong := slices.IndexFunc(st.commands, func(c *pending) bool { return c.wrong != nil })
	return st.commands[max(0, wrong)]
}

// drop takes a command away. The caller holds mu.
func (t *term) drop(st *state, c *pending) {
	if c.absent {
		t.absent.Return(c.Server.Namespace)
	}
	st.commands = slices.DeleteFunc(st.commands, func(other *pending) bool { return other == c })
}

// end finishes a command. The next pass takes the next command, or finds out when something is due.
func (t *term) end(st *state, c *pending, o Outcome, p priority) result {
	t.mu.Lock()
	t.drop(st, c)
	t.mu.Unlock()
	c.finish(o)
	return requeue(p)
}
