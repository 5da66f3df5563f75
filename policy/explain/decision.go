package explain

import (
	"fmt"
	"strings"
	"time"

	"idle-scaler/policy"
)

// Decision says in one sentence why a decision is what it is, and when it may change.
func Decision(d policy.Decision, f *policy.Facts, now time.Time) string {
	c := clockOf(f, now)
	switch {
	case f.Bad != nil && d.Reason == policy.Unreadable:
		return LeftAsItIs(cantBeRead + f.Bad.Error())
	case f.Replicas == 0:
		return asleep(d, f, c)
	}
	return awake(d, f, c)
}

const cantBeRead = "its settings can't be read: "

func awake(d policy.Decision, f *policy.Facts, c clock) string {
	stays := "stays awake" + c.until(d.Next) + ": "
	switch d.Reason {
	case policy.Unreadable:
		return stays + f.Group.Bad
	case policy.Paused:
		if f.Paused.Scope == "" {
			return stays + "its setting paused is true"
		}
		return fmt.Sprintf("%sthere is a pause of %s%s%s; resume ends it", stays, f.Paused.Scope,
			By(f.Paused.Actor, f.Paused.Reason), c.since(f.Paused.Since))
	case policy.Held:
		return stays + "held awake" + By(f.Hold.Actor, f.Hold.Reason)
	case policy.Contended:
		return stays + Reverts(f.Reverts)
	case policy.Autoscaled:
		return fmt.Sprintf("%s%s scales it; %s", stays, f.Rival, Advice(f.Rival))
	case policy.HeldAsleep:
		return fmt.Sprintf("sleeps at the next sweep: held asleep%s%s", By(f.Hold.Actor, f.Hold.Reason), c.until(d.Next))
	case policy.Blind:
		if f.Coverage.Blind != "" {
			return stays + f.Coverage.Blind
		}
		return fmt.Sprintf("%sthe activity log begins at %s, its idle-after is %s", stays,
			c.at(f.Coverage.CompleteSince), policy.FormatDuration(f.Settings.IdleAfter))
	case policy.Leased:
		return stays + "a lease on it is live"
	case policy.KeepWarm:
		return stays + "it is kept warm"
	case policy.Starting:
		return stays + "it is pending; after that it counts as failed"
	case policy.RollingOut:
		return "stays awake: a rollout is under way"
	case policy.MinAwake:
		return stays + "it was woken a moment ago"
	case policy.Grouped:
		return fmt.Sprintf("stays awake with its group %s%s: %s%s",
			f.Settings.Group, c.until(d.Sleeps), wants(&f.Group), notice(d))
	case policy.Ordered:
		return fmt.Sprintf("sleeps after %s, which %s still awake", strings.Join(f.Group.Before, ", "), is(f.Group.Before))
	case policy.Noticing:
		if d.Sleeps.IsZero() { // keep-warm begins before
			return stays + "an event has said that it sleeps soon"
		}
		return fmt.Sprintf("sleeps at %s unless a ping or a lease comes before; an event has said so", c.in(d.Sleeps))
	case policy.SleepAt, policy.Idle:
		return dueToSleep(d, f, c)
	}
	return inUse(d, f, c)
}

func dueToSleep(d policy.Decision, f *policy.Facts, c clock) string {
	what := "sleeps at the next sweep"
	switch d.Action {
	case policy.WouldSleep:
		what = "would sleep without dry-run"
	case policy.Notify:
		notice := policy.FormatDuration(f.Settings.SleepNotice)
		what = fmt.Sprintf("sleeps %s after the next sweep, which publishes that", notice)
	}
	if d.Reason == policy.SleepAt {
		due := c.at(f.Settings.SleepAt.Next(f.IdleSince()))
		return fmt.Sprintf("%s: its sleep-at came at %s, and it was not used since", what, due)
	}
	return what + ": " + Unused(d.Idle, f.Settings.IdleAfter)
}

// inUse says what keeps a server awake that is in use, or never sleeps by silence.
func inUse(d policy.Decision, f *policy.Facts, c clock) string {
	why := "its idle-after is never"
	if f.Settings.IdleAfter != policy.Never {
		why = Unused(d.Idle, f.Settings.IdleAfter)
	}
	window := f.Settings.KeepWarm.Next(c.now)
	switch {
	case !d.Sleeps.IsZero() && f.Settings.SleepAt.Next(later(f.IdleSince(), c.now)).Equal(d.Sleeps):
		why += ", and its sleep-at comes then"
	case d.Sleeps.IsZero() && f.Group.Wanted != "":
		why += ", and " + wants(&f.Group)
	case d.Sleeps.IsZero() && !window.IsZero():
		why += ", and it is kept warm from " + c.in(window)
	}
	return fmt.Sprintf("stays awake%s: %s%s", c.until(d.Sleeps), why, notice(d))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// notice says that the sweep will announce the sleep.
func notice(d policy.Decision) string {
	if d.Action == policy.Notify {
		return "; the next sweep publishes that it sleeps soon"
	}
	return ""
}

func asleep(d policy.Decision, f *policy.Facts, c clock) string {
	stays := "stays at zero" + c.until(d.Next) + ": "
	switch d.Reason {
	case policy.Started:
		return "wakes: a command has started it"
	case policy.NotOurs:
		return stays + "somebody else made it zero; " + wakes(d, f, c)
	case policy.HeldAsleep:
		return stays + "held asleep" + By(f.Hold.Actor, f.Hold.Reason)
	case policy.Held:
		return fmt.Sprintf("wakes: held awake%s%s", By(f.Hold.Actor, f.Hold.Reason), c.until(d.Next))
	case policy.Stopped:
		return fmt.Sprintf("%sstopped by a command%s; %s", stays, c.since(f.AsleepSince), wakes(d, f, c))
	case policy.Leased:
		return "wakes: a lease on it is live" + c.until(d.Next)
	case policy.Activity:
		return "wakes: it was used at " + c.at(f.Use.Last.Time)
	case policy.Blind:
		return stays + f.Coverage.Blind
	case policy.KeepWarm:
		return "wakes: it is kept warm" + c.until(d.Next)
	case policy.Grouped:
		return fmt.Sprintf("wakes with its group %s: %s", f.Settings.Group, wants(&f.Group))
	case policy.Ordered:
		return fmt.Sprintf("wakes as soon as %s %s ready", strings.Join(f.Group.Waiting, ", "), is(f.Group.Waiting))
	}
	return fmt.Sprintf("sleeps%s%s; %s", c.since(f.AsleepSince), becauses[f.Because], wakes(d, f, c))
}

// becauses say why a server was put to sleep.
var becauses = map[policy.Because]string{
	policy.BecauseIdle:     ", because it was unused",
	policy.BecauseSchedule: ", by its sleep-at",
	policy.BecauseHold:     ", by a hold that has ended",
}

// wakes says what would wake a server that stays at zero because it sleeps, was stopped, or was
// made zero by somebody else; nothing about others.
func wakes(d policy.Decision, f *policy.Facts, c clock) string {
	switch d.Reason {
	case policy.NotOurs:
		return "a start command wakes it"
	case policy.Stopped:
		return "a start or scale command, or a hold awake, wakes it"
	case policy.Asleep:
	default:
		return ""
	}
	text := "a ping, a lease or a start command wakes it"
	if !f.Settings.WakeOnActivity {
		text = "a start command wakes it, and no ping, because its setting wake-on-activity is false"
	}
	if !d.Next.IsZero() {
		text += "; keep-warm wakes it at " + c.in(d.Next)
	}
	return text
}

// wants says which other server of the group has to be awake, and why.
func wants(g *policy.Group) string {
	why, ok := whys[g.Why]
	if !ok {
		why = string(g.Why)
	}
	return fmt.Sprintf("%s has to be awake (%s)", g.Wanted, why)
}

// whys are the reasons why a server has to be awake, where their names alone do not say it.
var whys = map[policy.Reason]string{
	policy.Unreadable: "unreadable settings", policy.Held: "held awake", policy.Autoscaled: "scaled by somebody else",
	policy.Leased: "a lease", policy.Awake: "in use", policy.Noticing: "about to sleep", policy.Starting: "pending",
	policy.RollingOut: "a rollout", policy.MinAwake: "woken a moment ago", policy.Started: "started",
	policy.Activity: "a ping",
}

// Short says in a few words what comes next, for lists. It tells apart what has the same status.
func Short(d policy.Decision, f *policy.Facts, now time.Time) string {
	c := clockOf(f, now)
	switch {
	case d.Action == policy.WouldSleep:
		return "would sleep"
	case d.Action == policy.Sleep:
		return "sleeps now"
	case d.Action == policy.Wake:
		return "wakes now"
	case d.Action == policy.Notify && d.Sleeps.IsZero():
		return "sleeps soon"
	case !d.Sleeps.IsZero():
		return "sleeps in " + Span(d.Sleeps.Sub(now))
	}
	switch d.Reason {
	case policy.Ordered:
		if f.Replicas > 0 {
			return "sleeps after " + strings.Join(f.Group.Before, ", ")
		}
		return "waits for " + strings.Join(f.Group.Waiting, ", ")
	case policy.Asleep:
		switch {
		case !d.Next.IsZero():
			return "asleep until " + c.at(d.Next)
		case f.Settings.WakeOnActivity:
			return "asleep until used"
		}
		return "asleep until started"
	case policy.Stopped:
		return "stopped by a command"
	case policy.NotOurs:
		return "made zero by others"
	case policy.HeldAsleep:
		return "held asleep until " + c.at(d.Next)
	case policy.Held:
		return "held awake until " + c.at(d.Next)
	case policy.Starting:
		return "fails at " + c.at(d.Next)
	case policy.RollingOut:
		return "awake for a rollout"
	case policy.Awake, policy.Grouped:
		return string(d.Reason) // Next is when another reason comes
	}
	if d.Next.IsZero() {
		return string(d.Reason)
	}
	return fmt.Sprintf("%s until %s", d.Reason, c.at(d.Next))
}
