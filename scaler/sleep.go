package scaler

import (
	"errors"
	"fmt"
	"time"

	"idle-scaler/policy"
)

// sleep puts a server to sleep if that is the decision now, as seen with everything that the log held a moment ago. It tries
// once: after a conflict somebody is at work on the Deployment, and the next sweep is soon enough.
func (t *term) sleep(id ID) (Event, error) {
	asked := t.s.now()
	server, ok := t.s.cache.Get(id)
	ordered := ok && t.s.held(server, asked).Asleep // which needs no silence, and is done also while the log is away
	if !ordered && t.s.log.Prove(t.ctx) != nil {
		return Event{}, nil // blind, which the log itself says in status, readiness and metrics
	}
	t.tellLast(id)
	event, err := t.trySleep(id, asked, ordered)
	switch {
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUnknown), errors.Is(err, errNotLeader):
		t.s.logger.Debug("gave up a sleep", "server", id.String(), "err", err)
		return Event{}, nil
	case err != nil || event.ID == "":
		return Event{}, err
	}
	return event, nil
}

func (t *term) trySleep(id ID, proven time.Time, ordered bool) (Event, error) {
	s := t.s
	if !acquire(t.ctx, s.inFlight) {
		return Event{}, errNotLeader
	}
	defer release(s.inFlight)
	server, ok := s.cache.Get(id)
	if !ok || server.wokenByOthers() { // which is noted first, in this lane: it may be a revert
		return Event{}, nil
	}
	now := s.now()
	if err := holds("the proof of silence", proven, now); err != nil { // there was no slot, or this process stood still
		return Event{}, err
	}
	facts := s.facts(server, now)
	d := s.config.Rules.Decide(&facts, now)
	if d.Action != policy.Sleep || ordered && d.Reason != policy.HeldAsleep { // the hold has ended meanwhile, and silence was not proved
		return Event{}, nil
	}
	e := Event{At: now, Idle: d.Idle}
	because := policy.BecauseIdle
	switch d.Reason {
	case policy.Idle:
		e.Cause, e.Text = CauseIdle, policy.Unused(d.Idle, server.Settings.IdleAfter)
	case policy.SleepAt:
		because, e.Cause, e.Text = policy.BecauseSchedule, CauseSchedule, fmt.Sprintf("its sleep-at was due, unused for %s", policy.Span(d.Idle))
	default:
		hold := server.Mark.Hold
		because, e.Cause, e.Actor, e.Reason, e.Text = policy.BecauseHold, CauseHold, hold.Actor, hold.Reason, "held asleep until "+clock(hold.Until)
	}
	_, event, err := t.change(server, t.planSleep(server, because, facts.Use.Last, e))
	return event, err
}
