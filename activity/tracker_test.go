package activity

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var server = ID{"team-a", "search"}

// at returns an instant of the day on which all tests play, like 09:30 or 09:30:15.
func at(clock string) time.Time {
	if len(clock) == len("15:04") {
		clock += ":00"
	}
	t, err := time.Parse(time.DateTime, "2026-07-01 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

func stamp(sequence uint64, clock string) Stamp { return Stamp{sequence, at(clock)} }

// The last ping counts. A ping is older only if both its sequence and its time say so.
func TestPing(t *testing.T) {
	for _, row := range []struct {
		name  string
		pings []Stamp
		last  Stamp
	}{
		{"none", nil, Stamp{}},
		{"the later of two", []Stamp{stamp(1, "09:00"), stamp(2, "10:00")}, stamp(2, "10:00")},
		{"the older comes late", []Stamp{stamp(2, "10:00"), stamp(1, "09:00")}, stamp(2, "10:00")},
		{"two at one instant, the older comes late", []Stamp{stamp(2, "10:00"), stamp(1, "10:00")}, stamp(2, "10:00")},
		{"the same twice", []Stamp{stamp(2, "10:00"), stamp(2, "10:00")}, stamp(2, "10:00")},
		{"the stream was created again", []Stamp{stamp(900, "09:00"), stamp(1, "10:00")}, stamp(1, "10:00")},
		{"the clock of the stream was set back", []Stamp{stamp(1, "10:00"), stamp(2, "09:00")}, stamp(2, "09:00")},
	} {
		tracker := NewTracker(0)
		for _, p := range row.pings {
			tracker.Ping(server, p)
		}
		if use := tracker.Of(server); use.Last != row.last {
			t.Errorf("%s: last is %v, want %v", row.name, use.Last, row.last)
		}
	}
}

// Two stamps name the same message only if sequence and time are equal. The time zone does not
// matter.
func TestStampEqual(t *testing.T) {
	rome := time.FixedZone("CEST", 7200)
	a := stamp(7, "10:00")
	for _, row := range []struct {
		name  string
		b     Stamp
		equal bool
	}{
		{"itself", a, true},
		{"the same in another zone", Stamp{7, a.Time.In(rome)}, true},
		{"the same sequence in a stream created again", stamp(7, "11:00"), false},
		{"another message of that instant", stamp(8, "10:00"), false},
	} {
		if a.Equal(row.b) != row.equal || row.b.Equal(a) != row.equal {
			t.Errorf("%s: equal is %v, want %v", row.name, !row.equal, row.equal)
		}
	}
	if a.IsZero() || !(Stamp{}).IsZero() {
		t.Error("want that only the zero Stamp names no message")
	}
}

type message struct {
	holder string
	since  string
	ttl    time.Duration
}

// A server is in use until the last of its leases ends. The newest message of a holder counts, also
// when it shortens the lease.
func TestLease(t *testing.T) {
	const minute = time.Minute
	for _, row := range []struct {
		name     string
		messages []message
		until    string
	}{
		{"one", []message{{"a", "09:00", 5 * minute}}, "09:05"},
		{"renewed", []message{{"a", "09:00", 5 * minute}, {"a", "09:04", 5 * minute}}, "09:09"},
		{"shortened", []message{{"a", "09:00", 60 * minute}, {"a", "09:01", minute}}, "09:02"},
		{"ended", []message{{"a", "09:00", 60 * minute}, {"a", "09:01", 0}}, "09:01"},
		{"begun again", []message{{"a", "09:00", 60 * minute}, {"a", "09:01", 0}, {"a", "09:02", minute}}, "09:03"},
		{"ended by a message that comes late", []message{{"a", "09:01", 60 * minute}, {"a", "09:00", 0}}, "10:01"},
		{"ended by a ttl below zero", []message{{"a", "09:00", 5 * minute}, {"a", "09:01", -60 * minute}}, "09:01"},
		{"ended in the instant of its beginning", []message{{"a", "09:00", 60 * minute}, {"a", "09:00", 0}}, "09:00"},
		{"of two, one ends", []message{{"a", "09:00", 60 * minute}, {"b", "09:00", 5 * minute}, {"a", "09:01", 0}}, "09:05"},
		{"of two, one lasts longer", []message{{"a", "09:00", 60 * minute}, {"b", "09:30", minute}}, "10:00"},
		{"of two, both end", []message{{"a", "09:00", 5 * minute}, {"b", "09:10", 0}, {"b", "09:11", 0}}, "09:11"},
	} {
		tracker := NewTracker(0)
		for _, m := range row.messages {
			tracker.Lease(server, m.holder, at(m.since), m.ttl)
		}
		use, end := tracker.Of(server), at(row.until)
		if !use.LeaseUntil.Equal(end) || !use.Leased(end.Add(-1)) || use.Leased(end) {
			t.Errorf("%s: leased until %v, want until just before %v", row.name, use.LeaseUntil, end)
		}
	}
}

// Leases lists only live leases, each with its holder. LeaseSince belongs to the lease that ends
// last, whatever leases others begin or end.
func TestLeases(t *testing.T) {
	tracker := NewTracker(0)
	tracker.Lease(server, "a", at("09:00"), time.Hour)
	tracker.Lease(server, "b", at("09:10"), time.Minute)
	tracker.Lease(server, "c", at("09:05"), 55*time.Minute)
	tracker.Lease(server, "d", at("09:10"), 0)
	for range 50 { // Of sees them in random order
		if since := tracker.Of(server).LeaseSince; !since.Equal(at("09:00")) {
			t.Fatalf("leased since %v, want 09:00", since)
		}
	}
	tracker.Lease(server, "c", at("09:10"), 0)
	for clock, n := range map[string]int{"09:10:30": 2, "09:11": 1, "09:59:59": 1, "10:00": 0} {
		live := tracker.Leases(server, at(clock))
		if len(live) != n || n == 1 && live[0] != (Lease{"a", at("09:00"), at("10:00")}) {
			t.Errorf("live at %s: %v, want %d", clock, live, n)
		}
	}
	if other := (ID{"team-b", "search"}); tracker.Of(other) != (Use{}) || tracker.Leases(other, at("09:00")) != nil {
		t.Error("a server that was never used is in use")
	}
}

// Holders that come and go leave nothing behind, except the latest end of their leases.
func TestLeasesOfManyHolders(t *testing.T) {
	const holders = 100_000
	tracker, morning := NewTracker(0), at("09:00")
	tracker.Lease(server, "the longest", morning, 150*time.Second)
	most := 0
	for i := range holders {
		begin := morning.Add(time.Duration(i) * 2 * time.Millisecond)
		holder := fmt.Sprint("session-", i)
		tracker.Lease(server, holder, begin, time.Minute)
		tracker.Lease(server, holder, begin.Add(time.Millisecond), 0)
		most = max(most, len(tracker.uses[server].leases))
	}
	if most > 2*fewLeases {
		t.Errorf("%d leases were kept at a time, though at most 2 were live", most)
	}
	last := morning.Add(holders*2*time.Millisecond - time.Millisecond)
	if until := tracker.Of(server).LeaseUntil; !until.Equal(last) {
		t.Errorf("leased until %v, want %v", until, last)
	}
}

// Many holders at once cost no more for each than a few. This test takes minutes when every message
// reads every lease.
func TestLeasesOfManyHoldersAtOnce(t *testing.T) {
	const holders = 100_000
	tracker, morning, noon := NewTracker(0), at("09:00"), at("12:00")
	for i := range holders {
		tracker.Lease(server, fmt.Sprint("session-", i), morning, time.Hour)
	}
	if live := tracker.Leases(server, at("09:59:59")); len(live) != holders {
		t.Errorf("%d leases are live, want %d", len(live), holders)
	}
	for range 2 * holders {
		tracker.Lease(server, "gateway", noon, time.Minute)
	}
	if kept := len(tracker.uses[server].leases); kept != 1 {
		t.Errorf("%d leases are kept, want only that of the gateway", kept)
	}
}

// A Tracker that forgets leases answers like one that keeps all of them.
func TestForgettingShowsNowhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tracker, all, now := NewTracker(0), map[string]time.Time{}, at("09:00")
		for range rapid.IntRange(1, 200).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "later")) * time.Second)
			holder := fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "holder"))
			ttl := time.Duration(rapid.IntRange(0, 900).Draw(t, "ttl")) * time.Second
			tracker.Lease(server, holder, now, ttl)
			all[holder] = now.Add(ttl)

			var until time.Time
			live := 0
			for _, end := range all {
				until = latest(until, end)
				if end.After(now) {
					live++
				}
			}
			if got := tracker.Of(server).LeaseUntil; !got.Equal(until) {
				t.Fatalf("leased until %v, want %v", got, until)
			}
			if got := len(tracker.Leases(server, now)); got != live {
				t.Fatalf("%d live leases, want %d", got, live)
			}
		}
	})
}

// All methods may be called concurrently. Run this under -race.
func TestConcurrentUse(t *testing.T) {
	tracker := NewTracker(time.Minute)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			id := ID{"team-a", fmt.Sprint(worker % 2)}
			for i := range 200 {
				now := at("09:00").Add(time.Duration(i) * time.Second)
				tracker.Ping(id, Stamp{uint64(i + 1), now})
				tracker.Lease(id, fmt.Sprint(i%5), now, time.Minute)
				if worker == 0 {
					tracker.Lost("the test says so", now)
					tracker.CaughtUp(Log{CompleteSince: at("08:00")}, now.Add(time.Millisecond))
				}
				tracker.Of(id)
				tracker.Leases(id, now)
				coverage := tracker.Coverage(now)
				coverage.Idle(at("08:00"), now)
				coverage.IdleAt(at("08:00"), time.Minute)
			}
		})
	}
	all.Wait()
	for _, name := range []string{"0", "1"} {
		if last := tracker.Of(ID{"team-a", name}).Last; last.Sequence != 200 {
			t.Errorf("the last ping is %v", last)
		}
	}
}

// The Tracker forgets a use that is older than any that the log holds and than any that a decision
// depends on. It keeps all others. Gaps do not count.
func TestOldUsesAreForgotten(t *testing.T) {
	const day = 24 * time.Hour
	begin := at("00:00")
	search, other := ID{"team-a", "search"}, ID{"team-a", "other"}
	gap := func(t *Tracker) {
		t.Lost("NATS is away", begin.Add(10*day))
		t.CaughtUp(Log{}, begin.Add(12*day))
	}
	for _, row := range []struct {
		name    string
		happens func(*Tracker)
		after   time.Duration
		left    int
	}{
		{"a ping", func(*Tracker) {}, forgetAfter, 0},
		{"a ping a moment less ago", func(*Tracker) {}, forgetAfter - 1, 1},
		{"a later ping", func(t *Tracker) { t.Ping(search, Stamp{2, begin.Add(1)}) }, forgetAfter, 1},
		{"a ping to another", func(t *Tracker) { t.Ping(other, Stamp{2, begin.Add(day)}) }, forgetAfter, 1},
		{"a lease that ended later", func(t *Tracker) { t.Lease(search, "a", begin, time.Hour) }, forgetAfter, 1},
		{"a lease that ended, too", func(t *Tracker) { t.Lease(search, "a", begin, time.Hour) }, forgetAfter + time.Hour, 0},
		{"a lease of another", func(t *Tracker) { t.Lease(other, "a", begin, time.Hour) }, forgetAfter + time.Hour, 0},
		{"a gap in between", gap, forgetAfter + 2*day - 1, 1},
		{"a gap in between, and long enough ago", gap, forgetAfter + 2*day, 0},
		{"a gap until now", func(t *Tracker) { t.Lost("NATS is away", begin.Add(10*day)) }, forgetAfter + day, 1},
		{"searched a moment ago", func(t *Tracker) { t.CaughtUp(Log{}, begin.Add(forgetAfter-time.Hour)) }, forgetAfter, 1},
	} {
		tracker := NewTracker(0)
		tracker.CaughtUp(Log{}, begin)
		tracker.Ping(search, Stamp{1, begin})
		row.happens(tracker)
		tracker.CaughtUp(Log{}, begin.Add(row.after))
		if n := len(tracker.uses); n != row.left {
			t.Errorf("%s: %d are left, want %d", row.name, n, row.left)
		}
	}
}
