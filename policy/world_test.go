package policy_test

import (
	"errors"
	"testing"
	"time"

	. "idle-scaler/policy"
	_ "time/tzdata" // the zones must not depend on the machine

	"idle-scaler/activity"
)

var (
	rules = Rules{MinAwake: time.Minute, StartDeadline: 10 * time.Minute}
	noon  = at("12:00:00") // when all decisions of the tables are made
)

// at is an instant of the day on which all tests play, a Wednesday, as a clock shows it; or of the
// day that it names.
func at(clock string) time.Time {
	if len(clock) < len(time.DateTime) {
		clock = "2026-07-01 " + clock
	}
	t, err := time.Parse(time.DateTime, clock)
	if err != nil {
		panic(err)
	}
	return t
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// fact makes one thing true of a server.
type fact func(*Facts)

// running is a server that is idle since 11:00 and has nothing that keeps it awake.
func running(facts ...fact) *Facts {
	f := &Facts{
		Settings: Defaults(30 * time.Minute),
		Replicas: 1, Ready: 1, Ours: true,
		Created: at("01:00:00"), StartingAt: at("02:00:00"), AwakeSince: at("02:00:00"), ReadySince: at("02:01:00"),
		Use:      activity.Use{Last: activity.Stamp{Sequence: 7, Time: at("11:00:00")}},
		Coverage: activity.Coverage{CompleteSince: at("00:00:00")},
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
func disordered(f *Facts) {
	f.Group.Bad = "after goes in a circle: a after b after a: take one of them out"
}
func paused(f *Facts)     { f.Settings.Paused = true }
func never(f *Facts)      { f.Settings.IdleAfter = Never }
func dryRun(f *Facts)     { f.Settings.DryRun = true }
func autoscaled(f *Facts) { f.Rival = KEDA }
func lost(f *Facts)       { f.Coverage.Blind, f.Coverage.Until = "NATS is away", time.Time{} }
func settling(f *Facts)   { f.Coverage.Blind, f.Coverage.Until = "NATS is back", at("12:01:30") }
func youngLog(f *Facts)   { f.Coverage.CompleteSince = at("11:45:00") }
func unready(f *Facts)    { f.Ready, f.ReadySince = 0, time.Time{} }
func rollingOut(f *Facts) { f.RollingOut = true }
func notOurs(f *Facts)    { f.Ours = false }
func started(f *Facts)    { f.Because = BecauseAfter }
func stopped(f *Facts)    { f.Because = BecauseCommand }
func markLost(f *Facts)   { f.Because, f.AsleepSince, f.Seen = "", time.Time{}, activity.Stamp{} }
func byCommand(f *Facts)  { f.Settings.WakeOnActivity = false }
func inRome(f *Facts)     { f.Settings.TimeZone = must(time.LoadLocation("Europe/Rome")) }

func pausedBy(scope string) fact {
	return func(f *Facts) {
		f.Paused = Pause{Scope: scope, Since: at("11:15:00"), Actor: "ann", Reason: "incident 7"}
	}
}

func held(asleep bool, until string) fact {
	return func(f *Facts) {
		f.Hold = Hold{Asleep: asleep, Since: at("10:00:00"), Until: at(until), Actor: "ann", Reason: "demo"}
	}
}

func reverted(times int, writer string) fact {
	return func(f *Facts) {
		f.Settings.Digest = "d"
		f.Reverts = Reverts{Count: times, Writer: writer, Since: at("10:00:00"), Digest: "d"}
	}
}

func keepWarm(text string) fact {
	return func(f *Facts) { f.Settings.KeepWarm = must(ParseWindows(text, f.Settings.TimeZone)) }
}

func sleepAt(text string) fact {
	return func(f *Facts) { f.Settings.SleepAt = must(ParseTimes(text, f.Settings.TimeZone)) }
}

func idleAfter(d time.Duration) fact { return func(f *Facts) { f.Settings.IdleAfter = d } }

// notice is a sleep-notice of 30s that was given at an instant, or not yet.
func notice(published string) fact {
	return func(f *Facts) {
		f.Settings.SleepNotice, f.Noticed = 30*time.Second, time.Time{}
		if published != "" {
			f.Noticed = at(published)
		}
	}
}

func grouped(f *Facts) {
	f.Settings.Group, f.Group.Wanted, f.Group.Why = "bots", "db", Leased
}

// groupedUntil is grouped with one that will be unused at an instant.
func groupedUntil(clock string) fact {
	return together(grouped, func(f *Facts) { f.Group.Why, f.Group.Free = Awake, at(clock) })
}

func before(names ...string) fact {
	return func(f *Facts) { f.Settings.Group, f.Group.Before = "bots", names }
}

func waiting(f *Facts) { f.Settings.Group, f.Group.Waiting = "bots", []string{"db"} }

func woken(clock string) fact {
	return func(f *Facts) { f.AwakeSince, f.StartingAt = at(clock), at(clock) }
}

func pinged(clock string) fact {
	return func(f *Facts) {
		f.Use.Last = activity.Stamp{Sequence: 8, Time: at(clock)}
	}
}

func leased(since, until string) fact {
	return func(f *Facts) { f.Use.LeaseSince, f.Use.LeaseUntil = at(since), at(until) }
}

// row is one case of a table. The tables are also those of docs/policy.md.
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
	t.Helper()
	for i, r := range rows {
		r.check(t, r.name, base(r.fact))
		for _, later := range rows[i+1:] {
			r.check(t, r.name+" and "+later.name, base(later.fact, r.fact))
		}
	}
}
