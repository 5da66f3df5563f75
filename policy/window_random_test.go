package policy_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	. "idle-scaler/policy"
)

// Whatever the zone and the time of year: a minute lies in a window if one of the minutes before
// it, as many as the window is long, is one in which the clock shows its start or jumps over it;
// and Until is the first that does not.
func TestWindowsMinuteByMinute(t *testing.T) {
	zones := []string{"UTC", rome, york, howe, "Africa/Cairo", "Asia/Kathmandu"}
	rapid.Check(t, func(t *rapid.T) {
		zone := must(time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone")))
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, zone).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "minute of the year")) * time.Minute)
		if _, change := now.ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
			now = change.Add(time.Duration(rapid.IntRange(-600, 600).Draw(t, "minutes")) * time.Minute)
		}
		type daily struct{ hour, minute, length int }
		var text []string
		var spans []daily
		for range rapid.IntRange(1, 3).Draw(t, "windows") {
			d := daily{rapid.IntRange(0, 23).Draw(t, "hour"), rapid.SampledFrom([]int{0, 15, 30, 59}).Draw(t, "minute"), rapid.IntRange(1, 600).Draw(t, "length")}
			if rapid.Bool().Draw(t, "at night") {
				d.hour = rapid.IntRange(0, 3).Draw(t, "hour")
			}
			spans = append(spans, d)
			text = append(text, time.Date(0, 1, 1, d.hour, d.minute, 0, 0, time.UTC).Format("4 15")+" * * * for "+(time.Duration(d.length)*time.Minute).String())
		}
		w := must(ParseWindows(strings.Join(text, ";"), zone))
		open := func(at time.Time) bool {
			for _, d := range spans {
				for minute := range d.length {
					if shows(at.Add(-time.Duration(minute)*time.Minute), d.hour, d.minute) {
						return true
					}
				}
			}
			return false
		}
		end, inside := w.Until(now)
		if inside != open(now) {
			t.Fatalf("%q at %v: open is %v", text, now, inside)
		}
		if inside && (!open(end.Add(-time.Minute)) || open(end) && end.Sub(now) < 48*time.Hour) {
			t.Fatalf("%q at %v: open until %v", text, now, end)
		}
	})
}

// shows reports whether a clock shows hour and minute at a full minute, or jumps over them then.
func shows(at time.Time, hour, minute int) bool {
	if at.Hour() == hour && at.Minute() == minute {
		return true
	}
	_, is := at.Zone()
	_, was := at.Add(-time.Second).Zone()
	for skipped := 0; skipped < is-was; skipped += 60 {
		if shown := at.Add(time.Duration(skipped) * time.Second).In(time.FixedZone("", was)); shown.Hour() == hour && shown.Minute() == minute {
			return true
		}
	}
	return false
}

// No text makes ParseWindows or ParseTimes panic or search without end; what they take is open from
// an instant to a later one.
func FuzzParseWindows(f *testing.F) {
	for _, r := range append(windowCases, clockChangeCases...) {
		f.Add(r.windows, int64(1774745999), uint8(0)) // a second before the clocks of Rome change
	}
	for _, text := range []string{"", "for", " for ", "; ;", "none", "@every 1s for 1s", "TZ= for 1h", "* * * * * * for 168h", "@hourly for 1ns", "0 0 29 2 * for 168h", "\xff for 9h"} {
		f.Add(text, int64(0), uint8(1))
	}
	zones := []*time.Location{time.UTC, must(time.LoadLocation(rome)), must(time.LoadLocation(howe))}
	f.Fuzz(func(t *testing.T, text string, seconds int64, zone uint8) {
		now := time.Unix(max(0, seconds%(1<<32)), 0)
		in := zones[int(zone)%len(zones)]
		if times, err := ParseTimes(text, in); err == nil {
			if next := times.Next(now); !next.IsZero() && !next.After(now) {
				t.Errorf("%q is due at %v, after %v", text, next, now)
			}
		}
		w, err := ParseWindows(text, in)
		if err != nil {
			if w != nil || err.Error() == "" {
				t.Errorf("%q: %v, error %q", text, w, err)
			}
			return
		}
		end, inside := w.Until(now)
		if inside != end.After(now) || !inside && !end.Equal(now) {
			t.Errorf("%q at %v: %v, %v", text, now, end, inside)
		}
		next := w.Next(now)
		if next.IsZero() {
			return
		}
		if _, opens := w.Until(next); !next.After(now) || !opens {
			t.Errorf("%q opens at %v, after %v", text, next, now)
		}
	})
}
