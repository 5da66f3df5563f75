package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when the next sweep is due.
type Schedule struct{ cron cron.Schedule }

var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// ParseSchedule reads a cron expression of five fields, or six with seconds first, or a descriptor such as
// "@every 30s" or "@hourly"; "CRON_TZ=Europe/Rome " before it sets the time zone, else it is in UTC.
func ParseSchedule(expression string) (Schedule, error) {
	// robfig/cron v3.0.1 slices without a look when a time zone is all there is, and panics; and it takes the
	// process's zone when none is given, so that the same configuration would mean different times on two machines.
	fields := strings.Fields(expression)
	zoned := len(fields) > 0 && (strings.HasPrefix(fields[0], "TZ=") || strings.HasPrefix(fields[0], "CRON_TZ="))
	switch {
	case len(fields) == 0:
		return Schedule{}, errors.New(`empty schedule: write one like "@every 30s" or "*/5 * * * *"`)
	case zoned && len(fields) == 1:
		return Schedule{}, fmt.Errorf("schedule %q is only a time zone: write when after it, like %q", expression, fields[0]+" 0 22 * * *")
	case !zoned:
		fields = append([]string{"CRON_TZ=UTC"}, fields...)
	}
	s, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", expression, err)
	}
	if s.Next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q never comes: check day and month", expression)
	}
	return Schedule{s}, nil
}

// Next returns the first instant after t at which the schedule is due.
func (s Schedule) Next(t time.Time) time.Time { return s.cron.Next(t) }
