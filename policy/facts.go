package policy

import (
	"time"

	"idle-scaler/activity"
)

// Because says why the daemon made a server zero, or keeps it there.
type Because string

// The causes of a sleep. BecauseUnknown is a zero of ours whose mark is gone.
const (
	BecauseUnknown  Because = ""
	BecauseIdle     Because = "idle"
	BecauseSchedule Because = "schedule" // sleep-at
	BecauseCommand  Because = "command"
	BecauseHold     Because = "hold"
	BecauseAfter    Because = "after" // a command has started it, and it waits for those that it comes after
)

// Facts are all that a decision about one server depends on, beside the time. All instants are log
// time, see [activity.Clock].
type Facts struct {
	Settings Settings
	Bad      error // why the settings can't be read
	Paused   Pause // by an order, beside that in the settings
	Hold     Hold
	Reverts  Reverts
	Rival    string // who else decides about its replicas, by its nature; empty: nobody
	Group    Group

	Replicas   int // wanted
	Ready      int
	RollingOut bool
	ReadySince time.Time // since when some replica is ready; zero while none is
	StartingAt time.Time // when it was last woken, made, or lost its last ready replica
	Created    time.Time

	Ours        bool // at zero: the last writer of replicas was this daemon
	Because     Because
	AsleepSince time.Time
	AwakeSince  time.Time      // when the daemon last woke it, or was told to
	Seen        activity.Stamp // the last ping that the decision to sleep knew
	Noticed     time.Time      // when its last sleep notice was published

	Use      activity.Use
	Coverage activity.Coverage
}

// Pause is an order that servers are not put to sleep.
type Pause struct {
	Scope  string // which servers, in words; empty: there is no pause
	Since  time.Time
	Actor  string // who ordered it, as it said itself
	Reason string // why, in its words
}

// Reverts counts how often in a row somebody else raised the replicas of a server that had been put
// to sleep, without any demand.
type Reverts struct {
	Count  int
	Writer string    // who did it last: a field manager, empty when Kubernetes does not say
	Since  time.Time // of the first
	Digest string    // Settings.Digest as it was then: another one now means that somebody has changed something
}

// MaxReverts is after how many reverts a server is not put to sleep any more.
const MaxReverts = 2

// Group is what the other servers of a group mean for one of them.
type Group struct {
	Bad     string   // why the order of the group can't be kept; empty when it can
	Wanted  string   // a server that has to be awake, so all others have to be; empty: none
	Why     Reason   // of that server
	Before  []string // servers that are awake and come after this one: they sleep first
	Waiting []string // servers before this one that are not ready yet, but will be: they wake first

	// Free is when no server of the group has to be awake any more, if nothing happens: the latest
	// Decision.Sleeps of those that have to. Zero: not known, or none has to.
	Free time.Time
}

// free returns Free if that is still to come.
func (g *Group) free(now time.Time) time.Time {
	if g.Free.After(now) {
		return g.Free
	}
	return time.Time{}
}

// IdleSince returns when the idle clock started: the latest of creation, the last ping, the end of
// the last lease, the last wake, the first ready replica and the instant since which the log is
// complete.
func (f *Facts) IdleSince() time.Time {
	start := f.Created
	for _, t := range [...]time.Time{
		f.Use.Last.Time, f.Use.LeaseUntil, f.AwakeSince, f.ReadySince, f.Coverage.CompleteSince,
	} {
		start = later(start, t)
	}
	return start
}

// SleepAtDue reports whether a sleep-at has come by an instant since the server was last used. Such
// a sleep is by sleep-at, not by silence.
func (f *Facts) SleepAtDue(by time.Time) bool {
	due := f.Settings.SleepAt.Next(f.IdleSince())
	return !due.IsZero() && !due.After(by)
}

// wakes reports whether demand at an instant may wake the server. Without wake-on-activity it is
// still woken by activity that should have kept it awake.
func (f *Facts) wakes(at time.Time) bool {
	return f.Settings.WakeOnActivity || at.Before(f.AsleepSince.Add(raceMargin))
}

// Demand returns which demand there is for a server that sleeps: Leased, Activity, or "".
func (f *Facts) Demand(now time.Time) Reason {
	switch {
	case f.Use.Leased(now) && f.wakes(f.Use.LeaseSince):
		return Leased
	case !f.Use.Last.IsZero() && !f.Use.Last.Equal(f.Seen) && f.wakes(f.Use.Last.Time):
		return Activity
	}
	return ""
}
