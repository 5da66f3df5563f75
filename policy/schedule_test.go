package policy_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones must not depend on the machine

	"pgregory.net/rapid"

	. "idle-scaler/policy"
)

func schedule(t *testing.T, expression string) Schedule {
	t.Helper()
	s, err := ParseSchedule(expression)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// What people write means what it says, in the zone they name, else in UTC whatever the zone of the
// machine is.
func TestParseSchedule(t *testing.T) {
	const wednesday = "2026-07-01T12:34:56Z"
	for expression, next := range map[string]string{
		"*/5 * * * *":                     "2026-07-01T12:35:00Z",
		"0 22 * * *":                      "2026-07-01T22:00:00Z",
		"0 22 * * MON-FRI":                "2026-07-01T22:00:00Z",
		"0 22 * * sat":                    "2026-07-04T22:00:00Z",
		"0 0 1,15 * *":                    "2026-07-15T00:00:00Z",
		"0 0 29 2 *":                      "2028-02-29T00:00:00Z",
		"*/10 * * * * *":                  "2026-07-01T12:35:00Z",
		"57 34 12 * * *":                  "2026-07-01T12:34:57Z",
		"56 34 12 * * *":                  "2026-07-02T12:34:56Z", // Next is after, not at
		"  0\t22  * * *\n":                "2026-07-01T22:00:00Z",
		"@hourly":                         "2026-07-01T13:00:00Z",
		"@daily":                          "2026-07-02T00:00:00Z",
		"@every 30s":                      "2026-07-01T12:35:26Z",
		"@every 1h30m":                    "2026-07-01T14:04:56Z",
		"CRON_TZ=Europe/Rome 0 22 * * *":  "2026-07-01T20:00:00Z",
		"TZ=Europe/Rome 0 22 * * *":       "2026-07-01T20:00:00Z",
		"TZ=UTC 0 22 * * *":               "2026-07-01T22:00:00Z",
		"CRON_TZ=Asia/Kolkata @daily":     "2026-07-01T18:30:00Z",
		"CRON_TZ=Europe/Rome @every 30s":  "2026-07-01T12:35:26Z",
		"*/9223372036854775807 * * * *":   "2026-07-01T13:00:00Z", // as */60 would be
		"0/60 * * * *":                    "2026-07-01T13:00:00Z",
		"1,,2 * * * *":                    "2026-07-01T13:01:00Z",
		"? ? ? ? ?":                       "2026-07-01T12:35:00Z",
		"0 0 15 7 MON":                    "2026-07-06T00:00:00Z", // the 15th, and Mondays: as every cron has it
		"CRON_TZ=America/New_York @daily": "2026-07-02T04:00:00Z",
	} {
		if got := schedule(t, expression).Next(instant(t, wednesday)); !got.Equal(instant(t, next)) {
			t.Errorf("%q: next is %v, want %s", expression, got, next)
		}
	}
}

// What makes no sense is an error that quotes it and says what is wrong: no panic, no guess, no
// endless search.
func TestParseScheduleErrors(t *testing.T) {
	for expression, says := range map[string]string{
		"":                               "empty schedule",
		" \t\n":                          "empty schedule",
		"TZ=Europe/Rome":                 "only a time zone", // robfig/cron v3.0.1 panics
		"CRON_TZ=Europe/Rome":            "only a time zone",
		"CRON_TZ=Europe/Rome  ":          "only a time zone",
		"TZ=":                            "names no time zone",
		"CRON_TZ= 0 22 * * *":            "names no time zone",
		"TZ=Local 0 22 * * *":            "names no time zone", // whose?
		"TZ=Europe/Roma 0 22 * * *":      "unknown time zone Europe/Roma",
		"TZ=../../etc/passwd 0 0 * * *":  "../../etc/passwd",
		"TZ=UTC TZ=UTC * * * * *":        "TZ=UTC",
		"* * * *":                        "expected 5 to 6 fields, found 4",
		"* * * * * * *":                  "expected 5 to 6 fields, found 7",
		"every 30s":                      "expected 5 to 6 fields, found 2",
		"60 * * * *":                     "above maximum (59)",
		"* 24 * * *":                     "above maximum (23)",
		"* * 0 * *":                      "below minimum (1)",
		"* * * 13 *":                     "above maximum (12)",
		"* * * * 7":                      "above maximum (6)",
		"-1 * * * *":                     "failed to parse int",
		"5-1 * * * *":                    "beyond end of range",
		"1-2-3 * * * *":                  "too many hyphens",
		"*/1/2 * * * *":                  "too many slashes",
		"*/0 * * * *":                    "positive number",
		"*/18446744073709551616 * * * *": "failed to parse int",
		"*-5 * * * *":                    `"*-5" is no range`, // robfig/cron takes it for *
		"1,?-5 * * * *":                  "is no range",
		", * * * *":                      `"," holds no value`, // robfig/cron takes it for never
		",, * * * * *":                   `",," holds no value`,
		"0 0 31 2 *":                     "never comes",
		"0 0 30,31 2 *":                  "never comes",
		"TZ=Europe/Rome 0 0 31 4,6 *":    "never comes",
		"@never":                         "unrecognized descriptor",
		"@":                              "unrecognized descriptor",
		"@every":                         "unrecognized descriptor",
		"@every soon":                    "failed to parse duration",
		"@every 1h 30m":                  "failed to parse duration",
		"@every 0s":                      "at least one", // robfig/cron takes these for 1s
		"@every -1s":                     "at least one",
		"@every 500ms":                   "at least one",
		"@every 1500ms":                  "whole seconds",
		"@every 9999999h":                "failed to parse duration",
		"\xff\xfe * * * *":               "failed to parse int",
		"CRON_TZ=\xff 0 22 * * *":        "unknown time zone",
		"٣ * * * *":                      "failed to parse int",
		"0\x0022 * * * *":                "failed to parse int",
	} {
		if _, err := ParseSchedule(expression); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error %v, want one with %q", expression, err, says)
		}
	}
}

// When the clocks are set forward, a time that they skip is due at the moment they do; what is due
// by the minute goes on. When they are set back, a time that comes twice is due twice. The rest of
// such a day is as any other.
func TestNextWhereClocksChange(t *testing.T) {
	const (
		rome = "CRON_TZ=Europe/Rome "         // an hour, at 02:00 and 03:00
		york = "CRON_TZ=America/New_York "    // an hour, at 02:00
		howe = "CRON_TZ=Australia/Lord_Howe " // half an hour, at 02:00
		kair = "CRON_TZ=Africa/Cairo "        // an hour, at midnight before a Friday
		apia = "CRON_TZ=Pacific/Apia "        // had no 30th of December 2011
	)
	for _, row := range []struct{ name, expression, after, due string }{
		{"skipped in Rome", rome + "30 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00"},
		{"skipped in Rome, first minute", rome + "0 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00"},
		{"skipped in Rome, twice: due once", rome + "15,45 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-30T02:15:00+02:00"},
		{"skipped in Rome, by the minute", rome + "*/20 * * * *", "2026-03-29T01:30:00+01:00", "2026-03-29T01:40:00+01:00 2026-03-29T03:00:00+02:00 2026-03-29T03:20:00+02:00"},
		{"after the gap in Rome", rome + "0 3 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-30T03:00:00+02:00"},
		{"doubled in Rome", rome + "30 2 * * *", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00"},
		{"doubled in Rome, first minute", rome + "0 2 * * *", "2026-10-24T12:00:00+02:00", "2026-10-25T02:00:00+02:00 2026-10-25T02:00:00+01:00 2026-10-26T02:00:00+01:00"},
		{"doubled in Rome, by the minute", rome + "*/30 * * * *", "2026-10-25T02:10:00+02:00", "2026-10-25T02:30:00+02:00 2026-10-25T02:00:00+01:00 2026-10-25T02:30:00+01:00 2026-10-25T03:00:00+01:00"},
		{"after the doubled hour in Rome", rome + "0 3 * * *", "2026-10-24T12:00:00+02:00", "2026-10-25T03:00:00+01:00 2026-10-26T03:00:00+01:00"},

		{"skipped in New York", york + "30 2 * * *", "2026-03-07T12:00:00-05:00", "2026-03-08T03:00:00-04:00 2026-03-09T02:30:00-04:00"},
		{"doubled in New York", york + "30 1 * * *", "2026-10-31T12:00:00-04:00", "2026-11-01T01:30:00-04:00 2026-11-01T01:30:00-05:00 2026-11-02T01:30:00-05:00"},
		{"midnights in New York", york + "@daily", "2026-03-07T12:00:00-05:00", "2026-03-08T00:00:00-05:00 2026-03-09T00:00:00-04:00"},

		{"skipped on Lord Howe", howe + "15 2 * * *", "2026-10-03T12:00:00+10:30", "2026-10-04T02:30:00+11:00 2026-10-05T02:15:00+11:00"},
		{"after the gap on Lord Howe", howe + "0 3 * * *", "2026-10-03T12:00:00+10:30", "2026-10-04T03:00:00+11:00 2026-10-05T03:00:00+11:00"}, // robfig/cron misses the first
		{"doubled on Lord Howe", howe + "45 1 * * *", "2026-04-04T12:00:00+11:00", "2026-04-05T01:45:00+11:00 2026-04-05T01:45:00+10:30 2026-04-06T01:45:00+10:30"},
		{"after the doubled half-hour on Lord Howe", howe + "0 2 * * *", "2026-04-04T12:00:00+11:00", "2026-04-05T02:00:00+10:30 2026-04-06T02:00:00+10:30"}, // robfig/cron misses the first

		{"no midnight in Cairo", kair + "@daily", "2026-04-23T12:00:00+02:00", "2026-04-24T01:00:00+03:00 2026-04-25T00:00:00+03:00"},
		{"Thursdays in Cairo", kair + "0 5 * * THU", "2026-04-23T06:00:00+02:00", "2026-04-30T05:00:00+03:00"}, // robfig/cron says Friday
		{"no such day on Samoa", apia + "@daily", "2011-12-28T12:00:00-10:00", "2011-12-29T00:00:00-10:00 2011-12-31T00:00:00+14:00 2012-01-01T00:00:00+14:00"},
		{"an interval looks at no clock", rome + "@every 2h", "2026-03-29T00:30:00+01:00", "2026-03-29T02:30:00+01:00 2026-03-29T04:30:00+01:00"},
	} {
		s, next := schedule(t, row.expression), instant(t, row.after)
		for _, due := range strings.Fields(row.due) {
			if next = s.Next(next); !next.Equal(instant(t, due)) {
				t.Errorf("%s: %q is due at %v, want %s", row.name, row.expression, next.In(s.Zone()), due)
				break
			}
		}
	}
}

// The zone in which an instant is given makes no difference but to the zone of the answer.
func TestNextKeepsTheZoneOfItsCaller(t *testing.T) {
	s, rome := schedule(t, "CRON_TZ=America/New_York 0 22 * * *"), time.FixedZone("CEST", 7200)
	now := instant(t, "2026-07-01T12:00:00Z")
	if there, here := s.Next(now), s.Next(now.In(rome)); !there.Equal(here) || there.Location() != time.UTC || here.Location() != rome {
		t.Errorf("%v and %v", there, here)
	}
}

// Whatever the zone: Next is the first second after t at which the clock shows the time, or jumps
// over it.
func TestNextIsTheFirst(t *testing.T) {
	zones := []string{"UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca", "America/Santiago", "Asia/Kathmandu"}
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.SampledFrom([]int{0, 1, 15, 30, 59}).Draw(t, "minute")
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, zone).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "minute of the year")) * time.Minute)
		if _, change := now.ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
			now = change.Add(time.Duration(rapid.IntRange(-1500, 1500).Draw(t, "minutes")) * time.Minute)
		}
		expression := time.Date(0, 1, 1, hour, minute, 0, 0, time.UTC).Format("4 15") + " * * *"
		s, err := ParseSchedule("CRON_TZ=" + zone.String() + " " + expression)
		if err != nil {
			t.Fatal(err)
		}
		want := now
		for due := false; !due; {
			before := want
			want = want.Truncate(time.Minute).Add(time.Minute)
			due = want.Hour() == hour && want.Minute() == minute
			_, was := before.Zone()
			_, is := want.Zone()
			for skipped := 0; skipped < is-was; skipped += 60 { // the minutes that the clock did not show
				shown := before.Truncate(time.Minute).Add(time.Duration(60+skipped) * time.Second).In(time.FixedZone("", was))
				due = due || shown.Hour() == hour && shown.Minute() == minute
			}
		}
		if next := s.Next(now); !next.Equal(want) {
			t.Fatalf("%q after %v: %v, want %v", expression, now, next.In(zone), want)
		}
	})
}

// No text makes ParseSchedule panic or search without end; Next is after t or never, and the same
// when asked again.
func FuzzParseSchedule(f *testing.F) {
	for _, expression := range []string{
		"", " ", "*/5 * * * *", "0 30 2 * * *", "@every 30s", "@hourly", "TZ=Europe/Rome", "CRON_TZ=", "TZ= ", "=", "@", "@every", "@every -1s",
		"CRON_TZ=Europe/Rome 30 2 * * *", "CRON_TZ=Australia/Lord_Howe 45 1 * * *", "CRON_TZ=Africa/Cairo 0 0 * * FRI", "TZ=Local @daily",
		"0 0 31 2 *", "0 0 29 2 *", ", * * * * *", "*-5 * * * *", "*/9223372036854775807 * * * *", "1-59/7,3 2-4 ? JAN-MAR sun", "\xff * * * *", "@every 2562047h",
	} {
		f.Add(expression, int64(1774745999), int64(999999999)) // a second before the clocks of Rome change
	}
	f.Fuzz(func(t *testing.T, expression string, seconds, nanoseconds int64) {
		s, err := ParseSchedule(expression)
		if err != nil {
			return
		}
		at := time.Unix(max(0, seconds%(1<<32)), max(0, nanoseconds%1e9)) // from 1970 to 2106
		next := s.Next(at)
		if !next.IsZero() && !next.After(at) {
			t.Errorf("%q after %v: %v", expression, at, next)
		}
		if again := s.Next(at); !again.Equal(next) {
			t.Errorf("%q after %v: %v, and then %v", expression, at, next, again)
		}
	})
}
