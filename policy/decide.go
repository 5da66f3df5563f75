package policy

import (
	"time"

	"idle-scaler/activity"
)

// Action is what a decision asks for.
type Action string

// The actions.
const (
	Keep  Action = "keep" // leave it as it is
	Sleep Action = "sleep"
	Wake  Action = "wake"
)

// Reason is the rule that made a decision.
type Reason string

// The reasons, in the order in which Decide looks at them.
const (
	// Of a server that is awake.
	Unreadable Reason = "unreadable"  // its settings can't be read
	Paused     Reason = "paused"      // its owner said so
	Blind      Reason = "blind"       // silence proves nothing now
	Leased     Reason = "lease"       // somebody promised to use it
	Starting   Reason = "starting"    // not ready yet, and not late
	RollingOut Reason = "rolling-out" // a new version is being brought in
	MinAwake   Reason = "min-awake"   // woken a moment ago
	Idle       Reason = "idle"        // → sleep
	Awake      Reason = "awake"       // used recently, or never sleeps

	// Of a server at zero replicas.
	NotOurs  Reason = "not-ours" // somebody else made it zero
	Stopped  Reason = "stopped"  // a command did, and lasts
	Activity Reason = "activity" // used since it fell asleep → wake
	Asleep   Reason = "asleep"
)

// Because says why the daemon made a server zero.
type Because string

// The causes of a sleep. BecauseUnknown is a zero of ours whose mark is gone.
const (
	BecauseUnknown Because = ""
	BecauseIdle    Because = "idle"
	BecauseCommand Because = "command"
)

// Facts are all that a decision about one server depends on, but for the time.
type Facts struct {
	Settings Settings
	Bad      error // why the settings can't be read

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

	Use   activity.Use
	Sight activity.Sight
}

// Rules are the parts of the daemon's configuration that a decision depends on.
type Rules struct {
	MinAwake      time.Duration // a server woken by the daemon stays awake this long
	StartDeadline time.Duration // not ready after this long: failed, no longer starting
}

// Decision is what to do with a server, and why.
type Decision struct {
	Action Action
	Reason Reason
	Idle   time.Duration // how long it has been idle, when awake
	Next   time.Time     // when the answer may next change if nothing happens; zero: only when something happens
}

// raceMargin is how long after a sleep a ping may be stamped and still be one that the decision to sleep should have known:
// the patch and the ping were on their way at once.
const raceMargin = time.Second

// Decide returns the first rule that holds.
func (r Rules) Decide(f *Facts, now time.Time) Decision {
	if f.Replicas == 0 {
		return decideAsleep(f, now)
	}
	return r.decideAwake(f, now)
}

func (r Rules) decideAwake(f *Facts, now time.Time) Decision {
	start := f.IdleSince()
	d := Decision{Action: Keep, Idle: f.Sight.Idle(start, now)}
	keep := func(reason Reason, next time.Time) Decision {
		d.Reason, d.Next = reason, next
		return d
	}
	if f.Bad != nil {
		return keep(Unreadable, time.Time{})
	}
	if f.Settings.Paused {
		return keep(Paused, time.Time{})
	}
	if f.Sight.Blind != "" {
		return keep(Blind, f.Sight.Until)
	}
	if young := f.Sight.Born.Add(f.Settings.IdleAfter); f.Settings.IdleAfter != Never && now.Before(young) {
		return keep(Blind, young)
	}
	if f.Use.Leased(now) {
		return keep(Leased, f.Use.LeaseUntil)
	}
	if late := f.StartingAt.Add(r.StartDeadline); f.Ready == 0 && now.Before(late) {
		return keep(Starting, late)
	}
	if f.RollingOut {
		return keep(RollingOut, time.Time{})
	}
	if until := f.AwakeSince.Add(r.MinAwake); now.Before(until) {
		return keep(MinAwake, until)
	}
	if f.Settings.IdleAfter == Never {
		return keep(Awake, time.Time{})
	}
	if at := f.Sight.IdleAt(start, f.Settings.IdleAfter); now.Before(at) {
		return keep(Awake, at)
	}
	d.Action, d.Reason = Sleep, Idle
	return d
}

func decideAsleep(f *Facts, now time.Time) Decision {
	switch {
	case !f.Ours:
		return Decision{Action: Keep, Reason: NotOurs}
	case f.Bad != nil:
		return Decision{Action: Keep, Reason: Unreadable}
	case f.Because == BecauseCommand:
		return Decision{Action: Keep, Reason: Stopped}
	case f.Use.Leased(now) && f.wakes(f.Use.LeaseSince):
		return Decision{Action: Wake, Reason: Leased, Next: f.Use.LeaseUntil}
	case !f.Use.Last.IsZero() && !f.Use.Last.Equal(f.Seen) && f.wakes(f.Use.LastAt):
		return Decision{Action: Wake, Reason: Activity}
	case f.Sight.Blind != "":
		// After the known demand, not before: what was heard is true although more may have been missed.
		return Decision{Action: Keep, Reason: Blind, Next: f.Sight.Until}
	}
	return Decision{Action: Keep, Reason: Asleep}
}

// wakes reports whether demand stamped at at may wake the server. One that is not woken by activity is still
// woken by activity that should have kept it awake.
func (f *Facts) wakes(at time.Time) bool {
	return f.Settings.WakeOnActivity || at.Before(f.AsleepSince.Add(raceMargin))
}

// IdleSince returns when the idle clock started: the latest of the last ping, the end of the last lease, the last
// wake, the first ready replica and the birth of the log.
func (f *Facts) IdleSince() time.Time {
	start := f.Created
	for _, t := range [...]time.Time{f.Use.LastAt, f.Use.LeaseUntil, f.AwakeSince, f.ReadySince, f.Sight.Born} {
		if t.After(start) {
			start = t
		}
	}
	return start
}
