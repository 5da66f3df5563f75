package scaler

import (
	"fmt"
	"strconv"
	"time"

	"idle-scaler/policy"
)

// until is when the hold of a command ends: counted from when the command was given, in the zone of the server. Both are by the clock of the log: that
// of this process may be wrong, and the next leader's wrong in another way.
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
	tracker := t.s.tracker
	until, err := c.until(server, tracker.Stamp(tracker.UnstampCommand(c.Stamp.Time)))
	if err != nil {
		return Change{}, err
	}
	now := tracker.Stamp(e.At)
	if !until.After(now) {
		return Change{}, fmt.Errorf("%w: the hold was to last until %s: send it again if it is still wanted", ErrExpired, clock(until))
	}
	hold := policy.Hold{Asleep: c.Asleep, Since: now, Until: until, Actor: c.Actor, Reason: c.Reason}
	e.Text = joined(fmt.Sprintf("held %s until %s", hold, clock(until)), t.s.ends(server, e.At))
	var change Change
	if c.Asleep {
		change = t.planSleep(server, policy.BecauseHold, tracker.Of(server.ID).Last, e)
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
	e.Type, e.From, e.To, e.Text = Unchanged, server.Replicas, server.Replicas, "there was no hold"
	if held := t.s.endsHold(server, e.At); held != "" {
		e.Text = held
	}
	return Change{Replicas: server.Replicas, Mark: mark, Event: e}
}

// ends says which former order a new one ends, nothing when there is none.
func (s *Scaler) ends(server *Server, now time.Time) string {
	if s.held(server, now).Until.IsZero() && server.Replicas == 0 && server.Mark.Because == policy.BecauseCommand {
		return "this ends that a command had stopped it at " + clock(s.tracker.Unstamp(server.Mark.Asleep))
	}
	return s.endsHold(server, now)
}

// endsHold says which hold a new order ends.
func (s *Scaler) endsHold(server *Server, now time.Time) string {
	hold := s.held(server, now)
	if hold.Until.IsZero() {
		return ""
	}
	actor := "somebody"
	if hold.Actor != "" {
		actor = strconv.Quote(hold.Actor)
	}
	return fmt.Sprintf("this ends that %s held it %s until %s", actor, hold, clock(hold.Until))
}

// held is the hold that is in force, as it is written: by the clock of the log. One that is over is not written again.
func (s *Scaler) held(server *Server, now time.Time) policy.Hold {
	if s.hold(server).Holds(now) {
		return server.Mark.Hold
	}
	return policy.Hold{}
}

// hold is the last hold on the server, by our clock.
func (s *Scaler) hold(server *Server) policy.Hold {
	hold := server.Mark.Hold
	hold.Since, hold.Until = s.tracker.Unstamp(hold.Since), s.tracker.Unstamp(hold.Until)
	return hold
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
