package scaler

import (
	"cmp"
	"fmt"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// until is when the hold of a command ends: counted from when the command was given, in the zone of the server.
func (c Command) until(server *Server, given time.Time) (time.Time, error) {
	until, err := policy.ParseUntil(c.Until, given, server.Settings.TimeZone)
	if _, isClock := time.Parse("15:04", c.Until); isClock == nil && server.Bad != nil {
		err = fmt.Errorf("its time-zone is not known, because its settings can't be read (%w): write a duration or an instant, or correct them", server.Bad)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: hold until %q: %w", ErrInvalid, c.Until, err)
	}
	return until, nil
}

// planHold keeps the server awake, or asleep, from now on.
func (t *term) planHold(server *Server, c Command, e Event) (Change, error) {
	until, err := c.until(server, c.Taken)
	if err != nil {
		return Change{}, err
	}
	if !until.After(e.At) {
		return Change{}, fmt.Errorf("%w: the hold was to last until %s: send it again if it is still wanted", ErrExpired, explain.Instant(until))
	}
	hold := policy.Hold{Asleep: c.Asleep, Since: e.At, Until: until, Actor: c.Actor, Reason: c.Reason}
	e.Text = explain.Joined("; ", explain.Held(hold), ends(server, e.At))
	var change Change
	if c.Asleep {
		change = t.planSleep(server, policy.BecauseHold, t.s.tracker.Of(server.ID).Last, e)
	} else {
		change = t.planStart(server, server.AwakeReplicas(), e)
	}
	change.Mark.Hold = hold
	return change, nil
}

// planRelease ends a hold. What the server does then is up to the other rules.
func (t *term) planRelease(server *Server, e Event) Change {
	mark := server.Mark
	mark.Hold = policy.Hold{}
	e.Type, e.From, e.To = Unchanged, server.Replicas, server.Replicas
	e.Text = cmp.Or(explain.EndsHold(server.held(e.At)), "there was no hold")
	return Change{Replicas: server.Replicas, Mark: mark, Event: e}
}

// ends says which former order a new one ends, nothing when there is none.
func ends(server *Server, now time.Time) string {
	hold := server.held(now)
	if hold.Until.IsZero() && server.Replicas == 0 && server.Mark.Because == policy.BecauseCommand {
		return explain.EndsStop(server.Mark.Asleep)
	}
	return explain.EndsHold(hold)
}

// held is the hold that is in force. One that is over is not written again.
func (s *Server) held(now time.Time) policy.Hold {
	if s.Mark.Hold.Holds(now) {
		return s.Mark.Hold
	}
	return policy.Hold{}
}
