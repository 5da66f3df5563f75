package policy_test

import (
	"strings"
	"testing"
	"time"

	. "idle-scaler/policy"
)

// untilCases say until when a hold lasts, by what is written and when that was. They are also a
// table of docs/policy.md.
var untilCases = []struct{ name, text, zone, from, until string }{
	{"for so long", "2h", rome, "2026-07-01T12:00:00+02:00", "2026-07-01T14:00:00+02:00"},
	{"the longest", "720h", rome, "2026-07-01T12:00:00+02:00", "2026-07-31T12:00:00+02:00"},
	{"until a time of today", "18:00", rome, "2026-07-01T12:00:00+02:00", "2026-07-01T18:00:00+02:00"},
	{"until a time that is over today: of tomorrow", "9:00", rome, "2026-07-01T12:00:00+02:00", "2026-07-02T09:00:00+02:00"},
	{"until the time that it is now: of tomorrow", "12:00", rome, "2026-07-01T12:00:00+02:00", "2026-07-02T12:00:00+02:00"},
	{"until midnight", "00:00", rome, "2026-07-01T12:00:00+02:00", "2026-07-02T00:00:00+02:00"},
	{"until an instant", "2026-07-02T18:00:00Z", rome, "2026-07-01T12:00:00+02:00", "2026-07-02T18:00:00Z"},
	{"until an instant, in another zone", "2026-07-02T18:00:00-04:00", rome, "2026-07-01T12:00:00+02:00", "2026-07-02T22:00:00Z"},
	{"until a time that the clocks skip: when they do", "02:30", rome, "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"},
	{"until a time that comes twice: the first", "02:30", rome, "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"},
	{"until a time that comes twice, between the two: the second", "02:30", rome, "2026-10-25T02:40:00+02:00", "2026-10-25T02:30:00+01:00"},
	{"until a time that comes twice, by half an hour", "01:45", howe, "2026-04-05T01:50:00+11:00", "2026-04-05T01:45:00+10:30"},
}

// A hold ends when a person would expect it to, by the clock of the server's zone.
func TestParseUntil(t *testing.T) {
	for _, r := range untilCases {
		until, err := ParseUntil(r.text, instant(t, r.from), must(time.LoadLocation(r.zone)))
		if err != nil || !until.Equal(instant(t, r.until)) {
			t.Errorf("%s: %q is until %v, %v; want %s", r.name, r.text, until, err, r.until)
		}
	}
}

// A text that is no time, and a time that no hold can last until, is an error that says what to
// write.
func TestParseUntilErrors(t *testing.T) {
	const how = `write until when, as a duration like "2h"`
	for text, says := range map[string]string{
		"":                          how,
		"tomorrow":                  how,
		"18":                        how,
		"18:0":                      how,
		"24:00":                     how,
		"18:60":                     how,
		"6pm":                       how,
		"18:00:00":                  how,
		"2026-07-02":                how,
		"2026-07-02T18:00:00":       how, // of which zone?
		"2026-02-30T18:00:00Z":      how,
		"2d":                        how,
		"9999999999h":               how,
		"0s":                        "2026-07-01T12:00:00Z is not in the future",
		"-2h":                       "is not in the future",
		"2026-07-01T12:00:00Z":      "is not in the future",
		"2026-06-30T18:00:00Z":      "2026-06-30T18:00:00Z is not in the future",
		"720h0m1s":                  "more than 720h ahead: hold it for less, or write the annotation idle-scaler/idle-after: never",
		"2026-07-31T12:00:01Z":      "more than 720h ahead",
		"9999-12-31T23:59:59Z":      "more than 720h ahead",
		"\xff":                      how,
		"-2562047h47m16.854775807s": "is not in the future",
	} {
		if until, err := ParseUntil(text, noon, time.UTC); err == nil || !strings.Contains(err.Error(), says) || !until.IsZero() {
			t.Errorf("%q: %v, error %v, want one with %q", text, until, err, says)
		}
	}
}

// A hold is in force up to its end, and not at it. A zero hold never is.
func TestHoldHolds(t *testing.T) {
	hold := Hold{Until: noon}
	if !hold.Holds(noon.Add(-1)) || hold.Holds(noon) || hold.Holds(noon.Add(1)) || (Hold{}).Holds(noon) {
		t.Error("a hold is not in force exactly up to its end")
	}
	if (Hold{Asleep: true}).String() != "asleep" || (Hold{}).String() != "awake" {
		t.Error("a hold does not say what it holds")
	}
}

// No text makes ParseUntil panic, and every time that it accepts is within the bounds of a hold.
func FuzzParseUntil(f *testing.F) {
	for _, r := range untilCases {
		f.Add(r.text, int64(1774745999), uint8(1))
	}
	for _, text := range []string{"", "24:00", "-1s", "9:5", "2562047h", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59+23:59", "\xff"} {
		f.Add(text, int64(0), uint8(0))
	}
	zones := []*time.Location{time.UTC, must(time.LoadLocation(rome)), must(time.LoadLocation(howe))}
	f.Fuzz(func(t *testing.T, text string, seconds int64, zone uint8) {
		from := time.Unix(max(0, seconds%(1<<32)), 0)
		until, err := ParseUntil(text, from, zones[int(zone)%len(zones)])
		if err == nil && (!until.After(from) || until.After(from.Add(MaxHold))) {
			t.Errorf("%q from %v: until %v", text, from, until)
		}
		if err != nil && !until.IsZero() {
			t.Errorf("%q: %v, and %v", text, until, err)
		}
	})
}
