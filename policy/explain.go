package policy

import (
	"fmt"
	"strings"
	"time"
)

// Explain says in one sentence why the decision is what it is, and when it may change.
func (d Decision) Explain(f *Facts, now time.Time) string {
	switch d.Reason {
	case Unreadable:
		return fmt.Sprintf("left as it is: its settings can't be read: %s", strings.ReplaceAll(f.Bad.Error(), "\n", "; "))
	case Paused:
		return "stays awake: its annotation idle-scaler/paused says so"
	case Blind:
		if f.Sight.Blind != "" {
			return fmt.Sprintf("left as it is: %s%s", f.Sight.Blind, until(d.Next, now))
		}
		return fmt.Sprintf("stays awake: the activity log tells only of the time since %s, which is shorter than its idle-after of %s%s",
			clock(f.Sight.Born), f.Settings.IdleAfter, until(d.Next, now))
	case Leased:
		if d.Action == Wake {
			return fmt.Sprintf("wakes: a lease on it is live until %s", clock(f.Use.LeaseUntil))
		}
		return fmt.Sprintf("stays awake: a lease on it is live%s", until(d.Next, now))
	case Starting:
		return fmt.Sprintf("stays awake: it is starting%s, after which it counts as failed", until(d.Next, now))
	case RollingOut:
		return "stays awake: a rollout is under way"
	case MinAwake:
		return fmt.Sprintf("stays awake: it was woken a moment ago%s", until(d.Next, now))
	case Idle:
		return fmt.Sprintf("sleeps at the next sweep: unused for %s, its idle-after is %s", d.Idle.Round(time.Second), f.Settings.IdleAfter)
	case Awake:
		if f.Settings.IdleAfter == Never {
			return "stays awake: its idle-after is never"
		}
		return fmt.Sprintf("stays awake: unused for %s of its idle-after of %s%s", d.Idle.Round(time.Second), f.Settings.IdleAfter, until(d.Next, now))
	case NotOurs:
		return "stays at zero: somebody else made it zero; a start command wakes it"
	case Stopped:
		return fmt.Sprintf("stays at zero: a command stopped it%s, which lasts until a start or scale command", when("at", f.AsleepSince))
	case Activity:
		return fmt.Sprintf("wakes: it was used at %s", clock(f.Use.LastAt))
	}
	wakes := "a ping, a lease or a start command wakes it"
	if !f.Settings.WakeOnActivity {
		wakes = "a start command wakes it, and no ping: its annotation idle-scaler/wake-on-activity says so"
	}
	return fmt.Sprintf("sleeps%s; %s", when("since", f.AsleepSince), wakes)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// when says when something happened, nothing when that is not known: the mark of a Deployment can get lost.
func when(preposition string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf(" %s %s", preposition, clock(t))
}

// until says when a decision may change, nothing when that is not known.
func until(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf(", until %s (in %s)", clock(t), t.Sub(now).Round(time.Second))
}
