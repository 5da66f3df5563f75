package policy

import (
	"fmt"
	"strings"
	"time"
)

// Explain says in one sentence why the decision is what it is, and when it may change. Times of the day are those of the server's
// zone, with the date unless that is today.
func (d Decision) Explain(f *Facts, now time.Time) string {
	c := clockOf(f, now)
	if f.Bad != nil && d.Reason == Unreadable {
		return "left as it is: its settings can't be read: " + strings.ReplaceAll(f.Bad.Error(), "\n", "; ")
	}
	if f.Replicas == 0 {
		return d.explainAsleep(f, c)
	}
	return d.explainAwake(f, c)
}

func (d Decision) explainAwake(f *Facts, c clock) string {
	stays := "stays awake" + c.until(d.Next) + ": "
	switch d.Reason {
	case Unreadable:
		return stays + f.Group.Bad
	case Paused:
		if f.Paused.Scope == "" {
			return stays + "its setting paused says so"
		}
		return fmt.Sprintf("%sthere is a pause of %s%s%s%s; resume ends it", stays, f.Paused.Scope, by(f.Paused.Actor), c.when("since", f.Paused.Since), because(f.Paused.Reason))
	case Held:
		return fmt.Sprintf("%sheld awake%s%s", stays, by(f.Hold.Actor), because(f.Hold.Reason))
	case Contended:
		return stays + f.Reverts.Explain()
	case Autoscaled:
		return fmt.Sprintf("%s%s scales it; %s", stays, f.Rival, Advice(f.Rival))
	case HeldAsleep:
		return fmt.Sprintf("sleeps at the next sweep: held asleep%s%s%s", by(f.Hold.Actor), c.until(d.Next), because(f.Hold.Reason))
	case Blind:
		if f.Sight.Blind != "" {
			return stays + f.Sight.Blind
		}
		return fmt.Sprintf("%sthe activity log goes back only to %s, less than its idle-after of %s", stays, c.at(f.Sight.Born), span(f.Settings.IdleAfter))
	case Leased:
		return stays + "a lease on it is live"
	case KeepWarm:
		return stays + "it is kept warm"
	case Starting:
		return stays + "it is starting; if it gets late, it counts as failed"
	case RollingOut:
		return "stays awake: a rollout is under way"
	case MinAwake:
		return stays + "it was woken a moment ago"
	case Grouped:
		return fmt.Sprintf("stays awake with its group %s%s: %s%s", f.Settings.Group, c.until(d.Sleeps), f.Group.wants(), d.told())
	case Ordered:
		return fmt.Sprintf("sleeps after %s, which %s still awake", strings.Join(f.Group.Before, ", "), is(f.Group.Before))
	case Noticing:
		if d.Sleeps.IsZero() { // keep-warm begins before
			return stays + "it was told that it sleeps soon"
		}
		return fmt.Sprintf("sleeps at %s unless a ping or a lease comes before, as was told", c.in(d.Sleeps))
	case SleepAt, Idle:
		return d.explainSleep(f, c)
	}
	return d.explainUse(f, c)
}

func (d Decision) explainSleep(f *Facts, c clock) string {
	what := "sleeps at the next sweep"
	switch d.Action {
	case WouldSleep:
		what = "would sleep, but for dry-run"
	case Notify:
		what = fmt.Sprintf("the next sweep tells that it sleeps %s later", span(f.Settings.SleepNotice))
	}
	if d.Reason == SleepAt {
		return fmt.Sprintf("%s: its sleep-at was due at %s, and it was not used since", what, c.at(f.Settings.SleepAt.Next(f.IdleSince())))
	}
	return what + ": " + Unused(d.Idle, f.Settings.IdleAfter)
}

// explainUse says what keeps a server awake that is in use, or never sleeps by silence.
func (d Decision) explainUse(f *Facts, c clock) string {
	why := "its idle-after is never"
	if f.Settings.IdleAfter != Never {
		why = fmt.Sprintf("unused for %s of its idle-after of %s", Span(d.Idle), span(f.Settings.IdleAfter))
	}
	window := f.Settings.KeepWarm.Next(c.now)
	switch {
	case !d.Sleeps.IsZero() && f.Settings.SleepAt.Next(later(f.IdleSince(), c.now)).Equal(d.Sleeps):
		why += ", and its sleep-at is due then"
	case d.Sleeps.IsZero() && f.Group.Wanted != "":
		why += ", and " + f.Group.wants()
	case d.Sleeps.IsZero() && !window.IsZero():
		why += fmt.Sprintf(", and it is kept warm from %s on", c.in(window))
	}
	return fmt.Sprintf("stays awake%s: %s%s", c.until(d.Sleeps), why, d.told())
}

// told says that the notice of the sleep to come is due.
func (d Decision) told() string {
	if d.Action == Notify {
		return ", which the next sweep tells"
	}
	return ""
}

func (d Decision) explainAsleep(f *Facts, c clock) string {
	stays := "stays at zero" + c.until(d.Next) + ": "
	switch d.Reason {
	case Started:
		return "wakes: a command has started it"
	case NotOurs:
		return stays + "somebody else made it zero; " + d.wakes(f, c)
	case HeldAsleep:
		return fmt.Sprintf("%sheld asleep%s%s", stays, by(f.Hold.Actor), because(f.Hold.Reason))
	case Held:
		return fmt.Sprintf("wakes: held awake%s%s%s", by(f.Hold.Actor), c.until(d.Next), because(f.Hold.Reason))
	case Stopped:
		return fmt.Sprintf("%sa command stopped it%s; %s", stays, c.when("at", f.AsleepSince), d.wakes(f, c))
	case Leased:
		return "wakes: a lease on it is live" + c.until(d.Next)
	case Activity:
		return fmt.Sprintf("wakes: it was used at %s", c.at(f.Use.Last.Time))
	case Blind:
		return stays + f.Sight.Blind
	case KeepWarm:
		return "wakes: it is kept warm" + c.until(d.Next)
	case Grouped:
		return fmt.Sprintf("wakes with its group %s: %s", f.Settings.Group, f.Group.wants())
	case Ordered:
		return fmt.Sprintf("wakes as soon as %s %s ready", strings.Join(f.Group.Waiting, ", "), is(f.Group.Waiting))
	}
	return fmt.Sprintf("sleeps%s%s; %s", c.when("since", f.AsleepSince), causes[f.Because], d.wakes(f, c))
}

// Wakes says what would wake a server that stays at zero because it sleeps, was stopped, or is somebody else's; nothing for others.
func (d Decision) Wakes(f *Facts, now time.Time) string { return d.wakes(f, clockOf(f, now)) }

func (d Decision) wakes(f *Facts, c clock) string {
	switch d.Reason {
	case NotOurs:
		return "a start command wakes it"
	case Stopped:
		return "a start or scale command, or a hold awake, wakes it"
	case Asleep:
	default:
		return ""
	}
	wakes := "a ping, a lease or a start command wakes it"
	if !f.Settings.WakeOnActivity {
		wakes = "a start command wakes it, and no ping: its setting wake-on-activity says so"
	}
	if !d.Next.IsZero() {
		wakes += ", and so does keep-warm at " + c.in(d.Next)
	}
	return wakes
}

// causes say why a server was put to sleep.
var causes = map[Because]string{
	BecauseIdle: ", because it was unused", BecauseSchedule: ", by its sleep-at", BecauseHold: ", by a hold that is over",
}

// Short says in a few words what comes next, for lists: the rule when nothing comes by itself.
func (d Decision) Short(f *Facts, now time.Time) string {
	c := clockOf(f, now)
	switch {
	case d.Action == WouldSleep:
		return "would sleep"
	case d.Action == Sleep:
		return "sleeps now"
	case d.Action == Wake:
		return "wakes now"
	case d.Action == Notify && d.Sleeps.IsZero():
		return "sleeps soon"
	case !d.Sleeps.IsZero():
		return "sleeps in " + Span(d.Sleeps.Sub(now))
	case d.Reason == Ordered && f.Replicas > 0:
		return "sleeps after " + strings.Join(f.Group.Before, ", ")
	case d.Reason == Ordered:
		return "waits for " + strings.Join(f.Group.Waiting, ", ")
	case d.Reason == Asleep && !d.Next.IsZero():
		return "wakes at " + c.at(d.Next)
	case d.Next.IsZero() || d.Reason == Awake || d.Reason == Grouped || d.Reason == RollingOut: // Next is when another reason comes
		return string(d.Reason)
	}
	return fmt.Sprintf("%s until %s", d.Reason, c.at(d.Next))
}
