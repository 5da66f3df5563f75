package scaler

import (
	"errors"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// sleep puts a server to sleep if that is still the decision with everything that the log held a
// moment ago. It tries once: after a conflict somebody is at work on the Deployment, and the next
// sweep is soon enough.
func (t *term) sleep(st *state, server *Server) result {
	s, id := t.s, server.ID
	asked := s.local()
	ordered := server.held(s.now()).Asleep // a hold needs no silence, so the log may be away
	if !ordered && s.log.Prove(t.ctx) != nil {
		return result{} // the log itself says in status, readiness and metrics that it is away
	}
	e, err := t.trySleep(st, id, asked, ordered)
	switch {
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUnknown), errors.Is(err, errNotLeader):
		s.logger.Debug("gave up a sleep", "server", id.String(), "err", err)
		return result{}
	case err != nil:
		s.logger.Error("cannot put a server to sleep, trying again in the next sweep", "server", id.String(), "err", err)
		return result{}
	case e.ID == "":
		return result{}
	}
	if err := t.publish(st, e); err != nil {
		return retry(publishBackoff, byChange)
	}
	for _, name := range server.Settings.After { // these may sleep now
		t.queue.add(ID{Namespace: id.Namespace, Name: name}, bySweep)
	}
	return requeue(byChange)
}

func (t *term) trySleep(st *state, id ID, proven time.Time, ordered bool) (Event, error) {
	s := t.s
	server, ok := s.cache.Get(id)
	if !ok || server.wokenByOthers() { // the next pass notes that first: it may be a revert
		return Event{}, nil
	}
	decided := s.local()
	if err := stillHolds("the proof of silence", proven, decided); err != nil { // this process stood still
		return Event{}, err
	}
	decider := s.decider()
	facts, d := decider.decide(server)
	if d.Action != policy.Sleep || ordered && d.Reason != policy.HeldAsleep { // the hold ended, without a proof of silence
		return Event{}, nil
	}
	e := Event{At: decider.now, Idle: d.Idle}
	if d.Reason == policy.HeldAsleep {
		e.Actor, e.Reason = server.Mark.Hold.Actor, server.Mark.Hold.Reason
	}
	var because policy.Because
	because, e.Cause, e.Text = whySleep(server, d)
	_, e, err := t.write(st, server, t.planSleep(server, because, facts.Use.Last, e), decided)
	return e, err
}

// whySleep returns why a server sleeps, or would, as its mark and its event say it.
func whySleep(server *Server, d policy.Decision) (policy.Because, policy.Cause, string) {
	switch d.Reason {
	case policy.HeldAsleep:
		return policy.BecauseHold, policy.CauseHold, explain.Held(server.Mark.Hold)
	case policy.SleepAt:
		return policy.BecauseSchedule, policy.CauseSchedule, explain.Scheduled(d.Idle)
	}
	return policy.BecauseIdle, policy.CauseIdle, explain.Unused(d.Idle, server.Settings.IdleAfter)
}
