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

// tracking returns a Tracker after a story like "09:00 caught up, 10:00 lost, 11:00 empty".
func tracking(story string) *Tracker {
	t := NewTracker(settle)
	for step := range strings.SplitSeq(story, ", ") {
		switch clock, happens, _ := strings.Cut(step, " "); happens {
		case "caught up":
			t.CaughtUp(Log{CompleteSince: at("00:00")}, at(clock))
		case "empty":
			t.CaughtUp(Log{CompleteSince: at("00:00"), Empty: true}, at(clock))
		case "lost":
			t.Lost("NATS is away", at(clock))
		case "":
		default:
			panic("a story that can't be read: " + step)
		}
	}
	return t
}

// Silence proves nothing before the log was read, while it can't be read, for the settle time after
// that, and while the log never held a ping.
func TestCoverage(t *testing.T) {
	for _, row := range []struct {
		name  string
		story string
		at    string
		blind string // a part of Blind; empty: not blind
		until string
	}{
		{"never read", "", "09:00", "not been read yet", ""},
		{"never read, and away", "08:00 lost", "09:00", "not been read yet", ""},
		{"just read", "09:00 caught up", "09:00", "only since a moment ago", "09:02"},
		{"read, not settled", "09:00 caught up", "09:01:59", "only since a moment ago", "09:02"},
		{"read and settled", "09:00 caught up", "09:02", "", ""},
		{"complete again and again", "09:00 caught up, 09:01 caught up, 09:02 caught up", "09:02", "", ""},
		{"a clock set back", "12:00 caught up, 09:00 caught up, 09:01 caught up", "09:01:59", "only since a moment ago", "09:02"},
		{"a clock set back, settled", "12:00 caught up, 09:00 caught up, 09:01 caught up", "09:02", "", ""},
		{"away", "09:00 caught up, 10:00 lost", "11:00", "NATS is away since 2026-07-01T10:00:00Z", ""},
		{"away, twice", "09:00 caught up, 10:00 lost, 10:30 lost", "11:00", "away since 2026-07-01T10:00:00Z", ""},
		{"back, not settled", "09:00 caught up, 10:00 lost, 11:00 caught up", "11:01", "only since a moment ago", "11:02"},
		{"back and settled", "09:00 caught up, 10:00 lost, 11:00 caught up", "11:02", "", ""},
		{"away again", "09:00 caught up, 10:00 lost, 11:00 caught up, 12:00 lost", "12:30", "since 2026-07-01T12:00:00Z", ""},
		{"empty", "09:00 empty", "12:00", "never held a ping", ""},
		{"empty, and away", "09:00 empty, 10:00 lost", "12:00", "NATS is away since 2026-07-01T10:00:00Z", ""},
		{"empty until a moment ago", "09:00 empty, 11:00 caught up", "11:01", "only since a moment ago", "11:02"},
		{"no longer empty", "09:00 empty, 11:00 caught up", "11:02", "", ""},
	} {
		coverage := tracking(row.story).Coverage(at(row.at))
		if (coverage.Blind == "") != (row.blind == "") || !strings.Contains(coverage.Blind, row.blind) {
			t.Errorf("%s: blind is %q, want %q", row.name, coverage.Blind, row.blind)
		}
		if row.until == "" != coverage.Until.IsZero() || row.until != "" && !coverage.Until.Equal(at(row.until)) {
			t.Errorf("%s: until %v, want %q", row.name, coverage.Until, row.until)
		}
	}
}

// Time in which this process could not read the log, or in which the log had never held a ping, is
// not idle time.
func TestIdle(t *testing.T) {
	const minute = time.Minute
	const lunch = "06:00 caught up, 12:00 lost, 13:00 caught up"
	for _, row := range []struct {
		name       string
		story      string
		start, now string
		idle       time.Duration
	}{
		{"no gap", "06:00 caught up", "08:00", "09:00", 60 * minute},
		{"a gap before it began", lunch, "13:30", "14:00", 30 * minute},
		{"a gap until it began", lunch, "13:00", "14:00", 60 * minute},
		{"a gap in between", lunch, "11:00", "14:00", 120 * minute},
		{"began in the gap", lunch, "12:30", "14:00", 60 * minute},
		{"asked in the gap", lunch, "11:00", "12:10", 60 * minute},
		{"asked before the gap", lunch, "11:00", "11:10", 10 * minute},
		{"the gap is longer", lunch, "12:10", "12:50", 0},
		{"begins after now", lunch, "15:00", "14:00", 0},
		{"two gaps", lunch + ", 13:10 lost, 13:20 caught up", "11:00", "14:00", 110 * minute},
		{"the gap has not ended", "06:00 caught up, 13:00 lost", "12:50", "14:00", 10 * minute},
		{"lost before it was read", "12:00 lost, 13:00 caught up", "11:00", "14:00", 120 * minute},
		{"empty until a moment ago", "06:00 empty, 13:50 caught up", "07:00", "14:00", 10 * minute},
		{"empty, then lost", "06:00 empty, 10:00 lost, 13:50 caught up", "07:00", "14:00", 10 * minute},
		{"the clock was set back in the gap", "06:00 caught up, 13:00 lost, 12:00 caught up", "11:00", "14:00", 180 * minute},
	} {
		if idle := tracking(row.story).Coverage(at(row.now)).Idle(at(row.start), at(row.now)); idle != row.idle {
			t.Errorf("%s: idle for %s, want %s", row.name, idle, row.idle)
		}
	}
}

// Idle counts the minutes outside of gaps, and IdleAt(start, d) is the first instant at which
// Idle(start, ·) is d.
func TestIdleAndIdleAtAgree(t *testing.T) {
	minute := func(m int) time.Time { return at("00:00").Add(time.Duration(m) * time.Minute) }
	rapid.Check(t, func(t *rapid.T) {
		const end = 300
		tracker := tracking("00:00 caught up")
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
		before, then := coverage.Idle(minute(start), first.Add(-1)), coverage.Idle(minute(start), first)
		if before >= d || then != d {
			t.Fatalf("idle for %s just before %v and for %s then, want %s", before, first, then, d)
		}
	})
}

// At most 64 gaps are kept. To join the oldest makes no server look more idle.
func TestGapsAreBoundedAndErrToAwake(t *testing.T) {
	tracker := tracking("00:00 caught up")
	for m := range 100 { // each minute begins with a gap of 10 seconds
		begin := at("01:00").Add(time.Duration(m) * time.Minute)
		tracker.Lost("the test says so", begin)
		tracker.CaughtUp(Log{}, begin.Add(10*time.Second))
	}
	coverage := tracker.Coverage(at("03:00"))
	if n := len(coverage.gaps); n != maxGaps {
		t.Errorf("%d gaps are kept, want %d", n, maxGaps)
	}
	idle, most := coverage.Idle(at("00:30"), at("03:00")), 150*time.Minute-1000*time.Second
	if idle > most || idle < 60*time.Minute {
		t.Errorf("idle for %s, want at most the %s outside of gaps, and not much less", idle, most)
	}
	if idle, complete := coverage.Idle(at("02:00"), at("03:00")), 60*time.Minute-400*time.Second; idle != complete {
		t.Errorf("idle for %s of the last hour, want %s", idle, complete)
	}
}

// A Coverage never changes, whatever happens to the log afterwards.
func TestCoverageIsAValue(t *testing.T) {
	tracker := tracking("00:00 caught up")
	var coverages, copies []Coverage
	for m := range 150 {
		begin := at("01:00").Add(time.Duration(m) * time.Minute)
		tracker.Lost("the test says so", begin)
		for range 2 { // one in the gap, one after it
			coverage := tracker.Coverage(begin.Add(time.Second))
			coverages = append(coverages, coverage)
			coverage.gaps = slices.Clone(coverage.gaps)
			copies = append(copies, coverage)
			tracker.CaughtUp(Log{}, begin.Add(time.Second))
		}
	}
	if !reflect.DeepEqual(coverages, copies) {
		t.Error("a Coverage has changed")
	}
}
