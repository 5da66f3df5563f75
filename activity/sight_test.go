package activity

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const settle = 2 * time.Minute

// event is something that happens to the reader of the log.
type event func(*Tracker)

func hear(clock string) event {
	return func(t *Tracker) { t.Hear(Log{Born: at("00:00:00")}, at(clock)) }
}

func hearEmpty(clock string) event {
	return func(t *Tracker) { t.Hear(Log{Born: at("00:00:00"), Empty: true}, at(clock)) }
}

func deaf(clock string) event {
	return func(t *Tracker) { t.Deaf("NATS is away", at(clock)) }
}

func tracking(events ...event) *Tracker {
	t := NewTracker(settle)
	for _, e := range events {
		e(t)
	}
	return t
}

// Silence proves nothing before the log was read, while it can't be heard, for the settle time after, and when nobody ever pinged.
func TestSight(t *testing.T) {
	for _, row := range []struct {
		name   string
		events []event
		at     string
		blind  string // a part of it; empty: not blind
		until  string
	}{
		{"never read", nil, "09:00:00", "not been read yet", ""},
		{"never read, and away", []event{deaf("08:00:00")}, "09:00:00", "not been read yet", ""},
		{"just read", []event{hear("09:00:00")}, "09:00:00", "only since a moment ago", "09:02:00"},
		{"read, before it settles", []event{hear("09:00:00")}, "09:01:59", "only since a moment ago", "09:02:00"},
		{"read and settled", []event{hear("09:00:00")}, "09:02:00", "", ""},
		{"heard again and again", []event{hear("09:00:00"), hear("09:01:00"), hear("09:02:00")}, "09:02:00", "", ""},
		{"the clock of NATS was set back", []event{hear("12:00:00"), hear("09:00:00"), hear("09:01:00")}, "09:01:59", "only since a moment ago", "09:02:00"},
		{"it was set back and settled", []event{hear("12:00:00"), hear("09:00:00"), hear("09:01:00")}, "09:02:00", "", ""},
		{"away", []event{hear("09:00:00"), deaf("10:00:00")}, "11:00:00", "NATS is away since 2026-07-01T10:00:00Z", ""},
		{"away, told twice", []event{hear("09:00:00"), deaf("10:00:00"), deaf("10:30:00")}, "11:00:00", "away since 2026-07-01T10:00:00Z", ""},
		{"back, before it settles", []event{hear("09:00:00"), deaf("10:00:00"), hear("11:00:00")}, "11:01:00", "only since a moment ago", "11:02:00"},
		{"back and settled", []event{hear("09:00:00"), deaf("10:00:00"), hear("11:00:00")}, "11:02:00", "", ""},
		{"away a second time", []event{hear("09:00:00"), deaf("10:00:00"), hear("11:00:00"), deaf("12:00:00")}, "12:30:00", "since 2026-07-01T12:00:00Z", ""},
		{"empty", []event{hearEmpty("09:00:00")}, "12:00:00", "never held a ping", ""},
		{"empty, and away", []event{hearEmpty("09:00:00"), deaf("10:00:00")}, "12:00:00", "NATS is away since 2026-07-01T10:00:00Z", ""},
		{"empty until a moment ago", []event{hearEmpty("09:00:00"), hear("11:00:00")}, "11:01:00", "only since a moment ago", "11:02:00"},
		{"no longer empty", []event{hearEmpty("09:00:00"), hear("11:00:00")}, "11:02:00", "", ""},
	} {
		sight := tracking(row.events...).Sight(at(row.at))
		if (sight.Blind == "") != (row.blind == "") || !strings.Contains(sight.Blind, row.blind) {
			t.Errorf("%s: blind is %q, want %q", row.name, sight.Blind, row.blind)
		}
		if row.until == "" != sight.Until.IsZero() || row.until != "" && !sight.Until.Equal(at(row.until)) {
			t.Errorf("%s: until %v, want %q", row.name, sight.Until, row.until)
		}
	}
}

// Time in which this process could not hear the log, or in which nobody was known to report, is not idle time.
func TestIdle(t *testing.T) {
	const minute = time.Minute
	lunch := []event{hear("06:00:00"), deaf("12:00:00"), hear("13:00:00")}
	for _, row := range []struct {
		name       string
		events     []event
		start, now string
		idle       time.Duration
	}{
		{"nothing was missed", []event{hear("06:00:00")}, "08:00:00", "09:00:00", 60 * minute},
		{"deaf before it began", lunch, "13:30:00", "14:00:00", 30 * minute},
		{"deaf until it began", lunch, "13:00:00", "14:00:00", 60 * minute},
		{"deaf in between", lunch, "11:00:00", "14:00:00", 120 * minute},
		{"began while deaf", lunch, "12:30:00", "14:00:00", 60 * minute},
		{"seen from within the deafness", lunch, "11:00:00", "12:10:00", 60 * minute},
		{"seen from before the deafness", lunch, "11:00:00", "11:10:00", 10 * minute},
		{"deaf all the time", lunch, "12:10:00", "12:50:00", 0},
		{"begins only later", lunch, "15:00:00", "14:00:00", 0},
		{"deaf twice", append(slices.Clone(lunch), deaf("13:10:00"), hear("13:20:00")), "11:00:00", "14:00:00", 110 * minute},
		{"deaf now", []event{hear("06:00:00"), deaf("13:00:00")}, "12:50:00", "14:00:00", 10 * minute},
		{"deaf when this process began", []event{deaf("12:00:00"), hear("13:00:00")}, "11:00:00", "14:00:00", 120 * minute},
		{"empty until just now", []event{hearEmpty("06:00:00"), hear("13:50:00")}, "07:00:00", "14:00:00", 10 * minute},
		{"empty, then deaf", []event{hearEmpty("06:00:00"), deaf("10:00:00"), hear("13:50:00")}, "07:00:00", "14:00:00", 10 * minute},
		{"our clock was set back while deaf", []event{hear("06:00:00"), deaf("13:00:00"), hear("12:00:00")}, "11:00:00", "14:00:00", 180 * minute},
	} {
		if idle := tracking(row.events...).Sight(at(row.now)).Idle(at(row.start), at(row.now)); idle != row.idle {
			t.Errorf("%s: idle for %s, want %s", row.name, idle, row.idle)
		}
	}
}

// Idle counts the heard minutes, and IdleAt(start, d) is the first instant at which Idle(start, ·) is d.
func TestIdleAndIdleAtAgree(t *testing.T) {
	minute := func(m int) time.Time { return at("00:00:00").Add(time.Duration(m) * time.Minute) }
	rapid.Check(t, func(t *rapid.T) {
		const end = 300
		tracker := tracking(hear("00:00:00"))
		var missed [end]bool
		for m := 0; ; {
			from := m + rapid.IntRange(0, 60).Draw(t, "heard")
			to := from + rapid.IntRange(0, 60).Draw(t, "missed")
			if m = to; to >= end {
				break
			}
			tracker.Deaf("the test says so", minute(from))
			tracker.Hear(Log{}, minute(to))
			for i := from; i < to; i++ {
				missed[i] = true
			}
		}
		sight := tracker.Sight(minute(end))
		start := rapid.IntRange(0, end-1).Draw(t, "start")
		now := rapid.IntRange(start, end).Draw(t, "now")
		heard := 0
		for i := start; i < now; i++ {
			if !missed[i] {
				heard++
			}
		}
		if idle := sight.Idle(minute(start), minute(now)); idle != time.Duration(heard)*time.Minute {
			t.Fatalf("idle for %s, want %d minutes", idle, heard)
		}
		d := time.Duration(rapid.IntRange(1, 400*60).Draw(t, "d")) * time.Second
		first := sight.IdleAt(minute(start), d)
		if before, then := sight.Idle(minute(start), first.Add(-1)), sight.Idle(minute(start), first); before >= d || then != d {
			t.Fatalf("idle for %s just before %v and for %s then, want %s", before, first, then, d)
		}
	})
}

// At most 64 intervals are kept, and what is lost of the older ones makes no server look more idle.
func TestDeafnessIsBoundedAndErrsToAwake(t *testing.T) {
	tracker := tracking(hear("00:00:00"))
	for m := range 100 { // each minute begins with 10 seconds of deafness
		begin := at("01:00:00").Add(time.Duration(m) * time.Minute)
		tracker.Deaf("the test says so", begin)
		tracker.Hear(Log{}, begin.Add(10*time.Second))
	}
	sight := tracker.Sight(at("03:00:00"))
	if n := len(sight.deaf); n != maxDeaf {
		t.Errorf("%d intervals are kept, want %d", n, maxDeaf)
	}
	if idle, most := sight.Idle(at("00:30:00"), at("03:00:00")), 150*time.Minute-1000*time.Second; idle > most || idle < 60*time.Minute {
		t.Errorf("idle for %s, want at most the %s that were heard, and not much less", idle, most)
	}
	if idle, heard := sight.Idle(at("02:00:00"), at("03:00:00")), 60*time.Minute-400*time.Second; idle != heard {
		t.Errorf("idle for %s of the last hour, want %s", idle, heard)
	}
}

// A Sight that was handed out never changes, whatever happens to the log after.
func TestSightIsAValue(t *testing.T) {
	tracker := tracking(hear("00:00:00"))
	var given, copies []Sight
	for m := range 150 {
		begin := at("01:00:00").Add(time.Duration(m) * time.Minute)
		tracker.Deaf("the test says so", begin)
		for range 2 { // one while deaf, one when it is heard again
			sight := tracker.Sight(begin.Add(time.Second))
			given = append(given, sight)
			sight.deaf = slices.Clone(sight.deaf)
			copies = append(copies, sight)
			tracker.Hear(Log{}, begin.Add(time.Second))
		}
	}
	if !reflect.DeepEqual(given, copies) {
		t.Error("a Sight has changed after it was handed out")
	}
}
