package scaler

import (
	"cmp"
	"fmt"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// holdAfter returns the hold that is in force after a command, and says which order the command
// ends.
func (c Command) holdAfter(server *Server, now time.Time) (hold policy.Hold, text string, err error) {
	former := server.held(now)
	ends := explain.EndsHold(former)
	switch {
	case c.Verb == Hold:
		until, err := c.until(server, c.Taken)
		if err != nil {
			return policy.Hold{}, "", err
		}
		if !until.After(now) {
			return policy.Hold{}, "", fmt.Errorf("%w: the hold was to last until %s: send it again if it is still wanted",
				ErrExpired, explain.Instant(until))
		}
		hold = policy.Hold{Asleep: c.Asleep, Since: now, Until: until, Actor: c.Actor, Reason: c.Reason}
		if ends == "" && server.Replicas == 0 && server.Mark.Because == policy.BecauseCommand {
			ends = explain.EndsStop(server.Mark.Asleep)
		}
		return hold, explain.Joined("; ", explain.Held(hold), ends), nil
	case c.Verb == Release:
		return policy.Hold{}, cmp.Or(ends, "there was no hold"), nil
	case c.sleeps(), former.Asleep:
		return policy.Hold{}, ends, nil
	}
	return former, "", nil // a start agrees with a hold awake
}

// until returns when the hold of a command ends: counted from when the command was given, in the
// time zone of the server.
func (c Command) until(server *Server, given time.Time) (time.Time, error) {
	until, err := policy.ParseUntil(c.Until, given, server.Settings.TimeZone)
	if _, notClock := time.Parse("15:04", c.Until); notClock == nil && server.Bad != nil {
		err = fmt.Errorf("its time-zone is not known, because its settings can't be read (%w): "+
			"write a duration or an instant, or correct them", server.Bad)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: hold until %q: %w", ErrInvalid, c.Until, err)
	}
	return until, nil
}
