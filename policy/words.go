package policy

import (
	"fmt"
	"strings"
	"time"
)

// clock says times as somebody would who looks at it.
type clock struct {
	now  time.Time
	zone *time.Location
}

func clockOf(f *Facts, now time.Time) clock {
	if f.Settings.TimeZone == nil {
		return clock{now, time.UTC}
	}
	return clock{now, f.Settings.TimeZone}
}

// at is the time of the day, with the date unless it is today, and seconds unless there are none.
func (c clock) at(t time.Time) string {
	t = t.In(c.zone)
	layout := "15:04"
	if t.Second() != 0 {
		layout = time.TimeOnly
	}
	if t.Format(time.DateOnly) != c.now.In(c.zone).Format(time.DateOnly) {
		layout = "Mon 2006-01-02 " + layout
	}
	return t.Format(layout) + " " + c.zone.String()
}

// in is at, and how long it is until then.
func (c clock) in(t time.Time) string { return fmt.Sprintf("%s (in %s)", c.at(t), Span(t.Sub(c.now))) }

// until says until when, nothing when that is not known.
func (c clock) until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + c.in(t)
}

// when says when something happened, nothing when that is not known: the mark of a Deployment can get lost.
func (c clock) when(preposition string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf(" %s %s", preposition, c.at(t))
}

// span is a duration in whole seconds, without the zeros that time.Duration has at its end: 30m, not 30m0s.
func span(d time.Duration) string {
	text := d.Round(time.Second).String()
	for _, zero := range [...]string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func by(actor string) string {
	if actor == "" {
		return ""
	}
	return fmt.Sprintf(" by %q", actor)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", reason)
}

func is(names []string) string {
	if len(names) == 1 {
		return "is"
	}
	return "are"
}

// wants says which other server of the group has to be awake, and why.
func (g *Group) wants() string {
	why, ok := wants[g.Why]
	if !ok {
		why = string(g.Why)
	}
	return fmt.Sprintf("%s has to be awake (%s)", g.Wanted, why)
}

// wants are the reasons why a server has to be awake, where their names alone do not say it.
var wants = map[Reason]string{
	Unreadable: "its settings can't be read", Held: "held awake", Autoscaled: "scaled by somebody else", Leased: "a lease", Awake: "in use",
	Noticing: "about to sleep", Starting: "starting", RollingOut: "a rollout", MinAwake: "woken a moment ago", Started: "started", Activity: "a ping",
}
