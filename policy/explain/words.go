// Package explain writes every sentence that a person reads about a server: why it is awake or
// asleep, what comes next, what happened to it, and who else writes to it. [Page] says all of that,
// [Decision] and [Short] say what one decision means, and [Change] says what an event or the last
// change of a server was.
//
// Times of the day are those of the server's zone, always with their seconds, and with the date
// unless it is today. Events name instants in RFC 3339 instead, because whoever reads them later
// does not know the zone. All functions are pure.
package explain

import (
	"fmt"
	"strings"
	"time"

	"idle-scaler/policy"
)

// clock says times as somebody would who looks at it.
type clock struct {
	now  time.Time
	zone *time.Location
}

func clockOf(f *policy.Facts, now time.Time) clock {
	if f.Settings.TimeZone == nil {
		return clock{now, time.UTC}
	}
	return clock{now, f.Settings.TimeZone}
}

// at is the time of the day, with the date unless it is today.
func (c clock) at(t time.Time) string {
	t = t.In(c.zone)
	layout := time.TimeOnly
	if t.Format(time.DateOnly) != c.now.In(c.zone).Format(time.DateOnly) {
		layout = "Mon 2006-01-02 " + layout
	}
	return t.Format(layout) + " " + c.zone.String()
}

// in is at, and how long it is until then.
func (c clock) in(t time.Time) string { return fmt.Sprintf("%s (in %s)", c.at(t), Span(t.Sub(c.now))) }

// ago is at, and how long ago that was.
func (c clock) ago(t time.Time) string {
	return fmt.Sprintf("%s (%s ago)", c.at(t), Span(c.now.Sub(t)))
}

// until says until when, nothing when that is not known.
func (c clock) until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + c.in(t)
}

// since says since when, nothing when that is not known: the mark of a Deployment can get lost.
func (c clock) since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + c.at(t)
}

// Instant is an instant as events say it.
func Instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Span says a duration in the two units that matter: 3d4h, 1h30m, 4m12s.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(0, d); {
	case d >= day && d%day < time.Hour:
		return fmt.Sprintf("%dd", d/day)
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		d = d.Truncate(time.Minute)
	}
	return policy.FormatDuration(d)
}

// Count says how many there are of something: "1 replica", "2 replicas".
func Count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// By says who ordered something, and why, in their own words; nothing when they did not say.
func By(actor, reason string) string { return sender(" by ", actor, reason) }

func sender(preposition, actor, reason string) (text string) {
	if actor != "" {
		text = fmt.Sprintf("%s%q", preposition, actor)
	}
	if reason != "" {
		text += fmt.Sprintf(" (%q)", reason)
	}
	return text
}

// Joined joins the parts of a sentence that there are.
func Joined(separator string, parts ...string) string {
	var there []string
	for _, part := range parts {
		if part != "" {
			there = append(there, part)
		}
	}
	return strings.Join(there, separator)
}

// mostListed is how many holders of leases, mates of a group or dependencies are named.
const mostListed = 5

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

func is(names []string) string {
	if len(names) == 1 {
		return "is"
	}
	return "are"
}
