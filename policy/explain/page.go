package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// Server is what there is to say about a server.
type Server struct {
	Name     string
	Status   policy.Status
	Failure  string // of one that has failed
	Facts    *policy.Facts
	Decision policy.Decision
	Writer   string // the field manager that set its replicas last
	Last     Change // the last that the daemon made; without a type there is none
	Leases   []activity.Lease
	Mates    []Mate                   // the others of its group
	Sources  map[string]policy.Source // where its settings are written
}

// Mate is another server of a group.
type Mate struct {
	Name  string
	Awake bool
}

// Page says all there is to say about a server, as a person would: what it does, why, and what
// would change that, and then the rest, a line each. It leaves out what there is not.
func Page(s Server, now time.Time) string {
	p := page{s, s.Facts, clockOf(s.Facts, now)}
	return Joined("\n", p.headline(), p.why(), p.broken(), p.used(), p.leases(), p.hold(), p.pause(), p.windows(),
		p.sleepAt(), p.group(), p.rival(), p.lastChange(), p.settings())
}

// Why says in one sentence why a server is treated as it is, and what comes next.
func Why(s Server, now time.Time) string {
	sentence := Decision(s.Decision, s.Facts, now)
	if s.Decision.Reason == policy.Leased && len(s.Leases) > 0 {
		sentence += ", held by " + listed(s.Leases, func(l activity.Lease) string { return l.Holder })
	}
	return sentence
}

type page struct {
	Server
	f *policy.Facts
	c clock
}

func (p page) headline() string {
	is := func(format string, args ...any) string {
		return fmt.Sprintf("%s is %s.", p.Name, fmt.Sprintf(format, args...))
	}
	replicas := Count(p.f.Replicas, "replica")
	switch p.Status {
	case policy.StatusRunning:
		return is("running with %s", replicas)
	case policy.StatusScaling:
		return is("scaling, %d of %s ready", p.f.Ready, replicas)
	case policy.StatusPending:
		return is("pending, none of %s ready", replicas)
	case policy.StatusFailed:
		return fmt.Sprintf("%s has failed: %s.", p.Name, p.Failure)
	}
	since := ""
	if !p.f.AsleepSince.IsZero() {
		since = " since " + p.c.ago(p.f.AsleepSince)
	}
	slept := p.Last
	if !p.sleepIsLast() {
		slept = Change{}
	}
	switch {
	case p.f.Because == policy.BecauseAfter:
		return is("at zero, and about to wake: a command has started it")
	case !p.f.Ours:
		return is("at zero, set by %s", Zeroer(p.Writer))
	case p.f.Because == policy.BecauseCommand:
		return is("stopped%s, %s", since, Command(slept.Actor, slept.Reason))
	case p.f.Because == policy.BecauseHold:
		return is("held asleep%s", since)
	case p.f.Because == policy.BecauseUnknown:
		return is("asleep%s; why is not known, because its marks are gone", since)
	}
	return is("asleep%s", Joined(": ", since, slept.Text))
}

// sleepIsLast reports whether the last change is the one that put the server to zero, which the
// headline says.
func (p page) sleepIsLast() bool {
	return p.f.Replicas == 0 && !p.f.AsleepSince.IsZero() && p.Last.Type == "slept"
}

func (p page) why() string {
	if wakes := wakes(p.Decision, p.f, p.c); wakes != "" { // the headline says since when it is at zero, and why
		return strings.ToUpper(wakes[:1]) + wakes[1:] + "."
	}
	sentence := Decision(p.Decision, p.f, p.c.now)
	if strings.HasPrefix(sentence, "left ") {
		sentence = "is " + sentence
	}
	return Joined(" ", "It "+sentence+".", p.change())
}

// change says what would change the decision, where the decision does not say it itself.
func (p page) change() string {
	switch p.Decision.Reason {
	case policy.Unreadable:
		return "Correct that, and the other rules count again."
	case policy.HeldAsleep:
		return "A release, a start or a hold awake ends that."
	case policy.Blind:
		return "Nothing is put to sleep while silence proves nothing."
	}
	if p.f.Replicas == 0 || p.Decision.Action == policy.Wake {
		return ""
	}
	then := func(begin string) string {
		if p.f.Settings.IdleAfter == policy.Never {
			return ""
		}
		return fmt.Sprintf("%s it sleeps as soon as it is unused for %s.", begin, Span(p.f.Settings.IdleAfter))
	}
	switch p.Decision.Reason {
	case policy.Paused:
		if p.f.Paused.Scope == "" {
			return "Remove that setting to let it sleep."
		}
	case policy.Held:
		return "A release, a stop or a hold asleep ends that."
	case policy.Leased, policy.KeepWarm, policy.MinAwake:
		return then("After that,")
	case policy.Starting:
		return then("Once it is ready,")
	case policy.RollingOut:
		return then("After the rollout")
	case policy.Grouped:
		return "The group sleeps when none of it is in use."
	case policy.Idle, policy.SleepAt, policy.Awake:
		switch {
		case p.Decision.Action == policy.WouldSleep:
			return "Remove the setting dry-run to let it sleep."
		case p.Decision.Action != policy.Keep:
			return "A ping or a lease before that keeps it awake."
		case p.f.Settings.IdleAfter != policy.Never:
			return "A ping or a lease restarts its idle clock."
		case p.Decision.Sleeps.IsZero():
			return "Only an order puts it to sleep, or another idle-after."
		}
	}
	return ""
}

// broken says what is wrong with the settings, or the order of the group, when something else
// counts more.
func (p page) broken() string {
	switch {
	case p.Decision.Reason == policy.Unreadable:
		return ""
	case p.f.Bad != nil:
		return "Its settings can't be read: " + strings.ReplaceAll(p.f.Bad.Error(), "\n", "; ") + "."
	case p.f.Group.Bad != "":
		return "The order of its group can't be kept: " + p.f.Group.Bad + "."
	}
	return ""
}

func (p page) used() string {
	used := "Nobody has ever used it, as far as the activity log goes back."
	if last := p.f.Use.Last.Time; !last.IsZero() {
		used = fmt.Sprintf("It was last used at %s.", p.c.ago(last))
	}
	start := p.f.IdleSince()
	clockless := p.f.Settings.IdleAfter == policy.Never && p.f.Settings.SleepAt == nil
	if clockless || p.f.Replicas == 0 || start.After(p.c.now) {
		return used
	}
	since := "since then"
	if !start.Equal(p.f.Use.Last.Time) {
		since = fmt.Sprintf("since %s, %s", p.c.ago(start), p.clockStarted(start))
	}
	lost := ""
	if d := p.c.now.Sub(start) - p.Decision.Idle; d >= time.Second {
		lost = fmt.Sprintf("; %s of that does not count, because the activity log was not complete", Span(d))
	}
	return fmt.Sprintf("%s Its idle clock runs %s%s.", used, since, lost)
}

// clockStarted says what started the idle clock.
func (p page) clockStarted(start time.Time) string {
	switch {
	case start.Equal(p.f.Use.LeaseUntil):
		return "when the last lease on it ended"
	case start.Equal(p.f.ReadySince):
		return "when its first replica got ready"
	case start.Equal(p.f.AwakeSince):
		return "when it was last woken or asked for"
	case start.Equal(p.f.Coverage.CompleteSince):
		return "when the activity log began"
	}
	return "when it was made"
}

func (p page) leases() string {
	if len(p.Leases) == 0 {
		return ""
	}
	return "Leases: " + listed(p.Leases, func(l activity.Lease) string {
		return fmt.Sprintf("%s until %s", l.Holder, p.c.in(l.Until))
	}) + "."
}

func (p page) hold() string {
	hold, reason := p.f.Hold, p.Decision.Reason
	switch {
	case !hold.Holds(p.c.now), reason == policy.HeldAsleep && hold.Since.Equal(p.f.AsleepSince):
		return ""
	case reason == policy.Held, reason == policy.HeldAsleep:
		return fmt.Sprintf("The hold was ordered at %s.", p.c.ago(hold.Since))
	}
	return fmt.Sprintf("It is held %s until %s%s, ordered at %s; that does not count now.",
		hold, p.c.in(hold.Until), By(hold.Actor, hold.Reason), p.c.ago(hold.Since))
}

func (p page) pause() string {
	pause := p.f.Paused
	if pause.Scope == "" || p.Decision.Reason == policy.Paused {
		return ""
	}
	return fmt.Sprintf("There is a pause of %s%s since %s: once it is awake, it is not put to sleep.",
		pause.Scope, By(pause.Actor, pause.Reason), p.c.ago(pause.Since))
}

func (p page) windows() string {
	windows := p.f.Settings.KeepWarm
	end, inside := windows.Until(p.c.now)
	next := windows.Next(end)
	switch {
	case inside && p.Decision.Reason == policy.KeepWarm && next.IsZero():
		return ""
	case inside && p.Decision.Reason == policy.KeepWarm:
		return fmt.Sprintf("It is kept warm again from %s.", p.c.at(next))
	case inside:
		return fmt.Sprintf("It is to be kept warm now, until %s.", p.c.in(end))
	case p.Decision.Reason != policy.Asleep && !next.IsZero():
		return fmt.Sprintf("It is kept warm from %s.", p.c.at(next))
	}
	return ""
}

func (p page) sleepAt() string {
	next := p.f.Settings.SleepAt.Next(p.c.now)
	if next.IsZero() {
		return ""
	}
	return fmt.Sprintf("Its sleep-at comes next at %s.", p.c.in(next))
}

func (p page) group() string {
	name, after := p.f.Settings.Group, p.f.Settings.After
	if name == "" {
		return ""
	}
	text := "It is alone in its group " + name
	if len(p.Mates) > 0 {
		text = fmt.Sprintf("It is in the group %s with %s", name, listed(p.Mates, func(mate Mate) string {
			if mate.Awake {
				return mate.Name + " (awake)"
			}
			return mate.Name + " (at zero)"
		}))
	}
	if len(after) > 0 {
		text += ", and wakes after " + listed(after, func(name string) string { return name })
	}
	return text + "."
}

func (p page) rival() string {
	r, reason := p.f.Reverts, p.Decision.Reason
	switch {
	case p.f.Rival != "" && reason != policy.Autoscaled:
		return fmt.Sprintf("It is scaled by %s too: %s.", p.f.Rival, Advice(p.f.Rival))
	case reason == policy.Contended, !r.Counts(p.f.Settings.Digest):
		return ""
	}
	return fmt.Sprintf("It was woken at %s by %s, after it was put to sleep and without anybody asking for it. "+
		"After %d times in a row it is not put to sleep any more. What to do: %s.",
		p.c.ago(r.Since), Writer(r.Writer), policy.MaxReverts, Advice(r.Writer))
}

func (p page) lastChange() string {
	if p.Last.Type == "" || p.sleepIsLast() {
		return ""
	}
	return fmt.Sprintf("Its last change was at %s: %s.", p.c.ago(p.Last.At), Joined(", ", p.Last.Type, p.Last.String()))
}

// settings names those that are written somewhere, and where.
func (p page) settings() string {
	var written []string
	for _, setting := range policy.Table {
		if source := p.Sources[setting.Key]; source != "" {
			written = append(written, fmt.Sprintf("%s: %s (%s)", setting.Key, setting.Text(&p.f.Settings), source))
		}
	}
	if len(written) == 0 || p.f.Bad != nil { // those that can't be read are not in force
		return ""
	}
	slices.Sort(written)
	return "Settings: " + strings.Join(written, ", ") + "."
}

// Zeroer says whose field manager made a server zero. Kubernetes names no owner of a zero that
// kubectl scale has set.
func Zeroer(manager string) string {
	if manager == "" {
		return "somebody whom Kubernetes does not name (so it is after kubectl scale)"
	}
	return Writer(manager)
}
