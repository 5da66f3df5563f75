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

func caughtUp(clock string) event {
	return func(t *Tracker) { t.CaughtUp(Log{CompleteSince: at("00:00:00")}, at(clock)) }
}

func caughtUpEmpty(clock string) event {
	return func(t *Tracker) { t.CaughtUp(Log{CompleteSince: at("00:00:00"), Empty: true}, at(clock)) }
}

func lost(clock string) event {
	return func(t *Tracker) { t.Lost("NATS is away", at(clock)) }
}

func tracking(events ...event) *Tracker {
	t := NewTracker(settle)
	for _, e := range events {
		e(t)
	}
	return t
}

// Silence proves nothing before the log was read, while it can't be read, for the settle time after
// that, and when nobody ever pinged.
func TestCoverage(t *testing.T) {
	for _, row := range []struct {
		name   string
		events []event
		at     string
		blind  string // a part of it; empty: not blind
		until  string
	}{
		{"never read", nil, "09:00:00", "not been read yet", ""},
		{"never read, and away", []event{lost("08:00:00")}, "09:00:00", "not been read yet", ""},
		{"just read", []event{caughtUp("09:00:00")}, "09:00:00", "only since a moment ago", "09:02:00"},
		{"read, before it settles", []event{caughtUp("09:00:00")}, "09:01:59", "only since a moment ago", "09:02:00"},
		{"read and settled", []event{caughtUp("09:00:00")}, "09:02:00", "", ""},
		{"complete again and again", []event{caughtUp("09:00:00"), caughtUp("09:01:00"), caughtUp("09:02:00")}, "09:02:00", "", ""},
		{"the clock of NATS was set back", []event{caughtUp("12:00:00"), caughtUp("09:00:00"), caughtUp("09:01:00")}, "09:01:59", "only since a moment ago", "09:02:00"},
		{"it was set back and settled", []event{caughtUp("12:00:00"), caughtUp("09:00:00"), caughtUp("09:01:00")}, "09:02:00", "", ""},
		{"away", []event{caughtUp("09:00:00"), lost("10:00:00")}, "11:00:00", "NATS is away since 2026-07-01T10:00:00Z", ""},
		{"away, twice", []event{caughtUp("09:00:00"), lost("10:00:00"), lost("10:30:00")}, "11:00:00", "away since 2026-07-01T10:00:00Z", ""},
		{"back, before it settles", []event{caughtUp("09:00:00"), lost("10:00:00"), caughtUp("11:00:00")}, "11:01:00", "only since a moment ago", "11:02:00"},
		{"back and settled", []event{caughtUp("09:00:00"), lost("10:00:00"), caughtUp("11:00:00")}, "11:02:00", "", ""},
		{"away a second time", []event{caughtUp("09:00:00"), lost("10:00:00"), caughtUp("11:00:00"), lost("12:00:00")}, "12:30:00", "since 2026-07-01T12:00:00Z", ""},
		{"empty", []event{caughtUpEmpty("09:00:00")}, "12:00:00", "never held a ping", ""},
		{"empty, and away", []event{caughtUpEmpty("09:00:00"), lost("10:00:00")}, "12:00:00", "NATS is away since 2026-07-01T10:00:00Z", ""},
		{"empty until a moment ago", []event{caughtUpEmpty("09:00:00"), caughtUp("11:00:00")}, "11:01:00", "only since a moment ago", "11:02:00"},
		{"no longer empty", []event{caughtUpEmpty("09:00:00"), caughtUp("11:00:00")}, "11:02:00", "", ""},
	} {
		coverage := tracking(row.events...).Coverage(at(row.at))
		if (coverage.Blind == "") != (row.blind == "") || !strings.Contains(coverage.Blind, row.blind) {
			t.Errorf("%s: blind is %q, want %q", row.name, coverage.Blind, row.blind)
		}
		if row.until == "" != coverage.Until.IsZero() || row.until != "" && !coverage.Until.Equal(at(row.until)) {
			t.Errorf("%s: until %v, want %q", row.name, coverage.Until, row.until)
		}
	}
}

// Time in which this process could not caughtUp the log, or in which nobody was known to report, is not idle time.
func TestIdle(t *testing.T) {
	const minute = time.Minute
	lunch := []event{caughtUp("06:00:00"), lost("12:00:00"), caughtUp("13:00:00")}
	for _, row := range []struct {
		name       string
		events     []event
		start, now string
		idle       time.Duration
	}{
		{"nothing was missed", []event{caughtUp("06:00:00")}, "08:00:00", "09:00:00", 60 * minute},
		{"lost before it began", lunch, "13:30:00", "14:00:00", 30 * minute},
		{"lost until it began", lunch, "13:00:00", "14:00:00", 60 * minute},
		{"lost in between", lunch, "11:00:00", "14:00:00", 120 * minute},
		{"began while lost", lunch, "12:30:00", "14:00:00", 60 * minute},
		{"seen from within the gap", lunch, "11:00:00", "12:10:00", 60 * minute},
		{"seen from before the gap", lunch, "11:00:00", "11:10:00", 10 * minute},
		{"lost all the time", lunch, "12:10:00", "12:50:00", 0},
		{"begins only later", lunch, "15:00:00", "14:00:00", 0},
		{"lost twice", append(slices.Clone(lunch), lost("13:10:00"), caughtUp("13:20:00")), "11:00:00", "14:00:00", 110 * minute},
		{"lost now", []event{caughtUp("06:00:00"), lost("13:00:00")}, "12:50:00", "14:00:00", 10 * minute},
		{"lost when this process began", []event{lost("12:00:00"), caughtUp("13:00:00")}, "11:00:00", "14:00:00", 120 * minute},
		{"empty until just now", []event{caughtUpEmpty("06:00:00"), caughtUp("13:50:00")}, "07:00:00", "14:00:00", 10 * minute},
		{"empty, then lost", []event{caughtUpEmpty("06:00:00"), lost("10:00:00"), caughtUp("13:50:00")}, "07:00:00", "14:00:00", 10 * minute},
		{"our clock was set back while lost", []event{caughtUp("06:00:00"), lost("13:00:00"), caughtUp("12:00:00")}, "11:00:00", "14:00:00", 180 * minute},
	} {
		if idle := tracking(row.events...).Coverage(at(row.now)).Idle(at(row.start), at(row.now)); idle != row.idle {
			t.Errorf("%s: idle for %s, want %s", row.name, idle, row.idle)
		}
	}
}

// Idle counts the complete minutes, and IdleAt(start, d) is the first instant at which Idle(start, ·) is d.
func TestIdleAndIdleAtAgree(t *testing.T) {
	minute := func(m int) time.Time { return at("00:00:00").Add(time.Duration(m) * time.Minute) }
	rapid.Check(t, func(t *rapid.T) {
		const end = 300
		tracker := tracking(caughtUp("00:00:00"))
		var missed [end]bool
		for m := 0; ; {
			from := m + rapid.IntRange(0, 60).Draw(t, "complete")
			to := from + rapid.IntRange(0, 60).Draw(t, "missed")
			if m = to; to >= end {
				break
			}
			tracker.Lost("the test says so", minute(from))
			tracker.CaughtUp(Log{}, minute(to))
			for i := from; i < to; i++ {
				missed[i] = true
			}
		}
		coverage := tracker.Coverage(minute(end))
		start := rapid.IntRange(0, end-1).Draw(t, "start")
		now := rapid.IntRange(start, end).Draw(t, "now")
		complete := 0
		for i := start; i < now; i++ {
			if !missed[i] {
				complete++
			}
		}
		if idle := coverage.Idle(minute(start), minute(now)); idle != time.Duration(complete)*time.Minute {
			t.Fatalf("idle for %s, want %d minutes", idle, complete)
		}
		d := time.Duration(rapid.IntRange(1, 400*60).Draw(t, "d")) * time.Second
		first := coverage.IdleAt(minute(start), d)
		if before, then := coverage.Idle(minute(start), first.Add(-1)), coverage.Idle(minute(start), first); before >= d || then != d {
			t.Fatalf("idle for %s just before %v and for %s then, want %s", before, first, then, d)
		}
	})
}

// At most 64 intervals are kept, and what is lost of the older ones makes no server look more idle.
func TestGapsAreBoundedAndErrToAwake(t *testing.T) {
	tracker := tracking(caughtUp("00:00:00"))
	for m := range 100 { // each minute begins with 10 seconds without the log
		begin := at("01:00:00").Add(time.Duration(m) * time.Minute)
		tracker.Lost("the test says so", begin)
		tracker.CaughtUp(Log{}, begin.Add(10*time.Second))
	}
	coverage := tracker.Coverage(at("03:00:00"))
	if n := len(coverage.gaps); n != maxGaps {
		t.Errorf("%d intervals are kept, want %d", n, maxGaps)
	}
	if idle, most := coverage.Idle(at("00:30:00"), at("03:00:00")), 150*time.Minute-1000*time.Second; idle > most || idle < 60*time.Minute {
		t.Errorf("idle for %s, want at most the %s that were complete, and not much less", idle, most)
	}
	if idle, complete := coverage.Idle(at("02:00:00"), at("03:00:00")), 60*time.Minute-400*time.Second; idle != complete {
		t.Errorf("idle for %s of the last hour, want %s", idle, complete)
	}
}

// A Coverage that was handed out never changes, whatever happens to the log after.
func TestCoverageIsAValue(t *testing.T) {
	tracker := tracking(caughtUp("00:00:00"))
	var given, copies []Coverage
	for m := range 150 {
		begin := at("01:00:00").Add(time.Duration(m) * time.Minute)
		tracker.Lost("the test says so", begin)
		for range 2 { // one while the log is lost, one when it is complete again
			coverage := tracker.Coverage(begin.Add(time.Second))
			given = append(given, coverage)
			coverage.gaps = slices.Clone(coverage.gaps)
			copies = append(copies, coverage)
			tracker.CaughtUp(Log{}, begin.Add(time.Second))
		}
	}
	if !reflect.DeepEqual(given, copies) {
		t.Error("a Coverage has changed after it was handed out")
	}
}
