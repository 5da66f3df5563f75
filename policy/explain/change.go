package explain

import (
	"fmt"
	"strings"
	"time"

	"idle-scaler/policy"
)

// Change is something that happened to a server, as an event or the mark on its Deployment has it.
type Change struct {
	Type     string
	At       time.Time
	From, To int // replicas
	Cause    policy.Cause
	Actor    string // who asked, as it said itself; of an external change the field manager
	Command  string // the id of the command, as its sender named it
	Reason   string // why it was asked for, in the words of the actor
	Text     string
	Took     time.Duration // zero: nothing that took long
}

// String says what happened and why: `2 → 0 replicas, by a command of "ann" ("too loud")`.
func (c Change) String() string {
	var replicas, command, took string
	switch {
	case c.From != c.To:
		replicas = fmt.Sprintf("%d → %s", c.From, Count(c.To, "replica"))
	case c.To > 0:
		replicas = Count(c.To, "replica")
	}
	if c.Command != "" {
		command = "command " + c.Command
	}
	if c.Took > 0 {
		took = "after " + c.Took.Round(time.Millisecond).String()
	}
	return Joined(": ", Joined(", ", replicas, c.because(), command, took), c.Text)
}

// because says what made it happen.
func (c Change) because() string {
	switch c.Cause {
	case policy.CauseIdle, policy.CauseSchedule: // the text says it, with the times
		return ""
	case policy.CauseActivity:
		return "by a ping"
	case policy.CauseLease:
		return "by a lease"
	case policy.CauseKeepWarm:
		return "to be kept warm"
	case policy.CauseGroup:
		return "with its group"
	case policy.CauseHold:
		return "by a hold" + sender(" of ", c.Actor, c.Reason)
	case policy.CauseCommand:
		return Command(c.Actor, c.Reason)
	case policy.CauseExternal:
		return "by " + Writer(c.Actor)
	}
	return ""
}

// Command says who sent a command, and why.
func Command(actor, reason string) string { return "by a command" + sender(" of ", actor, reason) }

// Unused says that a server is idle, and by which setting.
func Unused(idle, idleAfter time.Duration) string {
	return fmt.Sprintf("unused for %s, its idle-after is %s", Span(idle), policy.FormatDuration(idleAfter))
}

// Scheduled says that a server sleeps by its sleep-at.
func Scheduled(idle time.Duration) string { return "its sleep-at came, unused for " + Span(idle) }

// Held says that a hold keeps a server awake, or asleep.
func Held(h policy.Hold) string { return fmt.Sprintf("held %s until %s", h, Instant(h.Until)) }

// EndsHold says which hold a new order ends; nothing if there is none.
func EndsHold(h policy.Hold) string {
	if h.Until.IsZero() {
		return ""
	}
	return fmt.Sprintf("ends the hold %s until %s%s", h, Instant(h.Until), By(h.Actor, h.Reason))
}

// EndsStop says which stop a new order ends.
func EndsStop(at time.Time) string { return "ends the stop of " + Instant(at) }

// SleepsSoon says that a server gets its notice.
func SleepsSoon(at time.Time) string {
	return fmt.Sprintf("sleeps at %s or later, unless a ping or a lease comes before", Instant(at))
}

// WaitsFor says which servers a start waits for.
func WaitsFor(names []string) string {
	return fmt.Sprintf("wakes as soon as %s %s ready", strings.Join(names, ", "), is(names))
}

// WokenByOthers says that somebody else has raised a server that slept, and whether that was the
// first revert.
func WokenByOthers(revert bool) string {
	const text = "somebody else set its replicas while it was asleep"
	if !revert {
		return text
	}
	return fmt.Sprintf("%s, and nobody had asked for it; after %d times in a row it is not put to sleep any more",
		text, policy.MaxReverts)
}

// LeftAsItIs says what is wrong with the settings of a server, or with the order of its group.
func LeftAsItIs(wrong string) string {
	return "left as it is: " + strings.ReplaceAll(wrong, "\n", "; ")
}

// NotReady says that a server that began to start at an instant has missed its start deadline.
func NotReady(began time.Time, deadline time.Duration) string {
	return fmt.Sprintf("not ready within the start-deadline of %s since %s",
		policy.FormatDuration(deadline), Instant(began))
}
