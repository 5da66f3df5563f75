package policy

import (
	"errors"
	"fmt"
	"time"
)

// MaxHold is the longest hold.
const MaxHold = 30 * 24 * time.Hour

// Hold is an explicit order that a server stays awake, or asleep, until an instant.
type Hold struct {
	Asleep bool
	Since  time.Time
	Until  time.Time // zero: there is no hold
	Actor  string    // who ordered it, as it said itself
	Reason string    // why, in its words
}

// Holds reports whether the hold is in force.
func (h Hold) Holds(now time.Time) bool { return h.Until.After(now) }

// String is "awake" or "asleep", as in "held awake".
func (h Hold) String() string {
	if h.Asleep {
		return "asleep"
	}
	return "awake"
}

// ParseUntil reads until when a hold lasts that begins at from: a duration like "2h", the next time
// that a clock in the zone shows "18:00", or an instant like "2026-01-02T18:00:00Z".
func ParseUntil(text string, from time.Time, zone *time.Location) (time.Time, error) {
	until, err := parseUntil(text, from, zone)
	switch {
	case err != nil:
		return time.Time{}, errors.New(`write until when, as a duration like "2h", a time of the day like "18:00", ` +
			`or an instant like "2026-01-02T18:00:00Z"`)
	case !until.After(from):
		return time.Time{}, fmt.Errorf("%s is not in the future", until.UTC().Format(time.RFC3339))
	case until.After(from.Add(MaxHold)):
		return time.Time{}, fmt.Errorf("more than %s ahead: hold it for less, "+
			"or write the annotation idle-scaler/idle-after: never", FormatDuration(MaxHold))
	}
	return until, nil
}

func parseUntil(text string, from time.Time, zone *time.Location) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return from.Add(d), nil
	}
	if clock, err := time.Parse("15:04", text); err == nil {
		daily, err := parseSchedule(fmt.Sprintf("%d %d * * *", clock.Minute(), clock.Hour()), zone)
		return daily.Next(from), err
	}
	return time.Parse(time.RFC3339, text)
}
