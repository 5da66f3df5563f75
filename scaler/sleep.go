package scaler

import (
	"errors"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// sleep puts a server to sleep if that is the decision now, as seen with everything that the log held a
// moment ago. It tries once: after a conflict somebody is at work on the Deployment, and the next sweep is
// soon enough.
func (t *term) sleep(st *state, id ID) result {
	s := t.s
	asked := s.local()
	server, ok := s.cache.Get(id)
	ordered := ok && server.held(s.now()).Asleep // which needs no silence, and is done also while the log is away
	if !ordered && s.log.Prove(t.ctx) != nil {
		return result{} // blind, which the log itself says in status, readiness and metrics
	}
	e, err := t.trySleep(id, asked, ordered)
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
	for _, name := range server.Settings.After { // those that it comes after may sleep now
		t.queue.add(ID{Namespace: id.Namespace, Name: name}, bySweep)
	}
	return requeue(byChange)
}

func (t *term) trySleep(id ID, proven time.Time, ordered bool) (Event, error) {
	s := t.s
	server, ok := s.cache.Get(id)
	if !ok || server.wokenByOthers() { // which is noted first: it may be a revert
		return Event{}, nil
	}
	decided := s.local()
	if err := stillHolds("the proof of silence", proven, decided); err != nil { // this process stood still
		return Event{}, err
	}
	now := s.now()
	facts := s.facts(server, now)
	d := s.config.Rules.Decide(&facts, now)
	if d.Action != policy.Sleep || ordered && d.Reason != policy.HeldAsleep { // the hold has ended, and silence was not proven
		return Event{}, nil
	}
	e := Event{At: now, Idle: d.Idle}
	because := policy.BecauseIdle
	switch d.Reason {
	case policy.Idle:
		e.Cause, e.Text = policy.CauseIdle, explain.Unused(d.Idle, server.Settings.IdleAfter)
	case policy.SleepAt:
		because, e.Cause = policy.BecauseSchedule, policy.CauseSchedule
		e.Text = explain.Scheduled(d.Idle)
	default:
		hold := server.Mark.Hold
		because, e.Cause, e.Actor, e.Reason = policy.BecauseHold, policy.CauseHold, hold.Actor, hold.Reason
		e.Text = explain.Held(hold)
	}
	_, e, err := t.write(server, t.planSleep(server, because, facts.Use.Last, e), decided)
	return e, err
}
