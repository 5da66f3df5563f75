package scaler

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// today is an instant of the day of all reports.
func today(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-07-01 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// night is an event of alpha at a time of 2026-07-01, of which the report is from 06:00 to 12:00.
func night(kind EventType, clock string, cause policy.Cause, change ...func(*Event)) Event {
	e := Event{ID: fmt.Sprint(kind, clock), Type: kind, Server: alpha, At: today(clock), Cause: cause}
	switch kind {
	case Slept, WouldSleep:
		e.From = 2
	default:
		e.To = 2
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func idleFor(d time.Duration) func(*Event) { return func(e *Event) { e.Idle = d } }
func taking(d time.Duration) func(*Event)  { return func(e *Event) { e.Took = d } }
func after(d time.Duration) func(*Event)   { return func(e *Event) { e.Asleep = d } }

// inShort says a row in few words: each server requests 500 mCPU and 1000 bytes.
func inShort(row ReportRow) string {
	var words []string
	rest := func(what string, r Rest) {
		if r.Seconds > 0 {
			words = append(words, fmt.Sprintf("%s %s %s mCPUs %s Bs", what, explain.Span(time.Duration(r.Seconds)*time.Second), r.MilliCPUSeconds, r.ByteSeconds))
		}
	}
	rest("asleep", row.Asleep)
	rest("would be", row.WouldBeAsleep)
	for _, count := range []struct {
		n    int
		what string
	}{{row.Sleeps, "sleeps"}, {row.WouldSleeps, "would-sleeps"}, {row.Wakes, "wakes"}, {row.Automatic, "automatic"}, {row.MisSleeps, "mistakes"}} {
		if count.n > 0 {
			words = append(words, fmt.Sprintf("%s %d", count.what, count.n))
		}
	}
	if row.WakeP50 > 0 {
		words = append(words, fmt.Sprintf("p50 %s p95 %s", row.WakeP50, row.WakeP95))
	}
	if row.Gone {
		words = append(words, "gone")
	}
	return strings.Join(words, ", ")
}

// What the report says of one server follows from its events, and from how it is now.
func TestReport(t *testing.T) {
	awake := func(s *Server) {}
	asleepSince := func(clock string) func(*Server) {
		return func(s *Server) { s.Replicas, s.Ours, s.Mark = 0, true, Mark{Restore: 3, Asleep: today(clock)} }
	}
	awakeSince := func(clock string) func(*Server) { return func(s *Server) { s.Mark.Awake = today(clock) } }
	dry := func(s *Server) { s.Settings.DryRun = true }
	var wouldBeAsleep time.Time
	dryAsleepSince := func(clock string) func(*Server) {
		return func(s *Server) { dry(s); wouldBeAsleep = today(clock) }
	}
	for _, row := range []struct {
		name   string
		events []Event
		now    func(*Server) // nil: it is gone
		want   string
	}{
		{"nothing happened", nil, awake, ""},
		{
			"one night",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Woken, "08:00:00", policy.CauseActivity)},
			awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"told twice, and in another order",
			[]Event{night(Woken, "08:00:00", policy.CauseActivity), night(Slept, "07:00:00", policy.CauseIdle), night(Slept, "07:00:00", policy.CauseIdle)},
			awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"stopped and started: nobody's mistake",
			[]Event{night(Slept, "07:00:00", policy.CauseCommand), night(Woken, "07:01:00", policy.CauseCommand)},
			awake,
			"asleep 1m 60000 mCPUs 120000 Bs, sleeps 1, wakes 1",
		},
		{
			"a mistake",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Woken, "07:01:59", policy.CauseActivity)},
			awake,
			"asleep 1m59s 119000 mCPUs 238000 Bs, sleeps 1, wakes 1, automatic 1, mistakes 1",
		},
		{
			"a mistake of sleep-at",
			[]Event{night(Slept, "07:00:00", policy.CauseSchedule), night(Woken, "07:00:10", policy.CauseLease)},
			awake,
			"asleep 10s 10000 mCPUs 20000 Bs, sleeps 1, wakes 1, automatic 1, mistakes 1",
		},
		{
			"not within two minutes",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Woken, "07:02:00", policy.CauseActivity)},
			awake,
			"asleep 2m 120000 mCPUs 240000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"woken by a window",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Woken, "07:01:00", policy.CauseKeepWarm)},
			awake,
			"asleep 1m 60000 mCPUs 120000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"woken by a rival",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Woken, "07:01:00", policy.CauseExternal)},
			awake,
			"asleep 1m 60000 mCPUs 120000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"asleep since before",
			[]Event{night(Woken, "07:00:00", policy.CauseActivity, after(30*time.Hour))},
			awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, wakes 1",
		},
		{
			"asleep, and who put it to sleep is not told any more",
			[]Event{night(Woken, "07:00:00", policy.CauseActivity, after(10*time.Minute))},
			awake,
			"asleep 10m 600000 mCPUs 1200000 Bs, wakes 1",
		},
		{"somebody else's zero", []Event{night(Woken, "07:00:00", policy.CauseCommand)}, awake, "wakes 1"},
		{
			"somebody else's zero after ours",
			[]Event{night(Slept, "06:10:00", policy.CauseIdle), night(Woken, "06:20:00", policy.CauseCommand, after(10*time.Minute)), night(Woken, "09:00:00", policy.CauseCommand)},
			awake,
			"asleep 10m 600000 mCPUs 1200000 Bs, sleeps 1, wakes 2, automatic 1",
		},
		{
			"another sleep, whose begin is not told",
			[]Event{night(Slept, "06:10:00", policy.CauseIdle), night(Woken, "06:20:00", policy.CauseCommand, after(10*time.Minute)), night(Woken, "09:00:00", policy.CauseCommand, after(5*time.Minute))},
			awake,
			"asleep 15m 900000 mCPUs 1800000 Bs, sleeps 1, wakes 2, automatic 1",
		},
		{
			"made again at zero since its last sleep",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Woken, "09:00:00", policy.CauseCommand)},
			func(s *Server) { s.Created = today("08:00:00") },
			"sleeps 1, wakes 1, automatic 1",
		},
		{
			"made again since its last sleep, and slept",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Slept, "09:00:00", policy.CauseIdle, idleFor(time.Hour)), night(Woken, "09:10:00", policy.CauseCommand, after(10*time.Minute))},
			func(s *Server) { s.Created = today("08:00:00") },
			"asleep 10m 600000 mCPUs 1200000 Bs, sleeps 2, wakes 1, automatic 2",
		},
		{
			"stopped while it slept since before",
			[]Event{night(Unchanged, "10:00:00", policy.CauseCommand, after(28*time.Hour))},
			asleepSince("10:00:00"),
			"asleep 6h 32400000 mCPUs 64800000 Bs",
		},
		{
			"stopped while it slept since before, and started",
			[]Event{night(Unchanged, "07:00:00", policy.CauseCommand, after(28*time.Hour)), night(Woken, "08:00:00", policy.CauseCommand, after(time.Hour))},
			awake,
			"asleep 2h 7200000 mCPUs 14400000 Bs, wakes 1",
		},
		{
			"stopped while it slept",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Unchanged, "08:00:00", policy.CauseCommand, after(time.Hour)), night(Woken, "09:00:00", policy.CauseCommand, after(time.Hour))},
			awake,
			"asleep 2h 7200000 mCPUs 14400000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{"held while it slept, and gone", []Event{night(Unchanged, "08:00:00", policy.CauseCommand, after(time.Hour))}, nil, "asleep 1h 0 mCPUs 0 Bs, gone"},
		{"an order that changed nothing", []Event{night(Unchanged, "08:00:00", policy.CauseCommand)}, nil, "none"},
		{"asleep all the time", nil, asleepSince("01:00:00"), "asleep 6h 32400000 mCPUs 64800000 Bs"},
		{
			"asleep still",
			[]Event{night(Slept, "11:00:00", policy.CauseIdle)},
			asleepSince("11:00:00"),
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, automatic 1",
		},
		{
			"asleep, which is not told yet",
			[]Event{night(Woken, "07:00:00", policy.CauseActivity, after(time.Hour))},
			asleepSince("11:00:00"),
			"asleep 2h 9000000 mCPUs 18000000 Bs, wakes 1",
		},
		{
			"woken, which is not told yet",
			[]Event{night(Slept, "11:00:00", policy.CauseIdle)},
			awakeSince("11:30:00"),
			"asleep 30m 1800000 mCPUs 3600000 Bs, sleeps 1, automatic 1",
		},
		{
			"woken by somebody else a moment ago",
			[]Event{night(Slept, "11:00:00", policy.CauseIdle)},
			func(s *Server) { s.Mark.Asleep = today("11:00:00") },
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, automatic 1",
		},
		{"woken nobody knows when", []Event{night(Slept, "11:00:00", policy.CauseIdle)}, awake, "sleeps 1, automatic 1"},
		{
			"gone since its last sleep",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Woken, "08:00:00", policy.CauseActivity), night(Slept, "09:00:00", policy.CauseIdle)},
			nil,
			"asleep 1h 0 mCPUs 0 Bs, sleeps 2, wakes 1, automatic 2, gone",
		},
		{"made again since its last sleep", []Event{night(Slept, "09:00:00", policy.CauseIdle)}, func(s *Server) { s.Created = today("10:00:00") }, "sleeps 1, automatic 1"},
		{
			"its wake was never told",
			[]Event{night(Slept, "07:00:00", policy.CauseIdle), night(Slept, "09:00:00", policy.CauseIdle, idleFor(30*time.Minute)), night(Woken, "10:00:00", policy.CauseActivity)},
			awake,
			"asleep 2h30m 9000000 mCPUs 18000000 Bs, sleeps 2, wakes 1, automatic 2",
		},
		{
			"only the span counts",
			[]Event{night(Slept, "05:00:00", policy.CauseIdle), night(Woken, "05:01:00", policy.CauseActivity, after(time.Minute)), night(Slept, "05:30:00", policy.CauseIdle), night(Woken, "07:00:00", policy.CauseActivity), night(Slept, "12:00:00", policy.CauseIdle)},
			awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, wakes 1",
		},
		{"what comes later tells how it was", []Event{night(Woken, "12:30:00", policy.CauseActivity, after(30*time.Hour))}, awake, "asleep 6h 21600000 mCPUs 43200000 Bs"},
		{
			"ready",
			[]Event{
				night(Woken, "06:30:00", policy.CauseCommand), night(Ready, "06:30:01", "", taking(time.Second)), night(Woken, "07:00:00", policy.CauseCommand), night(Ready, "07:00:09", "", taking(9*time.Second)),
				night(Woken, "13:00:00", policy.CauseCommand), night(Ready, "14:00:00", "", taking(time.Hour)),
			},
			func(s *Server) { s.Created = today("06:30:00") },
			"wakes 2, p50 1s p95 9s",
		},
		{
			"ready without a wake",
			[]Event{
				night(Ready, "06:30:00", "", taking(time.Minute)), night(Woken, "07:00:00", policy.CauseCommand), night(Ready, "07:00:09", "", taking(9*time.Second)), night(Ready, "07:30:00", "", taking(time.Minute)),
				night(Woken, "08:00:00", policy.CauseCommand), night(Slept, "08:00:01", policy.CauseCommand), night(Ready, "09:00:00", "", taking(time.Minute)),
			},
			func(s *Server) { s.Created, s.Mark.Awake = today("07:00:00"), today("08:00:01") },
			"sleeps 1, wakes 2, p50 9s p95 9s",
		},
		{
			"dry run",
			[]Event{night(WouldSleep, "07:00:00", policy.CauseIdle), night(WouldWake, "08:00:00", policy.CauseActivity)},
			dry,
			"would be 1h 3600000 mCPUs 7200000 Bs, would-sleeps 1, automatic 1",
		},
		{
			"would be asleep since before",
			[]Event{night(WouldWake, "07:00:00", policy.CauseActivity, after(30*time.Hour))},
			dry,
			"would be 1h 3600000 mCPUs 7200000 Bs",
		},
		{
			"a mistake in a dry run",
			[]Event{night(WouldSleep, "07:00:00", policy.CauseSchedule), night(WouldWake, "07:01:00", policy.CauseLease)},
			dry,
			"would be 1m 60000 mCPUs 120000 Bs, would-sleeps 1, automatic 1, mistakes 1",
		},
		{
			"a rollout is not demand",
			[]Event{night(WouldSleep, "07:00:00", policy.CauseIdle), night(WouldWake, "07:01:00", policy.CauseExternal)},
			dry,
			"would be 1m 60000 mCPUs 120000 Bs, would-sleeps 1, automatic 1",
		},
		{
			"its would-wake was never told",
			[]Event{night(WouldSleep, "07:00:00", policy.CauseIdle), night(WouldSleep, "09:00:00", policy.CauseIdle, idleFor(30*time.Minute)), night(WouldWake, "10:00:00", policy.CauseActivity)},
			dry,
			"would be 2h30m 9000000 mCPUs 18000000 Bs, would-sleeps 2, automatic 2",
		},
		{"would be asleep still", []Event{night(WouldSleep, "11:00:00", policy.CauseIdle)}, dry, "would be 1h 3600000 mCPUs 7200000 Bs, would-sleeps 1, automatic 1"},
		{"would be asleep all the time", nil, dryAsleepSince("01:00:00"), "would be 6h 21600000 mCPUs 43200000 Bs"},
		{"would be asleep, which is not told yet", nil, dryAsleepSince("11:00:00"), "would be 1h 3600000 mCPUs 7200000 Bs"},
		{
			"would be asleep again, which is not told yet",
			[]Event{night(WouldSleep, "07:00:00", policy.CauseIdle), night(WouldWake, "08:00:00", policy.CauseActivity)},
			dryAsleepSince("11:30:00"),
			"would be 1h30m 5400000 mCPUs 10800000 Bs, would-sleeps 1, automatic 1",
		},
		{ // a window woke it, which is no use
			"would have woken since it was idle",
			[]Event{night(WouldWake, "08:00:00", policy.CauseKeepWarm, after(30*time.Hour))},
			dryAsleepSince("01:00:00"),
			"would be 2h 7200000 mCPUs 14400000 Bs",
		},
		{
			"would be asleep, as is told",
			[]Event{night(WouldSleep, "11:00:00", policy.CauseIdle)},
			dryAsleepSince("10:59:30"),
			"would be 1h 3600000 mCPUs 7200000 Bs, would-sleeps 1, automatic 1",
		},
		{
			"the dry run is over",
			[]Event{night(WouldSleep, "11:00:00", policy.CauseIdle), night(Slept, "11:30:00", policy.CauseIdle)},
			asleepSince("11:30:00"),
			"asleep 30m 1800000 mCPUs 3600000 Bs, would be 30m 1800000 mCPUs 3600000 Bs, sleeps 1, would-sleeps 1, automatic 2",
		},
		{"what is not of a sleep", []Event{night(Progress, "07:00:00", ""), night(Rejected, "07:00:00", policy.CauseCommand)}, nil, "none"},
		{"gone before", []Event{night(Slept, "05:00:00", policy.CauseIdle), night(Woken, "05:30:00", policy.CauseIdle)}, nil, "none"},
	} {
		var servers []*Server
		if row.now != nil {
			s := &Server{ID: alpha, Replicas: 2, Requests: Resources{MilliCPU: 500, Memory: 1000}}
			wouldBeAsleep = time.Time{}
			row.now(s)
			servers = append(servers, s)
		}
		r := newReport(row.events, servers, map[ID]time.Time{alpha: wouldBeAsleep}, today("06:00:00"), today("12:00:00"))
		got := "none"
		if len(r.Servers) == 1 {
			got = inShort(r.Servers[0])
		}
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// The total is the sum of all servers, to the last byte, also where that is more than fits into 64 bits; its percentiles are those of all wakes.
func TestReportTotal(t *testing.T) {
	beta := ID{Namespace: "team-a", Name: "beta"}
	big1 := Resources{MilliCPU: math.MaxInt32, Memory: math.MaxInt64}
	servers := []*Server{
		{ID: beta, Created: today("07:01:00"), Replicas: 0, Ours: true, Mark: Mark{Asleep: today("07:30:00"), Restore: 7}, Requests: big1},
		{ID: alpha, Created: today("07:00:00"), Replicas: 1, Requests: Resources{MilliCPU: 1, Memory: 1}},
	}
	var events []Event
	for i := range 20 {
		id := alpha
		if i%2 == 1 {
			id = beta
		}
		clock := fmt.Sprintf("07:%02d:00", i)
		of := func(e *Event) { e.Server = id }
		events = append(events, night(Woken, clock, policy.CauseActivity, of), night(Ready, clock, "", taking(time.Duration(i+1)*time.Second), of))
	}
	events = append(events, night(Slept, "08:00:00", policy.CauseIdle), night(Woken, "08:00:01", policy.CauseActivity))
	r := newReport(events, servers, nil, today("06:00:00"), today("12:00:00"))
	if len(r.Servers) != 2 || r.Servers[0].Server != alpha || r.Servers[1].Server != beta || len(r.After(alpha)) != 1 || len(r.After(ID{})) != 2 {
		t.Fatalf("got %+v", r.Servers)
	}
	bytes := new(big.Int).Mul(big.NewInt(9*1800*7), big.NewInt(math.MaxInt64))
	if bytes.Add(bytes, big.NewInt(2)); r.Total.Asleep.ByteSeconds.Cmp(bytes) != 0 || r.Total.Asleep.Seconds != 9*1800+1 {
		t.Errorf("got %s, want %s", r.Total.Asleep.ByteSeconds, bytes)
	}
	if r.Total.WakeP50 != 10*time.Second || r.Total.WakeP95 != 19*time.Second || r.Servers[1].WakeP50 != 10*time.Second || r.Total.MisSleeps != 1 {
		t.Errorf("got %s", inShort(r.Total))
	}
}

// A percentile is one of the values that were measured.
func TestPercentile(t *testing.T) {
	for _, row := range []struct {
		values   []time.Duration
		p50, p95 time.Duration
	}{
		{nil, 0, 0},
		{[]time.Duration{1}, 1, 1},
		{[]time.Duration{1, 2}, 1, 2},
		{[]time.Duration{1, 2, 3}, 2, 3},
		{slices.Collect(func(yield func(time.Duration) bool) {
			for i := range 100 {
				if !yield(time.Duration(i + 1)) {
					return
				}
			}
		}), 50, 95},
	} {
		if p50, p95 := percentile(row.values, 50), percentile(row.values, 95); p50 != row.p50 || p95 != row.p95 {
			t.Errorf("%v: got %d and %d, want %d and %d", row.values, p50, p95, row.p50, row.p95)
		}
	}
}

// A ledger of many events takes little memory: that of a week of thousands of servers must fit.
func BenchmarkReport(b *testing.B) {
	const servers, each = 5000, 40
	b.ReportAllocs()
	for b.Loop() {
		l := NewLedger()
		for i := range servers {
			id := ID{Namespace: "team-a", Name: fmt.Sprint("server-", i)}
			for j := range each {
				kind := []EventType{Slept, Woken, Ready}[j%3]
				l.Add(Event{ID: fmt.Sprint(i, "-", j), Type: kind, Server: id, At: today("06:00:00").Add(time.Duration(j) * time.Minute), From: 1, To: 1, Cause: policy.CauseIdle})
			}
		}
		if r := l.Report(nil, nil, today("06:00:00"), today("12:00:00")); len(r.Servers) != servers {
			b.Fatal(len(r.Servers))
		}
	}
}

// newReport makes a report of what happened. Servers are those that there are now; of those that were is told what their events say.
func newReport(events []Event, servers []*Server, wouldBeAsleep map[ID]time.Time, from, to time.Time) Report {
	l := NewLedger()
	for _, e := range events {
		l.Add(e)
	}
	return l.Report(servers, wouldBeAsleep, from, to)
}
