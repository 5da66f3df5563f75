package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxWindow is the longest window.
const maxWindow = 7 * 24 * time.Hour

// none as keep-warm or sleep-at: that of the namespace or the configuration does not hold for this
// server.
const none = "none"

// Windows are recurring spans of time. They may overlap.
type Windows []window

type window struct {
	starts Schedule
	length time.Duration // elapsed: a window over a change of the clocks is as long as others
	text   string        // as it was written
}

// String says the windows as they were written.
func (w Windows) String() string {
	texts := make([]string, len(w))
	for i, one := range w {
		texts[i] = one.text
	}
	return strings.Join(texts, "; ")
}

const (
	aWindow = `"0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h", or "none"`
	aTime   = `"0 22 * * *; 0 14 * * SAT", or "none"`
)

// ParseWindows reads windows like "0 9 * * MON-FRI for 9h", several with ";" between them. Each is
// a cron expression as for [ParseSchedule], without "@every", and a length. The zone counts unless
// the expression names its own. "none" is no window.
func ParseWindows(text string, zone *time.Location) (Windows, error) {
	if text == none {
		return nil, nil
	}
	var windows Windows
	for part := range strings.SplitSeq(text, ";") {
		const before = " for "
		at := strings.LastIndex(part, before)
		if at < 0 {
			return nil, fmt.Errorf(`%q does not say for how long: write windows like %s`, strings.TrimSpace(part), aWindow)
		}
		starts, err := parseTimes(part[:at], zone)
		if err != nil {
			return nil, fmt.Errorf("%w: write windows like %s", err, aWindow)
		}
		text := strings.TrimSpace(part[at+len(before):])
		length, err := time.ParseDuration(text)
		if err != nil || length < time.Second || length > maxWindow {
			return nil, fmt.Errorf(`%q is not a length of 1s to %s: write it like "9h"`, text, FormatDuration(maxWindow))
		}
		windows = append(windows, window{starts, length, strings.TrimSpace(part)})
	}
	return windows, nil
}

// maxJoined bounds how many windows without a gap count as one.
const maxJoined = 64

// Until reports whether t lies in a window, and when the last window ends that follows without a
// gap. Of very many windows it returns an earlier end. A window holds its first instant, and not
// its last.
func (w Windows) Until(t time.Time) (end time.Time, inside bool) {
	end = t
	for range maxJoined {
		latest := end
		for _, one := range w {
			if until, in := one.until(end); in && until.After(latest) {
				latest = until
			}
		}
		if latest.Equal(end) {
			break
		}
		end = latest
	}
	return end, end.After(t)
}

func (w window) until(t time.Time) (time.Time, bool) {
	start := w.starts.Next(t.Add(-w.length))
	if start.IsZero() || start.After(t) {
		return time.Time{}, false
	}
	return start.Add(w.length), true
}

// Next returns the first start of a window after t, zero when there is none.
func (w Windows) Next(t time.Time) time.Time {
	var next time.Time
	for _, one := range w {
		next = sooner(next, one.starts.Next(t))
	}
	return next
}

// Times are recurring instants.
type Times []Schedule

// ParseTimes reads cron expressions as for [ParseSchedule], without "@every", several with ";"
// between them. The zone counts unless an expression names its own. "none" is no time.
func ParseTimes(text string, zone *time.Location) (Times, error) {
	if text == none {
		return nil, nil
	}
	var times Times
	for part := range strings.SplitSeq(text, ";") {
		schedule, err := parseTimes(part, zone)
		if err != nil {
			return nil, fmt.Errorf("%w: write times like %s", err, aTime)
		}
		times = append(times, schedule)
	}
	return times, nil
}

// parseTimes reads one cron expression that names times of a clock.
func parseTimes(text string, zone *time.Location) (Schedule, error) {
	if strings.TrimSpace(text) == "" {
		return Schedule{}, errors.New("it does not say when")
	}
	if strings.Contains(text, "@every") {
		return Schedule{}, errors.New(`"@every" names no time of a clock`)
	}
	return parseSchedule(text, zone)
}

// String says the times as they were written.
func (times Times) String() string {
	texts := make([]string, len(times))
	for i, one := range times {
		texts[i] = one.text
	}
	return strings.Join(texts, "; ")
}

// Next returns the first of the times after t, zero when there is none.
func (times Times) Next(t time.Time) time.Time {
	var next time.Time
	for _, one := range times {
		next = sooner(next, one.Next(t))
	}
	return next
}

// sooner returns the earlier of two instants. Zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// unless returns t, or zero if something else comes before it or at the same time.
func unless(other, t time.Time) time.Time {
	if other.IsZero() || t.Before(other) {
		return t
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
