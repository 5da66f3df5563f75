package scaler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// Tell says all there is to say about a server, as a person would: what it does, why and what would change that, and then the rest, a
// line each. Of what there is not, nothing is said.
func (v View) Tell(now time.Time) string {
	t := telling{v, &v.Facts, v.Server.Mark, now}
	lines := []string{
		t.headline(), t.why(), t.broken(), t.used(), t.leases(), t.hold(), t.pause(), t.windows(), t.sleepAt(),
		t.group(), t.rival(), t.lastChange(), t.settings(),
	}
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return line == "" }), "\n")
}

// telling is a View that is told at an instant.
type telling struct {
	View
	f    *policy.Facts
	mark Mark
	now  time.Time
}

func (t telling) headline() string {
	s := t.Server
	is := func(format string, args ...any) string {
		return fmt.Sprintf("%s is %s.", s.ID, fmt.Sprintf(format, args...))
	}
	switch t.Status {
	case StatusRunning:
		return is("running with %s", counted(s.Replicas, "replica"))
	case StatusScaling:
		return is("running with %d of %s ready", s.Ready, counted(s.Replicas, "replica"))
	case StatusPending:
		return is("starting, with none of %s ready yet", counted(s.Replicas, "replica"))
	case StatusFailed:
		return fmt.Sprintf("%s has failed: %s.", s.ID, t.Why)
	}
	if !s.Ours && !s.waits() {
		return is("at zero replicas, set by %s", zeroer(s.Writer))
	}
	since := ""
	if !t.mark.Asleep.IsZero() {
		since = " since " + t.f.Ago(t.f.AsleepSince, t.now)
	}
	slept := t.mark.Last
	if !t.toldInHeadline() {
		slept = Event{}
	}
	switch s.Mark.Because {
	case policy.BecauseCommand:
		return is("stopped%s, by a command%s", since, sender(slept))
	case policy.BecauseAfter:
		return is("at zero replicas, and about to wake: a command has started it")
	case policy.BecauseHold:
		return is("held asleep%s", since)
	case policy.BecauseIdle, policy.BecauseSchedule:
		if slept.Text != "" {
			return is("asleep%s: %s", since, slept.Text)
		}
		return is("asleep%s", since)
	}
	return is("asleep%s; why is not known, its marks are gone", since)
}

// toldInHeadline reports whether the last change is the one that put the server to zero.
func (t telling) toldInHeadline() bool {
	return t.Server.Replicas == 0 && !t.mark.Asleep.IsZero() && t.mark.Last.Type == Slept
}

func (t telling) why() string {
	if wakes := t.Decision.Wakes(t.f, t.now); wakes != "" { // since when it is at zero, and why, is in the headline
		return strings.ToUpper(wakes[:1]) + wakes[1:] + "."
	}
	sentence := t.Decision.Explain(t.f, t.now)
	if strings.HasPrefix(sentence, "left ") {
		sentence = "is " + sentence
	}
	return strings.TrimSpace("It " + sentence + ". " + t.change())
}

// change says what would change the decision, where the decision does not say it itself.
func (t telling) change() string {
	switch t.Decision.Reason {
	case policy.Unreadable:
		return "Correct that, and the other rules count again."
	case policy.HeldAsleep:
		return "A release, a start or a hold awake ends that."
	case policy.Blind:
		return "Nothing is put to sleep while silence proves nothing."
	}
	if t.Server.Replicas == 0 || t.Decision.Action == policy.Wake {
		return ""
	}
	then := ""
	if after := t.f.Settings.IdleAfter; after != policy.Never {
		then = fmt.Sprintf("it sleeps as soon as it is unused for %s.", policy.Span(after))
	}
	switch t.Decision.Reason {
	case policy.Paused:
		if t.f.Paused.Scope == "" {
			return "Take that setting away to let it sleep."
		}
	case policy.Held:
		return "A release, a stop or a hold asleep ends that."
	case policy.Leased, policy.KeepWarm, policy.MinAwake:
		if then != "" {
			return "After that, " + then
		}
	case policy.Starting:
		if then != "" {
			return "Once it is ready, " + then
		}
	case policy.RollingOut:
		if then != "" {
			return "Once that is done, " + then
		}
	case policy.Grouped:
		return "The group sleeps when none of it is in use."
	case policy.Idle, policy.SleepAt, policy.Awake:
		switch {
		case t.Decision.Action == policy.WouldSleep:
			return "Take the setting dry-run away to let it."
		case t.Decision.Action != policy.Keep:
			return "A ping or a lease before that keeps it awake."
		case then != "":
			return "A ping or a lease starts that time anew."
		case t.Decision.Sleeps.IsZero():
			return "Only an order puts it to sleep, or another idle-after."
		}
	}
	return ""
}

// broken says what is wrong with the settings, or the order of the group, when something else counts more.
func (t telling) broken() string {
	switch {
	case t.Decision.Reason == policy.Unreadable:
		return ""
	case t.f.Bad != nil:
		return "Its settings can't be read: " + strings.ReplaceAll(t.f.Bad.Error(), "\n", "; ") + "."
	case t.f.Group.Bad != "":
		return "The order of its group can't be kept: " + t.f.Group.Bad + "."
	}
	return ""
}

func (t telling) used() string {
	used := "Nobody has ever used it, as far as the activity log goes back."
	if last := t.f.Use.Last.Time; !last.IsZero() {
		used = fmt.Sprintf("It was last used at %s.", t.f.Ago(last, t.now))
	}
	start := t.f.IdleSince()
	clockless := t.f.Settings.IdleAfter == policy.Never && t.f.Settings.SleepAt == nil
	if clockless || t.Server.Replicas == 0 || start.After(t.now) {
		return used
	}
	since := "then"
	if !start.Equal(t.f.Use.Last.Time) {
		since = fmt.Sprintf("%s, %s", t.f.Ago(start, t.now), t.clockStarted(start))
	}
	deaf := ""
	if lost := t.now.Sub(start) - t.Decision.Idle; lost >= time.Second {
		deaf = fmt.Sprintf("; %s of that does not count, because the activity log could not be heard", policy.Span(lost))
	}
	return fmt.Sprintf("%s Its idle clock runs since %s%s.", used, since, deaf)
}

// clockStarted says what the idle clock runs from.
func (t telling) clockStarted(start time.Time) string {
	for _, at := range []struct {
		time time.Time
		what string
	}{
		{t.f.Use.LeaseUntil, "when the last lease on it ended"},
		{t.f.ReadySince, "when its first replica got ready"},
		{t.f.AwakeSince, "when it was last woken or asked for"},
		{t.f.Sight.Born, "when the activity log began"},
	} {
		if at.time.Equal(start) {
			return at.what
		}
	}
	return "when it was made"
}

// mostListed is how many holders of leases, mates of a group or dependencies are named.
const mostListed = 5

// Explain says in words why a server is treated as it is, and what comes next.
func (v View) Explain(now time.Time) string {
	sentence := v.Decision.Explain(&v.Facts, now)
	if v.Decision.Reason == policy.Leased && len(v.Leases) > 0 {
		sentence += ", held by " + listed(v.Leases, func(l activity.Lease) string { return l.Holder })
	}
	return sentence
}

// listed names some of what may be many.
func listed[T any](all []T, name func(T) string) string {
	names := make([]string, 0, mostListed+1)
	for _, one := range all[:min(len(all), mostListed)] {
		names = append(names, name(one))
	}
	if more := len(all) - mostListed; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
