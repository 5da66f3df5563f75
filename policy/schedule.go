package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when something is due, again and again.
type Schedule struct {
	cron cron.Schedule // of a clock that no zone ever sets, read as UTC
	zone *time.Location
	text string // as it was written
}

var parser = cron.NewParser(cron.SecondOptional |
	cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// ParseSchedule reads a cron expression of five fields, or six with seconds first, or a descriptor
// such as "@every 30s" or "@hourly". "CRON_TZ=Europe/Rome " before it sets the time zone; the
// default is UTC.
func ParseSchedule(expression string) (Schedule, error) { return parseSchedule(expression, time.UTC) }

// parseSchedule reads an expression. The zone counts unless the expression names another.
func parseSchedule(expression string, zone *time.Location) (Schedule, error) {
	fields := strings.Fields(expression)
	if len(fields) == 0 {
		return Schedule{}, errors.New(`empty schedule: write one like "@every 30s" or "*/5 * * * *"`)
	}
	zone, fields, err := cutZone(fields, zone)
	if err == nil {
		err = checkFields(fields)
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", expression, err)
	}
	c, err := parser.Parse("CRON_TZ=UTC " + strings.Join(fields, " "))
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", expression, err)
	}
	if c.Next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q never comes: check day and month", expression)
	}
	if _, interval := c.(cron.ConstantDelaySchedule); interval {
		zone = time.UTC // it looks at no clock
	}
	return Schedule{c, zone, strings.TrimSpace(expression)}, nil
}

// cutZone takes the time zone off the fields. robfig/cron would panic on a zone without fields, and
// without a zone it would take that of the process, so that one configuration would mean different
// times on two machines.
func cutZone(fields []string, zone *time.Location) (*time.Location, []string, error) {
	name, ok := strings.CutPrefix(fields[0], "CRON_TZ=")
	if !ok {
		name, ok = strings.CutPrefix(fields[0], "TZ=")
	}
	switch {
	case !ok:
		return zone, fields, nil
	case name == "" || name == "Local":
		return nil, nil, fmt.Errorf("%s names no time zone: write one like CRON_TZ=Europe/Rome", fields[0])
	case len(fields) == 1:
		return nil, nil, fmt.Errorf("it is only a time zone: write when after it, like %q", fields[0]+" 0 22 * * *")
	}
	named, err := time.LoadLocation(name)
	return named, fields[1:], err
}

// checkFields refuses what robfig/cron v3.0.1 misreads.
func checkFields(fields []string) error {
	if fields[0] == "@every" && len(fields) == 2 {
		// Anything below 1s would be 1s, and fractions would be cut off.
		if d, err := time.ParseDuration(fields[1]); err == nil && (d < time.Second || d%time.Second != 0) {
			return fmt.Errorf("%s: an interval is of whole seconds, and of at least one", fields[1])
		}
	}
	for _, field := range fields {
		if strings.Trim(field, ",") == "" { // would match nothing, which takes seconds to find out
			return fmt.Errorf(`%q holds no value: write a number, or "*" for any`, field)
		}
		if strings.Contains(field, "*-") || strings.Contains(field, "?-") { // would be "*"
			return fmt.Errorf("%q is no range: both ends have to be given", field)
		}
	}
	return nil
}

// maxClockChanges bounds the search of Next: some zones set their clocks four times a year, and the
// next 29th of February is at most eight years away.
const maxClockChanges = 64

// Next returns the first instant after t at which the schedule is due, zero if there is none within
// five years. A time that is skipped when the clocks are set forward is due at that moment. A time
// that comes twice when they are set back is due twice.
func (s Schedule) Next(t time.Time) time.Time {
	// robfig/cron fails where clocks change: it may skip the rest of that day, or take the next day
	// for it. So it is asked about one span between two changes after the other: there the clock
	// simply runs.
	from, local := t, t.In(s.zone)
	for range maxClockChanges {
		ahead := offset(local) // of UTC
		next := s.cron.Next(from.UTC().Add(ahead))
		if next.IsZero() {
			break
		}
		next = next.Add(-ahead)
		_, change := local.ZoneBounds()
		if change.IsZero() || next.Before(change) {
			return next.In(t.Location())
		}
		local = change
		if skipped := offset(change) - ahead; next.Before(change.Add(skipped)) {
			return change.In(t.Location())
		}
		from = change.Add(-1) // the moment of the change itself may be due
	}
	return time.Time{}
}

func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}
