package scaler

import (
	"errors"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// wake wakes a server if that is the decision, or notes that somebody else has woken it, and publishes that.
// When somebody else was faster, or the answer got lost, the next pass tries again on fresh facts.
func (t *term) wake(st *state, server *Server) result {
	written, e, err := t.try(server.ID, &st.tries, t.planWakeUp)
	switch {
	case errors.Is(err, ErrUnknown):
		st.tries = tries{}
		return result{} // it is gone, which the cache tells
	case errors.Is(err, errNotLeader):
		return retry(commandBackoff, byChange) // the lease is late: it is renewed in a moment, or the term ends
	case errors.Is(err, ErrConflict):
		return retry(contestBackoff, byChange) // the next try may be between two of the rival's writes
	case passing(err):
		t.s.logger.Warn("cannot wake a server, trying again", "server", server.ID.String(), "err", err)
		return retry(commandBackoff, byChange)
	case err != nil:
		t.s.logger.Error("cannot wake a server, trying again within "+wakeBackoff.String(), "server", server.ID.String(), "err", err)
		return retry(wakeBackoff, byChange)
	}
	st.tries = tries{}
	if e.ID == "" { // what was read from the API server asks for no wake: the cache will know that in a moment
		return retry(contestBackoff, byChange)
	}
	if e.Type == Woken && e.Cause != policy.CauseExternal {
		t.trackWake(st, written, e.At)
	}
	if err := t.publish(st, e); err != nil {
		return retry(publishBackoff, byChange)
	}
	return requeue(byChange)
}

// planWakeUp wakes a server if that is the decision, and takes note when somebody else has woken it.
func (t *term) planWakeUp(server *Server) (Change, error) {
	now := t.s.now()
	if server.wokenByOthers() {
		return t.planWokenByOthers(server, now), nil
	}
	facts := t.s.facts(server, now)
	d := t.s.config.Rules.Decide(&facts, now)
	if d.Action != policy.Wake {
		return Change{}, nil
	}
	e := Event{At: now, Cause: d.WakeCause(&facts)}
	switch last, hold := server.Mark.Last, server.Mark.Hold; d.Reason {
	case policy.Grouped:
		e.Text = explain.Decision(d, &facts, now) // whom it follows
	case policy.Started:
		e.Actor, e.Command, e.Reason = last.Actor, last.Command, last.Reason
	case policy.Held:
		e.Actor, e.Reason = hold.Actor, hold.Reason
	}
	return t.planWake(server, server.restored(), e), nil
}

// wokenByOthers reports whether somebody else gave replicas to a server that is marked as asleep.
func (s *Server) wokenByOthers() bool { return s.Replicas > 0 && !s.Mark.Asleep.IsZero() }
