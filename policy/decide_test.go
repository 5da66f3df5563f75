package policy

import (
	"errors"
	"testing"
	"time"

	"idle-scaler/activity"
)

var (
	rules = Rules{MinAwake: time.Minute, StartDeadline: 10 * time.Minute}
	noon  = at("12:00:00") // when all decisions of the tables are made
)

// at is an instant of the day on which all tests play, as a clock shows it.
func at(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-07-01 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// fact makes one thing true of a server.
type fact func(*Facts)

// running is a server that is idle since 11:00 and has nothing that keeps it awake.
func running(facts ...fact) *Facts {
	f := &Facts{
		Settings: Defaults(30 * time.Minute),
		Replicas: 1, Ready: 1, Ours: true,
		Created: at("01:00:00"), StartingAt: at("02:00:00"), AwakeSince: at("02:00:00"), ReadySince: at("02:01:00"),
		Use:   activity.Use{Last: activity.Stamp{Sequence: 7, Time: at("11:00:00")}, LastAt: at("11:00:00")},
		Sight: activity.Sight{Born: at("00:00:00")},
	}
	for _, fact := range facts {
		fact(f)
	}
	return f
}

// sleeping is a server that was put to sleep at 11:30 after the ping of 11:00, and not used since.
func sleeping(facts ...fact) *Facts {
	f := running()
	f.Replicas, f.Ready, f.ReadySince, f.AwakeSince = 0, 0, time.Time{}, time.Time{}
	f.Because, f.AsleepSince, f.Seen = BecauseIdle, at("11:30:00"), f.Use.Last
	for _, fact := range facts {
		fact(f)
	}
	return f
}

func together(facts ...fact) fact {
	return func(f *Facts) {
		for _, fact := range facts {
			fact(f)
		}
	}
}

func nothing(*Facts)      {}
func unreadable(f *Facts) { f.Bad = errors.New("idle-after \"soon\": not a duration") }
func paused(f *Facts)     { f.Settings.Paused = true }
func never(f *Facts)      { f.Settings.IdleAfter = Never }
func deaf(f *Facts)       { f.Sight.Blind, f.Sight.Until = "NATS is away", time.Time{} }
func settling(f *Facts)   { f.Sight.Blind, f.Sight.Until = "NATS is back", at("12:01:30") }
func youngLog(f *Facts)   { f.Sight.Born = at("11:45:00") }
func unready(f *Facts)    { f.Ready, f.ReadySince = 0, time.Time{} }
func rollingOut(f *Facts) { f.RollingOut = true }
func notOurs(f *Facts)    { f.Ours = false }
func stopped(f *Facts)    { f.Because = BecauseCommand }
func markLost(f *Facts)   { f.Because, f.AsleepSince, f.Seen = "", time.Time{}, activity.Stamp{} }
func byCommand(f *Facts)  { f.Settings.WakeOnActivity = false }

func woken(clock string) fact {
	return func(f *Facts) { f.AwakeSince, f.StartingAt = at(clock), at(clock) }
}

func pinged(clock string) fact {
	return func(f *Facts) {
		f.Use.Last, f.Use.LastAt = activity.Stamp{Sequence: 8, Time: at(clock)}, at(clock)
	}
}

func leased(since, until string) fact {
	return func(f *Facts) { f.Use.LeaseSince, f.Use.LeaseUntil = at(since), at(until) }
}

type row struct {
	name   string
	fact   fact
	action Action
	reason Reason
	next   string // empty: only when something happens
}

func (r row) check(t *testing.T, name string, f *Facts) {
	t.Helper()
	d := rules.Decide(f, noon)
	if d.Action != r.action || d.Reason != r.reason {
		t.Errorf("%s: %s, because %s; want %s, because %s", name, d.Action, d.Reason, r.action, r.reason)
	}
	if r.next == "" != d.Next.IsZero() || r.next != "" && !d.Next.Equal(at(r.next)) {
		t.Errorf("%s: may change at %v, want %q", name, d.Next, r.next)
	}
}

// checkOrder checks each row for itself, and that each row beats all that come after it.
func checkOrder(t *testing.T, base func(...fact) *Facts, rows []row) {
	for i, r := range rows {
		r.check(t, r.name, base(r.fact))
		for _, later := range rows[i+1:] {
			r.check(t, r.name+" and "+later.name, base(later.fact, r.fact))
		}
	}
}

// Of the rules for a server that is awake the first that holds decides; sleep is what is left when no doubt is.
func TestDecideAwake(t *testing.T) {
	checkOrder(t, running, []row{
		{"settings can't be read", unreadable, Keep, Unreadable, ""},
		{"paused by its owner", paused, Keep, Paused, ""},
		{"the log can't be heard", deaf, Keep, Blind, ""},
		{"the log can be heard since a moment ago", settling, Keep, Blind, "12:01:30"},
		{"the log is younger than idle-after", youngLog, Keep, Blind, "12:15:00"},
		{"leased", leased("09:00:00", "12:05:00"), Keep, Leased, "12:05:00"},
		{"starting", together(unready, woken("11:55:00")), Keep, Starting, "12:05:00"},
		{"a rollout is under way", rollingOut, Keep, RollingOut, ""},
		{"woken a moment ago", woken("11:59:30"), Keep, MinAwake, "12:00:30"},
		{"used recently", pinged("11:40:00"), Keep, Awake, "12:10:00"},
		{"unused", nothing, Sleep, Idle, ""},
	})
	// "never" does away with two of the rules, and beats what is left of those below it.
	checkOrder(t, running, []row{
		{"woken a moment ago", woken("11:59:30"), Keep, MinAwake, "12:00:30"},
		{"never, and the log is young", together(never, func(f *Facts) { f.Sight.Born = at("12:01:00") }), Keep, Awake, ""},
		{"used recently, never", together(never, pinged("11:40:00")), Keep, Awake, ""},
		{"unused, never", never, Keep, Awake, ""},
	})
}

// Each rule ends in the instant that its Next names, and what is late, ended or long ago keeps nothing awake.
func TestDecideAwakeAtTheEdges(t *testing.T) {
	for _, r := range []row{
		{"the log is exactly as old as idle-after", func(f *Facts) { f.Sight.Born = at("11:30:00") }, Sleep, Idle, ""},
		{"a lease ends now", leased("09:00:00", "12:00:00"), Keep, Awake, "12:30:00"},
		{"a lease ended idle-after ago", leased("09:00:00", "11:30:00"), Sleep, Idle, ""},
		{"not ready within the start deadline: failed", together(unready, woken("11:50:00")), Keep, Awake, "12:20:00"},
		{"failed and unused", together(unready, woken("11:30:00")), Sleep, Idle, ""},
		{"lost its last ready replica", together(unready, func(f *Facts) { f.StartingAt = at("11:58:00") }), Keep, Starting, "12:08:00"},
		{"never ready, but one replica is", woken("11:55:00"), Keep, Awake, "12:25:00"},
		{"woken min-awake ago", together(woken("11:59:00"), func(f *Facts) { f.Settings.IdleAfter = time.Minute }), Sleep, Idle, ""},
		{"ready since a moment ago", func(f *Facts) { f.ReadySince = at("11:59:00") }, Keep, Awake, "12:29:00"},
		{"made a moment ago by somebody else", func(f *Facts) { f.Created = at("11:59:00") }, Keep, Awake, "12:29:00"},
		{"pinged idle-after ago", pinged("11:30:00"), Sleep, Idle, ""},
		{"pinged a nanosecond less ago", func(f *Facts) { f.Use.LastAt = at("11:30:00").Add(1) }, Keep, Awake, "12:00:00.000000001"},
		{"pinged in the future, by a clock that is ahead", pinged("13:00:00"), Keep, Awake, "13:30:00"},
		{"nobody else's", notOurs, Sleep, Idle, ""},
	} {
		r.check(t, r.name, running(r.fact))
	}
}

// A zero of somebody else's, and one that was ordered, stay. Known demand wakes even when more may have been missed.
func TestDecideAsleep(t *testing.T) {
	checkOrder(t, sleeping, []row{
		{"not ours", notOurs, Keep, NotOurs, ""},
		{"settings can't be read", unreadable, Keep, Unreadable, ""},
		{"stopped by a command", stopped, Keep, Stopped, ""},
		{"leased", leased("11:50:00", "12:05:00"), Wake, Leased, "12:05:00"},
		{"used since", pinged("11:50:00"), Wake, Activity, ""},
		{"the log can't be heard", deaf, Keep, Blind, ""},
		{"the log can be heard since a moment ago", settling, Keep, Blind, "12:01:30"},
		{"unused", nothing, Keep, Asleep, ""},
	})
}

// What counts as demand: a level, not an edge, so that any leader at any time comes to the same end.
func TestDecideAsleepAtTheEdges(t *testing.T) {
	for _, r := range []row{
		{"paused: still woken", together(paused, pinged("11:50:00")), Wake, Activity, ""},
		{"idle-after never: still woken", together(never, pinged("11:50:00")), Wake, Activity, ""},
		{"the ping that the sleep knew", func(f *Facts) { f.Seen = f.Use.Last }, Keep, Asleep, ""},
		{"a ping before the sleep that it did not know", pinged("11:29:00"), Wake, Activity, ""},
		{"a ping of that number in a stream made again", func(f *Facts) { f.Use.Last.Time = at("11:50:00") }, Wake, Activity, ""},
		{"the log was purged", func(f *Facts) { f.Use = activity.Use{} }, Keep, Asleep, ""},
		{"a lease ends now", leased("11:50:00", "12:00:00"), Keep, Asleep, ""},
		{"our mark got lost, and it was used before", markLost, Wake, Activity, ""},
		{"our mark got lost, and it was never used", together(markLost, func(f *Facts) { f.Use = activity.Use{} }), Keep, Asleep, ""},

		{"no wake on activity: pinged", together(byCommand, pinged("11:50:00")), Keep, Asleep, ""},
		{"no wake on activity: leased", together(byCommand, leased("11:50:00", "13:00:00")), Keep, Asleep, ""},
		{"no wake on activity: a ping before the sleep that it did not know", together(byCommand, pinged("11:29:59")), Wake, Activity, ""},
		{"no wake on activity: a ping that crossed the sleep", together(byCommand, pinged("11:30:00")), Wake, Activity, ""},
		{"no wake on activity: a ping one second after the sleep", together(byCommand, pinged("11:30:01")), Keep, Asleep, ""},
		{"no wake on activity: a lease that crossed the sleep", together(byCommand, leased("11:30:00", "13:00:00")), Wake, Leased, "13:00:00"},
		{"no wake on activity: our mark got lost", together(byCommand, markLost), Keep, Asleep, ""},
	} {
		r.check(t, r.name, sleeping(r.fact))
	}
}

// The idle clock starts at the latest of all signs of use, and of the birth of the log.
func TestIdleSince(t *testing.T) {
	for name, latest := range map[string]fact{
		"created":    func(f *Facts) { f.Created = at("11:11:00") },
		"ping":       func(f *Facts) { f.Use.LastAt = at("11:11:00") },
		"lease":      func(f *Facts) { f.Use.LeaseUntil = at("11:11:00") },
		"wake":       func(f *Facts) { f.AwakeSince = at("11:11:00") },
		"ready":      func(f *Facts) { f.ReadySince = at("11:11:00") },
		"log's born": func(f *Facts) { f.Sight.Born = at("11:11:00") },
	} {
		if since := running(latest).IdleSince(); !since.Equal(at("11:11:00")) {
			t.Errorf("%s: idle since %v, want 11:11", name, since)
		}
	}
}

// Time in which the log could not be heard is not idle time: a server sleeps that much later.
func TestDecideAfterDeafness(t *testing.T) {
	tracker := activity.NewTracker(2 * time.Minute)
	tracker.Hear(activity.Log{Born: at("00:00:00")}, at("01:00:00"))
	tracker.Deaf("NATS is away", at("11:10:00"))
	tracker.Hear(activity.Log{Born: at("00:00:00")}, at("11:50:00"))
	f := running(func(f *Facts) { f.Sight = tracker.Sight(noon) })
	row{action: Keep, reason: Awake, next: "12:10:00"}.check(t, "deaf for 40 of 60 minutes", f)
	if d := rules.Decide(f, noon); d.Idle != 20*time.Minute {
		t.Errorf("idle for %s, want the 20 minutes that were heard", d.Idle)
	}
}
