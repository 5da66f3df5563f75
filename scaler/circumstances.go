package scaler

import (
	"fmt"
	"slices"
	"strings"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

func (t telling) leases() string {
	if len(t.Leases) == 0 {
		return ""
	}
	return "Leases: " + listed(t.Leases, func(l activity.Lease) string { return fmt.Sprintf("%s until %s", l.Holder, t.f.In(l.Until, t.now)) }) + "."
}

func (t telling) hold() string {
	hold, reason := t.f.Hold, t.Decision.Reason
	if !hold.Holds(t.now) {
		return ""
	}
	if reason == policy.HeldAsleep && t.mark.Hold.Since.Equal(t.mark.Asleep) {
		return ""
	}
	if reason == policy.Held || reason == policy.HeldAsleep {
		return fmt.Sprintf("The hold was ordered at %s.", t.f.Ago(hold.Since, t.now))
	}
	return fmt.Sprintf("It is held %s until %s%s, ordered at %s; that does not count now.",
		hold, t.f.In(hold.Until, t.now), policy.ByWhom(hold.Actor, hold.Reason), t.f.Ago(hold.Since, t.now))
}

func (t telling) pause() string {
	p := t.f.Paused
	if p.Scope == "" || t.Decision.Reason == policy.Paused {
		return ""
	}
	return fmt.Sprintf("There is a pause of %s%s, since %s: once it is awake, it is not put to sleep.", p.Scope, policy.ByWhom(p.Actor, p.Reason), t.f.Ago(p.Since, t.now))
}

func (t telling) windows() string {
	windows := t.f.Settings.KeepWarm
	end, inside := windows.Until(t.now)
	next := windows.Next(end)
	switch {
	case inside && t.Decision.Reason == policy.KeepWarm && next.IsZero():
		return ""
	case inside && t.Decision.Reason == policy.KeepWarm:
		return fmt.Sprintf("It is kept warm again from %s on.", t.f.At(next, t.now))
	case inside:
		return fmt.Sprintf("It is to be kept warm now, until %s.", t.f.In(end, t.now))
	case t.Decision.Reason != policy.Asleep && !next.IsZero():
		return fmt.Sprintf("It is kept warm from %s on.", t.f.At(next, t.now))
	}
	return ""
}

func (t telling) sleepAt() string {
	next := t.f.Settings.SleepAt.Next(t.now)
	if next.IsZero() {
		return ""
	}
	return fmt.Sprintf("Its sleep-at is due next at %s.", t.f.In(next, t.now))
}

func (t telling) group() string {
	settings := t.f.Settings
	if settings.Group == "" {
		return ""
	}
	text := fmt.Sprintf("It is alone in its group %s", settings.Group)
	if len(t.Mates) > 0 {
		text = fmt.Sprintf("It is in the group %s with %s", settings.Group, listed(t.Mates, func(mate *Server) string {
			if mate.Replicas == 0 {
				return mate.ID.Name + " (at zero)"
			}
			return mate.ID.Name + " (awake)"
		}))
	}
	if len(settings.After) > 0 {
		text += ", and wakes after " + listed(settings.After, func(name string) string { return name })
	}
	return text + "."
}

func (t telling) rival() string {
	r, reason := t.mark.Reverts, t.Decision.Reason
	switch {
	case t.f.Rival != "" && reason != policy.Autoscaled:
		return fmt.Sprintf("It is scaled by %s too: %s.", t.f.Rival, policy.Advice(t.f.Rival))
	case reason == policy.Contended, !r.Counts(t.f.Settings.Digest):
		return ""
	}
	return fmt.Sprintf("It was woken at %s by %s, after it was put to sleep and without anybody asking for it. After %d times in a row it is not put to sleep any more. What to do: %s.",
		t.f.Ago(r.Since, t.now), policy.Writer(r.Writer), policy.MaxReverts, policy.Advice(r.Writer))
}

func (t telling) lastChange() string {
	last := t.mark.Last
	if last.ID == "" || t.toldInHeadline() {
		return ""
	}
	what := fmt.Sprintf("%s from %d to %s", last.Type, last.From, counted(last.To, "replica"))
	switch last.Type {
	case Unchanged:
		what = "left at " + counted(last.To, "replica")
	case Failed:
		what = "noted as failed"
	}
	text := fmt.Sprintf("Its last change was at %s: %s%s", t.f.Ago(last.At, t.now), what, because(last))
	if last.Text != "" {
		text += ": " + last.Text
	}
	return text + "."
}

// because says what made it happen.
func because(e Event) string {
	switch e.Cause {
	case CauseIdle:
		return ", because it was unused"
	case CauseSchedule:
		return ", by its sleep-at"
	case CauseActivity:
		return ", by a ping"
	case CauseLease:
		return ", by a lease"
	case CauseKeepWarm:
		return ", to be kept warm"
	case CauseGroup:
		return ", with its group"
	case CauseHold:
		return ", by a hold"
	case CauseCommand:
		return ", by a command" + sender(e)
	case CauseExternal:
		return ", by " + policy.Writer(e.Actor)
	}
	return ""
}

// sender says who sent a command, and why; nothing when they did not say.
func sender(e Event) (text string) {
	if e.Actor != "" {
		text = fmt.Sprintf(" of %q", e.Actor)
	}
	return text + policy.ByWhom("", e.Reason)
}

// settings names those that are written somewhere, and where.
func (t telling) settings() string {
	var written []string
	for _, setting := range policy.Table {
		if source := t.Server.Sources[setting.Key]; source != "" {
			written = append(written, fmt.Sprintf("%s: %s (%s)", setting.Key, setting.Text(&t.f.Settings), source))
		}
	}
	slices.Sort(written)
	if len(written) == 0 || t.f.Bad != nil { // those that can't be read are not in force
		return ""
	}
	return "Settings: " + strings.Join(written, ", ") + "."
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
