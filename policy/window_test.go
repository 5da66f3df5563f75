package policy_test

import (
	"strings"
	"testing"
	"time"

	. "idle-scaler/policy"
)

// windowCase says when windows are open: each span as START/END, the next ones after an instant.
// They are also tables of docs/policy.md.
type windowCase struct {
	name, windows, zone, after, open string
}

const (
	rome = "Europe/Rome"         // skips and doubles 02:00 to 03:00
	york = "America/New_York"    // skips 02:00 to 03:00, doubles 01:00 to 02:00
	howe = "Australia/Lord_Howe" // skips 02:00 to 02:30, doubles 01:30 to 02:00
)

var windowCases = []windowCase{
	{"office hours, over a weekend", "0 9 * * MON-FRI for 9h", rome, "2026-07-02T20:00:00+02:00", "2026-07-03T09:00:00+02:00/2026-07-03T18:00:00+02:00 2026-07-06T09:00:00+02:00/2026-07-06T18:00:00+02:00"},
	{"asked in the middle of it", "0 9 * * MON-FRI for 9h", rome, "2026-07-02T12:00:00+02:00", "2026-07-02T12:00:00+02:00/2026-07-02T18:00:00+02:00"},
	{"asked at its first instant", "0 9 * * * for 9h", "UTC", "2026-07-02T09:00:00Z", "2026-07-02T09:00:00Z/2026-07-02T18:00:00Z"},
	{"asked at its end: closed", "0 9 * * * for 9h", "UTC", "2026-07-02T18:00:00Z", "2026-07-03T09:00:00Z/2026-07-03T18:00:00Z"},
	{"several", "0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h", "UTC", "2026-07-03T20:00:00Z", "2026-07-04T10:00:00Z/2026-07-04T12:00:00Z 2026-07-06T09:00:00Z/2026-07-06T18:00:00Z"},
	{"across midnight", "0 22 * * FRI for 8h", "UTC", "2026-07-04T01:00:00Z", "2026-07-04T01:00:00Z/2026-07-04T06:00:00Z 2026-07-10T22:00:00Z/2026-07-11T06:00:00Z"},
	{"overlapping: one", "0 9 * * * for 3h; 0 11 * * * for 4h", "UTC", "2026-07-02T00:00:00Z", "2026-07-02T09:00:00Z/2026-07-02T15:00:00Z"},
	{"one within the other", "0 9 * * * for 8h; 0 11 * * * for 1h", "UTC", "2026-07-02T00:00:00Z", "2026-07-02T09:00:00Z/2026-07-02T17:00:00Z"},
	{"adjacent: one", "0 9 * * * for 3h; 0 12 * * * for 3h", "UTC", "2026-07-02T00:00:00Z", "2026-07-02T09:00:00Z/2026-07-02T15:00:00Z"},
	{"a second between them: two", "0 9 * * * for 2h59m59s; 0 12 * * * for 3h", "UTC", "2026-07-02T00:00:00Z", "2026-07-02T09:00:00Z/2026-07-02T11:59:59Z 2026-07-02T12:00:00Z/2026-07-02T15:00:00Z"},
	{"the 31st, in months that have one", "0 0 31 * * for 24h", "UTC", "2026-04-01T00:00:00Z", "2026-05-31T00:00:00Z/2026-06-01T00:00:00Z 2026-07-31T00:00:00Z/2026-08-01T00:00:00Z 2026-08-31T00:00:00Z/2026-09-01T00:00:00Z 2026-10-31T00:00:00Z/2026-11-01T00:00:00Z"},
	{"over the end of a month and a year", "0 20 31 12 * for 12h", "UTC", "2026-12-31T23:59:59Z", "2026-12-31T23:59:59Z/2027-01-01T08:00:00Z"},
	{"29 February", "0 0 29 2 * for 24h", "UTC", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z/2028-03-01T00:00:00Z"},
	{"seconds", "30 0 9 * * * for 90s", "UTC", "2026-07-02T00:00:00Z", "2026-07-02T09:00:30Z/2026-07-02T09:02:00Z"},
	{"a zone of its own", "CRON_TZ=America/New_York 0 9 * * * for 1h", rome, "2026-07-02T00:00:00Z", "2026-07-02T15:00:00+02:00/2026-07-02T16:00:00+02:00"},
	{"once a month, a descriptor", "@monthly for 1h", "UTC", "2026-07-02T00:00:00Z", "2026-08-01T00:00:00Z/2026-08-01T01:00:00Z"},
	{"none", "none", rome, "2026-07-02T00:00:00Z", ""},
}

var clockChangeCases = []windowCase{
	{"starts in the skipped hour", "30 2 * * * for 1h", rome, "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00/2026-03-29T04:00:00+02:00 2026-03-30T02:30:00+02:00/2026-03-30T03:30:00+02:00"},
	{"the skipped hour is in it", "0 1 * * * for 4h", rome, "2026-03-28T12:00:00+01:00", "2026-03-29T01:00:00+01:00/2026-03-29T06:00:00+02:00 2026-03-30T01:00:00+02:00/2026-03-30T05:00:00+02:00"},
	{"the night in which the clocks go forward", "0 22 * * * for 8h", rome, "2026-03-28T12:00:00+01:00", "2026-03-28T22:00:00+01:00/2026-03-29T07:00:00+02:00"},
	{"would end in the skipped hour", "30 1 * * * for 1h", rome, "2026-03-28T12:00:00+01:00", "2026-03-29T01:30:00+01:00/2026-03-29T03:30:00+02:00"},
	{"starts in the doubled hour: twice, and here without a gap", "30 2 * * * for 1h", rome, "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00/2026-10-25T03:30:00+01:00 2026-10-26T02:30:00+01:00/2026-10-26T03:30:00+01:00"},
	{"starts in the doubled hour, and is short: twice", "30 2 * * * for 15m", rome, "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00/2026-10-25T02:45:00+02:00 2026-10-25T02:30:00+01:00/2026-10-25T02:45:00+01:00"},
	{"the doubled hour is in it", "0 1 * * * for 4h", rome, "2026-10-24T12:00:00+02:00", "2026-10-25T01:00:00+02:00/2026-10-25T04:00:00+01:00"},
	{"the night in which the clocks go back", "0 22 * * * for 8h", rome, "2026-10-24T12:00:00+02:00", "2026-10-24T22:00:00+02:00/2026-10-25T05:00:00+01:00"},
	{"asked in the second of the doubled hours", "0 1 * * * for 2h", rome, "2026-10-25T02:10:00+01:00", "2026-10-26T01:00:00+01:00/2026-10-26T03:00:00+01:00"},
	{"office hours on such a day", "0 9 * * * for 9h", rome, "2026-10-25T03:00:00+01:00", "2026-10-25T09:00:00+01:00/2026-10-25T18:00:00+01:00"},

	{"starts in the skipped hour", "30 2 * * SUN for 1h", york, "2026-03-07T12:00:00-05:00", "2026-03-08T03:00:00-04:00/2026-03-08T04:00:00-04:00 2026-03-15T02:30:00-04:00/2026-03-15T03:30:00-04:00"},
	{"starts in the doubled hour: twice, and here without a gap", "30 1 * * * for 2h", york, "2026-10-31T12:00:00-04:00", "2026-11-01T01:30:00-04:00/2026-11-01T03:30:00-05:00"},
	{"a whole day of 23 hours, and the day after", "0 0 8 3 * for 24h", york, "2026-03-07T12:00:00-05:00", "2026-03-08T00:00:00-05:00/2026-03-09T01:00:00-04:00"},

	{"starts in the skipped half-hour", "15 2 * * * for 1h", howe, "2026-10-03T12:00:00+10:30", "2026-10-04T02:30:00+11:00/2026-10-04T03:30:00+11:00 2026-10-05T02:15:00+11:00/2026-10-05T03:15:00+11:00"},
	{"the skipped half-hour is in it", "30 1 * * * for 1h", howe, "2026-10-03T12:00:00+10:30", "2026-10-04T01:30:00+10:30/2026-10-04T03:00:00+11:00"},
	{"starts in the doubled half-hour, and is short: twice", "45 1 * * * for 15m", howe, "2026-04-04T12:00:00+11:00", "2026-04-05T01:45:00+11:00/2026-04-05T01:30:00+10:30 2026-04-05T01:45:00+10:30/2026-04-05T02:00:00+10:30"},
	{"the doubled half-hour is in it", "0 1 * * * for 2h", howe, "2026-04-04T12:00:00+11:00", "2026-04-05T01:00:00+11:00/2026-04-05T02:30:00+10:30"},
}

// Windows are open from their start for their length, as often as they start; those that touch are
// one.
func TestWindows(t *testing.T) {
	for _, r := range append(windowCases, clockChangeCases...) {
		w, err := ParseWindows(r.windows, must(time.LoadLocation(r.zone)))
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		now := instant(t, r.after)
		for _, open := range strings.Fields(r.open) {
			start, end, _ := strings.Cut(open, "/")
			until, inside := w.Until(now)
			if !inside {
				now = w.Next(now)
				until, inside = w.Until(now)
			}
			if !inside || !now.Equal(instant(t, start)) || !until.Equal(instant(t, end)) {
				t.Errorf("%s: %q is open from %v to %v, want %s to %s", r.name, r.windows, now.In(instant(t, start).Location()), until.In(instant(t, end).Location()), start, end)
				break
			}
			now = until
		}
		if r.open == "" && !w.Next(now).IsZero() {
			t.Errorf("%s: opens at %v", r.name, w.Next(now))
		}
	}
}

// A window that is longer than its period never closes, and to find that out takes no longer than
// to look a while ahead.
func TestWindowsWithoutGap(t *testing.T) {
	for _, text := range []string{"0 * * * * for 1h", "* * * * * for 2h", "* * * * * * for 168h", "0 0 * * * for 12h; 0 12 * * * for 12h", "0 9 * * * for 25h"} {
		w := must(ParseWindows(text, time.UTC))
		for now := noon; now.Before(noon.Add(48 * time.Hour)); now = now.Add(7 * time.Minute) {
			if end, inside := w.Until(now); !inside || !end.After(now) {
				t.Fatalf("%q is closed at %v", text, now)
			}
		}
	}
}

// Times come as those of their schedules, the first of them first.
func TestTimes(t *testing.T) {
	for _, r := range []struct{ times, zone, after, due string }{
		{"0 22 * * *", "UTC", "2026-07-01T12:00:00Z", "2026-07-01T22:00:00Z 2026-07-02T22:00:00Z"},
		{"0 22 * * *", rome, "2026-07-01T12:00:00Z", "2026-07-01T22:00:00+02:00"},
		{"0 22 * * MON-FRI; 0 14 * * SAT", "UTC", "2026-07-03T12:00:00Z", "2026-07-03T22:00:00Z 2026-07-04T14:00:00Z 2026-07-06T22:00:00Z"},
		{"0 22 * * *; CRON_TZ=Asia/Kolkata 0 22 * * *", "UTC", "2026-07-03T12:00:00Z", "2026-07-03T16:30:00Z 2026-07-03T22:00:00Z 2026-07-04T16:30:00Z"},
		{"30 2 * * *", rome, "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00"},
		{"30 2 * * *", rome, "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00"},
		{"0 0 31 * *", "UTC", "2026-08-31T12:00:00Z", "2026-10-31T00:00:00Z"},
		{"@daily", howe, "2026-04-04T12:00:00+11:00", "2026-04-05T00:00:00+11:00 2026-04-06T00:00:00+10:30"},
		{"none", "UTC", "2026-07-01T12:00:00Z", ""},
	} {
		times, err := ParseTimes(r.times, must(time.LoadLocation(r.zone)))
		if err != nil {
			t.Errorf("%q: %v", r.times, err)
			continue
		}
		next := instant(t, r.after)
		for _, due := range strings.Fields(r.due) {
			if next = times.Next(next); !next.Equal(instant(t, due)) {
				t.Errorf("%q in %s is due at %v, want %s", r.times, r.zone, next, due)
				break
			}
		}
		if r.due == "" && !times.Next(next).IsZero() {
			t.Errorf("%q is due at %v", r.times, times.Next(next))
		}
	}
}

// What can't be read is an error that quotes it and says what to write instead; robfig/cron never
// sees what would make it panic.
func TestParseWindowsErrors(t *testing.T) {
	for text, says := range map[string]string{
		"":                                `"" does not say for how long: write windows like "0 9 * * MON-FRI for 9h`,
		"0 9 * * *":                       `"0 9 * * *" does not say for how long`,
		"0 9 * * * 9h":                    "does not say for how long",
		"0 9 * * * FOR 9h":                "does not say for how long",
		"for 9h":                          `"for 9h" does not say for how long`,
		" for 9h":                         "does not say when: write windows like",
		"0 9 * * * for 9h;":               `"" does not say for how long`,
		"0 9 * * * for 9h; 0 10 * * SAT":  `"0 10 * * SAT" does not say for how long`,
		"0 9 * * * for ":                  `"" is not a length of 1s to 168h: write it like "9h"`,
		"0 9 * * * for 9":                 `"9" is not a length`,
		"0 9 * * * for 1d":                `"1d" is not a length`,
		"0 9 * * * for 0s":                `"0s" is not a length`,
		"0 9 * * * for 999ms":             `"999ms" is not a length`,
		"0 9 * * * for -9h":               `"-9h" is not a length`,
		"0 9 * * * for 168h1s":            `"168h1s" is not a length of 1s to 168h`,
		"0 9 * * for 9h":                  `expected 5 to 6 fields, found 4: [0 9 * *]: write windows like`,
		"0 25 * * * for 9h":               `above maximum (23): 25: write windows like`,
		"0 0 31 2 * for 9h":               `never comes: check day and month: write windows like`,
		"@every 1h for 1m":                `"@every" names no time of a clock: write windows like`,
		"TZ=UTC @every 1h for 1m":         `"@every" names no time of a clock`,
		"TZ=Europe/Rome for 9h":           "only a time zone",
		"CRON_TZ= for 9h":                 "names no time zone",
		"TZ=Europe/Roma 0 9 * * * for 9h": "unknown time zone Europe/Roma",
		", 9 * * * for 9h":                `"," holds no value`,
		"None":                            "does not say for how long",
		"none; 0 9 * * * for 9h":          `"none" does not say for how long`,
		"\xff for 9h":                     "expected 5 to 6 fields",
	} {
		if w, err := ParseWindows(text, time.UTC); err == nil || !strings.Contains(err.Error(), says) || w != nil {
			t.Errorf("%q: %v, error %v, want one with %q", text, w, err, says)
		}
	}
	for text, says := range map[string]string{
		"":                     `does not say when: write times like "0 22 * * *; 0 14 * * SAT", or "none"`,
		"0 22 * * *;":          "does not say when",
		"22:00":                `expected 5 to 6 fields, found 1: [22:00]: write times like`,
		"0 22 * * * for 9h":    "expected 5 to 6 fields, found 7",
		"@every 24h":           `"@every" names no time of a clock: write times like`,
		"TZ=Europe/Rome":       "only a time zone",
		"CRON_TZ=Local @daily": "names no time zone",
	} {
		if times, err := ParseTimes(text, time.UTC); err == nil || !strings.Contains(err.Error(), says) || times != nil {
			t.Errorf("%q: %v, error %v, want one with %q", text, times, err, says)
		}
	}
}
