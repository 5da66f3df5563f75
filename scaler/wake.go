package scaler

import (
	"errors"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// wake wakes a server if that is the decision, or notes that somebody else has woken it, and
// publishes that. When somebody else was faster, or the answer got lost, the next pass tries again
// on fresh facts.
func (t *term) wake(st *state, server *Server) result {
	written, e, err := t.try(st, server.ID, &st.tries, t.planWakeUp)
	switch {
	case errors.Is(err, ErrUnknown):
		st.tries = tries{}
		return result{} // the cache will say that it is gone
	case errors.Is(err, ErrConflict), errors.Is(err, errNotLeader):
		return retry(backoffAfter(err), byChange)
	case err != nil:
		backoff := backoffAfter(err)
		t.s.logger.Error("cannot wake a server, trying again within "+backoff.String(),
			"server", server.ID.String(), "err", err)
		return retry(backoff, byChange)
	}
	st.tries = tries{}
	if e.ID == "" { // the API server has a newer server than the cache, and that one needs no wake
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

// planWakeUp plans a wake if that is the decision, or notes that somebody else has woken the
// server.
func (t *term) planWakeUp(server *Server) (Change, error) {
	decider := t.s.decider()
	if server.wokenByOthers() {
		return t.planWokenByOthers(server, decider.now), nil
	}
	facts, d := decider.decide(server)
	if d.Action != policy.Wake {
		return Change{}, nil
	}
	e := Event{At: decider.now, Cause: d.WakeCause(&facts)}
	switch last, hold := server.Mark.Last, server.Mark.Hold; d.Reason {
	case policy.Grouped:
		e.Text = explain.Decision(d, &facts, decider.now) // with whom it wakes
	case policy.Started:
		e.Actor, e.Command, e.Reason = last.Actor, last.Command, last.Reason
	case policy.Held:
		e.Actor, e.Reason = hold.Actor, hold.Reason
	}
	return t.planWake(server, server.restored(), e), nil
}
