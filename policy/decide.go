package policy

import "time"

// Action is what a decision asks for.
type Action string

// The actions.
const (
	Keep       Action = "keep" // leave it as it is
	Sleep      Action = "sleep"
	Wake       Action = "wake"
	Notify     Action = "notify"      // publish that it will sleep soon
	WouldSleep Action = "would-sleep" // publish that it would sleep, and leave it as it is
)

// Reason is the rule that made a decision.
type Reason string

// The reasons, in the order of Decide.
const (
	// For a server that is awake.
	Unreadable Reason = "unreadable"  // its settings can't be read, or the order of its group can't be kept
	Paused     Reason = "paused"      // somebody said so
	Held       Reason = "hold"        // awake, by an explicit order
	Contended  Reason = "contended"   // somebody else keeps raising it
	Autoscaled Reason = "autoscaled"  // somebody else scales it to zero and back
	HeldAsleep Reason = "hold-asleep" // by an explicit order → sleep
	Blind      Reason = "blind"       // silence proves nothing now
	Leased     Reason = "lease"       // somebody promised to use it
	KeepWarm   Reason = "keep-warm"   // in a window
	Starting   Reason = "starting"    // pending, and not for longer than the start deadline
	RollingOut Reason = "rolling-out" // a new version is being brought in
	MinAwake   Reason = "min-awake"   // woken a moment ago
	SleepAt    Reason = "sleep-at"    // a fixed time came, and no use since → sleep
	Idle       Reason = "idle"        // → sleep
	Awake      Reason = "awake"       // used recently, or never sleeps

	// What keeps a server awake that would sleep by sleep-at or idle.
	Grouped  Reason = "group"  // another of its group is awake; at zero → wake
	Ordered  Reason = "after"  // another sleeps before it; at zero: another wakes before it
	Noticing Reason = "notice" // an event has said that it sleeps soon

	// For a server at zero replicas.
	Started  Reason = "start"    // by a command, and those before it are ready → wake
	NotOurs  Reason = "not-ours" // somebody else made it zero
	Stopped  Reason = "stopped"  // a command did, and lasts
	Activity Reason = "activity" // used since it fell asleep → wake
	Asleep   Reason = "asleep"
)

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
	Sleeps time.Time     // when it will be due to sleep if nothing happens; zero: not as far as is known now
}

// raceMargin is how long after a sleep a ping may be stamped and still be one that the decision
// should have known: the patch and the ping were on their way at the same time.
const raceMargin = time.Second

// Decide returns the first rule that holds.
func (r Rules) Decide(f *Facts, now time.Time) Decision {
	if f.Replicas == 0 {
		return decideAsleep(f, now)
	}
	d := r.decideAwake(f, now)
	switch {
	case d.Action == Sleep && d.Reason != HeldAsleep:
		return f.delay(d, now)
	case d.Reason == Awake:
		return f.foresee(d, now)
	}
	return d
}

func (r Rules) decideAwake(f *Facts, now time.Time) Decision {
	start := f.IdleSince()
	d := Decision{Action: Keep, Idle: f.Coverage.Idle(start, now)}
	keep := func(reason Reason, next time.Time) Decision {
		d.Reason, d.Next = reason, next
		return d
	}
	sleep := func(reason Reason) Decision {
		d.Action, d.Reason = Sleep, reason
		return d
	}
	if f.Bad != nil || f.Group.Bad != "" {
		return keep(Unreadable, time.Time{})
	}
	if f.Settings.Paused || f.Paused.Scope != "" {
		return keep(Paused, time.Time{})
	}
	if f.Hold.Holds(now) && !f.Hold.Asleep {
		return keep(Held, f.Hold.Until)
	}
	if f.Reverts.Contended(f.Settings.Digest) {
		return keep(Contended, time.Time{})
	}
	if f.Rival != "" {
		return keep(Autoscaled, time.Time{})
	}
	if f.Hold.Holds(now) {
		d = sleep(HeldAsleep)
		d.Next = f.Hold.Until
		return d
	}
	if f.Coverage.Blind != "" {
		return keep(Blind, f.Coverage.Until)
	}
	if young := f.Coverage.CompleteSince.Add(f.Settings.IdleAfter); f.Settings.IdleAfter != Never && now.Before(young) {
		return keep(Blind, young)
	}
	if f.Use.Leased(now) {
		return keep(Leased, f.Use.LeaseUntil)
	}
	if end, inside := f.Settings.KeepWarm.Until(now); inside {
		return keep(KeepWarm, end)
	}
	next := f.Settings.KeepWarm.Next(now) // from then on that keeps it awake
	if late := f.StartingAt.Add(r.StartDeadline); f.Ready == 0 && now.Before(late) {
		return keep(Starting, sooner(next, late))
	}
	if f.RollingOut {
		return keep(RollingOut, next)
	}
	if until := f.AwakeSince.Add(r.MinAwake); now.Before(until) {
		return keep(MinAwake, sooner(next, until))
	}
	if f.SleepAtDue(now) {
		d.Next = next
		return sleep(SleepAt)
	}
	sleeps := f.Settings.SleepAt.Next(later(start, now))
	if f.Settings.IdleAfter != Never {
		at := f.Coverage.IdleAt(start, f.Settings.IdleAfter)
		if !now.Before(at) {
			d.Next = sooner(next, sleeps)
			return sleep(Idle)
		}
		sleeps = sooner(sleeps, at)
	}
	d.Sleeps = unless(next, sleeps)
	return keep(Awake, sooner(next, sleeps))
}

func decideAsleep(f *Facts, now time.Time) Decision {
	keep := func(reason Reason, next time.Time) Decision {
		return Decision{Action: Keep, Reason: reason, Next: next}
	}
	wake := func(reason Reason, next time.Time) Decision {
		if len(f.Group.Waiting) > 0 {
			return keep(Ordered, next)
		}
		return Decision{Action: Wake, Reason: reason, Next: next}
	}
	held := f.Hold.Holds(now)
	switch {
	case f.Because == BecauseAfter:
		return wake(Started, time.Time{})
	case !f.Ours:
		return keep(NotOurs, time.Time{})
	case f.Bad != nil:
		return keep(Unreadable, time.Time{})
	case held && f.Hold.Asleep:
		return keep(HeldAsleep, f.Hold.Until)
	case held:
		return wake(Held, f.Hold.Until)
	case f.Because == BecauseCommand:
		return keep(Stopped, time.Time{})
	}
	switch f.Demand(now) {
	case Leased:
		return wake(Leased, f.Use.LeaseUntil)
	case Activity:
		return wake(Activity, time.Time{})
	}
	if end, inside := f.Settings.KeepWarm.Until(now); inside {
		return wake(KeepWarm, end)
	}
	next := f.Settings.KeepWarm.Next(now)
	if f.Group.Wanted != "" {
		return wake(Grouped, sooner(next, f.Group.free(now)))
	}
	if f.Coverage.Blind != "" {
		// This comes after all that wakes: a use that is known is true, although others may be
		// missing.
		return keep(Blind, sooner(next, f.Coverage.Until))
	}
	return keep(Asleep, next)
}
