package scaler

import (
	"time"

	"idle-scaler/policy"
)

// MisSleepWithin is how soon after a sleep demand shows that it was a mistake.
const MisSleepWithin = 2 * time.Minute

// MisSleep reports whether a wake shows that the sleep before it was a mistake, if nobody had
// ordered that sleep. The rule is the same for a dry run.
func MisSleep(slept, woken time.Time, demand bool) bool {
	return demand && woken.Sub(slept) < MisSleepWithin
}

// Demand reports whether a wake shows that somebody wants to use the server, or one that it wakes
// with.
func (e Event) Demand() bool {
	return e.Cause != policy.CauseExternal && e.Cause != policy.CauseKeepWarm
}

// Automatic reports whether nobody has ordered a sleep.
func (e Event) Automatic() bool {
	return e.Cause == policy.CauseIdle || e.Cause == policy.CauseSchedule
}

// misSlept counts a wake that shows that the sleep before it was a mistake.
func (s *Scaler) misSlept(server *Server, woken Event) {
	because := server.Mark.Because
	if (because == policy.BecauseIdle || because == policy.BecauseSchedule) &&
		MisSleep(server.Mark.Asleep, woken.At, woken.Demand()) {
		s.meter.MisSlept(false)
	}
}
