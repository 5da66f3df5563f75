package report

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
	"idle-scaler/scaler"
)

var (
	alpha = scaler.ID{Namespace: "team-a", Name: "alpha"}
	beta  = scaler.ID{Namespace: "team-a", Name: "beta"}
)

// at is a time of 2026-07-01, like 07:00 or 07:00:30.
func at(clock string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05"[:len("2006-01-02 ")+len(clock)], "2026-07-01 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// parse reads an event of alpha, with 2 replicas, like "07:00 slept idle 30m": a time, a type, a
// cause and a duration. The duration is how long a server was idle before it sleeps, how long it
// took to get ready, or how long it was asleep. Equal texts are one event that was published twice.
func parse(text string) scaler.Event {
	words := strings.Fields(text)
	e := scaler.Event{ID: text, Server: alpha, At: at(words[0]), Type: scaler.EventType(words[1])}
	var lasted time.Duration
	for _, word := range words[2:] {
		if d, err := time.ParseDuration(word); err == nil {
			lasted = d
		} else {
			e.Cause = policy.Cause(word)
		}
	}
	switch e.Type {
	case scaler.Slept, scaler.WouldSleep:
		e.From, e.Idle = 2, lasted
	case scaler.Ready:
		e.To, e.Took = 2, lasted
	default:
		e.To, e.Asleep = 2, lasted
	}
	return e
}

// reportOf makes the report of the time from 06:00 to 12:00.
func reportOf(events []scaler.Event, servers []*scaler.Server, wouldBeAsleep map[scaler.ID]time.Time) Report {
	a := Aggregate{}
	for _, e := range events {
		a.Add(e)
	}
	return a.Report(servers, wouldBeAsleep, at("06:00"), at("12:00"))
}

// inShort says a row in few words. Each server requests 500 mCPU and 1000 bytes.
func inShort(row Row) string {
	var words []string
	sleep := func(what string, s Sleep) {
		if s.Seconds > 0 {
			lasted := explain.Span(time.Duration(s.Seconds) * time.Second)
			words = append(words, fmt.Sprintf("%s %s %s mCPUs %s Bs", what, lasted, s.MilliCPUSeconds, s.ByteSeconds))
		}
	}
	sleep("asleep", row.Asleep)
	sleep("would be", row.WouldBeAsleep)
	for _, count := range []struct {
		n    int
		what string
	}{
		{row.Sleeps, "sleeps"},
		{row.WouldSleeps, "would-sleeps"},
		{row.Wakes, "wakes"},
		{row.Automatic, "automatic"},
		{row.MisSleeps, "mistakes"},
	} {
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

// The figures of a server follow from its events, and from how it is now.
func TestReport(t *testing.T) {
	awake := func(*scaler.Server) {}
	awakeSince := func(clock string) func(*scaler.Server) {
		return func(s *scaler.Server) { s.Mark.Awake = at(clock) }
	}
	readySince := func(clock string) func(*scaler.Server) {
		return func(s *scaler.Server) { s.ReadySince = at(clock) }
	}
	createdAt := func(clock string) func(*scaler.Server) {
		return func(s *scaler.Server) { s.Created = at(clock) }
	}
	asleepSince := func(clock string) func(*scaler.Server) {
		return func(s *scaler.Server) {
			s.Replicas, s.Ours, s.Mark = 0, true, scaler.Mark{Restore: 3, Asleep: at(clock)}
		}
	}
	dry := func(s *scaler.Server) { s.Settings.DryRun = true }
	var wouldBeAsleep time.Time
	wouldSince := func(clock string) func(*scaler.Server) {
		return func(s *scaler.Server) { dry(s); wouldBeAsleep = at(clock) }
	}
	both := func(a, b func(*scaler.Server)) func(*scaler.Server) {
		return func(s *scaler.Server) { a(s); b(s) }
	}
	for _, row := range []struct {
		name   string
		events string               // separated by commas
		now    func(*scaler.Server) // nil: it is gone
		want   string
	}{
		{"nothing happened", "", awake, ""},
		{
			"one night", "07:00 slept idle, 08:00 woken activity", awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"published twice, and in another order", "08:00 woken activity, 07:00 slept idle, 07:00 slept idle", awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, wakes 1, automatic 1",
		},

		{
			"stopped and started: nobody's mistake", "07:00 slept command, 07:01 woken command", awake,
			"asleep 1m 60000 mCPUs 120000 Bs, sleeps 1, wakes 1",
		},
		{
			"a mistake", "07:00 slept idle, 07:01:59 woken activity", awake,
			"asleep 1m59s 119000 mCPUs 238000 Bs, sleeps 1, wakes 1, automatic 1, mistakes 1",
		},
		{
			"a mistake of sleep-at", "07:00 slept schedule, 07:00:10 woken lease", awake,
			"asleep 10s 10000 mCPUs 20000 Bs, sleeps 1, wakes 1, automatic 1, mistakes 1",
		},
		{
			"not within two minutes", "07:00 slept idle, 07:02 woken activity", awake,
			"asleep 2m 120000 mCPUs 240000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"woken by a window", "07:00 slept idle, 07:01 woken keep-warm", awake,
			"asleep 1m 60000 mCPUs 120000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"woken by a rival", "07:00 slept idle, 07:01 woken external", awake,
			"asleep 1m 60000 mCPUs 120000 Bs, sleeps 1, wakes 1, automatic 1",
		},

		{
			"asleep since before", "07:00 woken activity 30h", awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, wakes 1",
		},
		{
			"the event of its sleep is gone", "07:00 woken activity 10m", awake,
			"asleep 10m 600000 mCPUs 1200000 Bs, wakes 1",
		},
		{"somebody else's zero", "07:00 woken command", awake, "wakes 1"},
		{
			"somebody else's zero after ours",
			"06:10 slept idle, 06:20 woken command 10m, 09:00 woken command", awake,
			"asleep 10m 600000 mCPUs 1200000 Bs, sleeps 1, wakes 2, automatic 1",
		},
		{
			"the event of its second sleep is gone",
			"06:10 slept idle, 06:20 woken command 10m, 09:00 woken command 5m", awake,
			"asleep 15m 900000 mCPUs 1800000 Bs, sleeps 1, wakes 2, automatic 1",
		},
		{
			"asleep for no longer than since its last wake", "07:00 woken command, 07:30 woken command 2h", awake,
			"asleep 30m 1800000 mCPUs 3600000 Bs, wakes 2",
		},
		{
			"the event of its wake is missing",
			"07:00 slept idle, 09:00 slept idle 30m, 10:00 woken activity", awake,
			"asleep 2h30m 9000000 mCPUs 18000000 Bs, sleeps 2, wakes 1, automatic 2",
		},

		{
			"created again at zero since its last sleep",
			"07:00 slept idle, 09:00 woken command", createdAt("08:00"),
			"sleeps 1, wakes 1, automatic 1",
		},
		{
			"created again since its last sleep, and slept",
			"07:00 slept idle, 09:00 slept idle 1h, 09:10 woken command 10m", createdAt("08:00"),
			"asleep 10m 600000 mCPUs 1200000 Bs, sleeps 2, wakes 1, automatic 2",
		},
		{
			"created again since its last sleep", "09:00 slept idle", createdAt("10:00"),
			"sleeps 1, automatic 1",
		},
		{
			"created again, and asleep by an event that is not published yet",
			"09:00 slept idle", both(createdAt("10:00"), asleepSince("11:30")),
			"asleep 30m 2700000 mCPUs 5400000 Bs, sleeps 1, automatic 1",
		},
		{
			"gone since its last sleep",
			"07:00 slept idle, 08:00 woken activity, 09:00 slept idle", nil,
			"asleep 1h 0 mCPUs 0 Bs, sleeps 2, wakes 1, automatic 2, gone",
		},
		{"gone before", "05:00 slept idle, 05:30 woken idle", nil, "none"},

		{
			"stopped while it slept since before", "10:00 unchanged command 28h", asleepSince("10:00"),
			"asleep 6h 32400000 mCPUs 64800000 Bs",
		},
		{
			"stopped while it slept since before, and started",
			"07:00 unchanged command 28h, 08:00 woken command 1h", awake,
			"asleep 2h 7200000 mCPUs 14400000 Bs, wakes 1",
		},
		{
			"stopped while it slept",
			"07:00 slept idle, 08:00 unchanged command 1h, 09:00 woken command 1h", awake,
			"asleep 2h 7200000 mCPUs 14400000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{"held while it slept, and gone", "08:00 unchanged command 1h", nil, "asleep 1h 0 mCPUs 0 Bs, gone"},
		{"an order that changed nothing", "08:00 unchanged command", nil, "none"},

		{"asleep all the time", "", asleepSince("01:00"), "asleep 6h 32400000 mCPUs 64800000 Bs"},
		{
			"asleep all the time, as its copy from a backup says",
			"", both(createdAt("11:00"), asleepSince("01:00")),
			"asleep 1h 5400000 mCPUs 10800000 Bs",
		},
		{"somebody else's zero now", "", func(s *scaler.Server) { asleepSince("01:00")(s); s.Ours = false }, ""},
		{
			"woken, and the cache does not know it yet", "07:00 slept idle, 08:00 woken activity", asleepSince("07:00"),
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, wakes 1, automatic 1",
		},
		{
			"asleep still", "11:00 slept idle", asleepSince("11:00"),
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, automatic 1",
		},
		{
			"asleep by an event that is not published yet", "07:00 woken activity 1h", asleepSince("11:00"),
			"asleep 2h 9000000 mCPUs 18000000 Bs, wakes 1",
		},
		{
			"woken by an event that is not published yet", "11:00 slept idle", awakeSince("11:30"),
			"asleep 30m 1800000 mCPUs 3600000 Bs, sleeps 1, automatic 1",
		},
		{
			"woken by somebody else a moment ago",
			"11:00 slept idle", func(s *scaler.Server) { s.Mark.Asleep = at("11:00") },
			"asleep 1h 3600000 mCPUs 7200000 Bs, sleeps 1, automatic 1",
		},
		{
			"woken, as only its readiness says", "11:00 slept idle", readySince("11:15"),
			"asleep 15m 900000 mCPUs 1800000 Bs, sleeps 1, automatic 1",
		},
		{"woken, and nobody knows when", "11:00 slept idle", awake, "sleeps 1, automatic 1"},

		{
			"only the span counts",
			"05:00 slept idle, 05:01 woken activity 1m, 05:30 slept idle, 07:00 woken activity, 12:00 slept idle",
			awake,
			"asleep 1h 3600000 mCPUs 7200000 Bs, wakes 1",
		},
		{
			"a later event says how it was", "12:30 woken activity 30h", awake,
			"asleep 6h 21600000 mCPUs 43200000 Bs",
		},
		{"other events", "07:00 progress, 07:00 rejected command", nil, "none"},

		{
			"ready",
			"06:30 woken command, 06:30:01 ready 1s, 07:00 woken command, 07:00:09 ready 9s, " +
				"13:00 woken command, 14:00 ready 1h",
			createdAt("06:30"),
			"wakes 2, p50 1s p95 9s",
		},
		{
			"ready without a wake",
			"06:30 ready 1m, 07:00 woken command, 07:00:09 ready 9s, 07:30 ready 1m, " +
				"08:00 woken command, 08:00:01 slept command, 09:00 ready 1m",
			both(createdAt("07:00"), awakeSince("08:00:01")),
			"sleeps 1, wakes 2, p50 9s p95 9s",
		},

		{
			"dry run", "07:00 would-sleep idle, 08:00 would-wake activity", dry,
			"would be 1h 3600000 mCPUs 7200000 Bs, would-sleeps 1, automatic 1",
		},
		{
			"would be asleep since before", "07:00 would-wake activity 30h", dry,
			"would be 1h 3600000 mCPUs 7200000 Bs",
		},
		{
			"a mistake in a dry run", "07:00 would-sleep schedule, 07:01 would-wake lease", dry,
			"would be 1m 60000 mCPUs 120000 Bs, would-sleeps 1, automatic 1, mistakes 1",
		},
		{
			"a rollout is not demand", "07:00 would-sleep idle, 07:01 would-wake external", dry,
			"would be 1m 60000 mCPUs 120000 Bs, would-sleeps 1, automatic 1",
		},
		{
			"the event of its would-wake is missing",
			"07:00 would-sleep idle, 09:00 would-sleep idle 30m, 10:00 would-wake activity", dry,
			"would be 2h30m 9000000 mCPUs 18000000 Bs, would-sleeps 2, automatic 2",
		},
		{
			"would be asleep still", "11:00 would-sleep idle", dry,
			"would be 1h 3600000 mCPUs 7200000 Bs, would-sleeps 1, automatic 1",
		},
		{"would be asleep all the time", "", wouldSince("01:00"), "would be 6h 21600000 mCPUs 43200000 Bs"},
		{
			"would be asleep by an event that is not published yet", "", wouldSince("11:00"),
			"would be 1h 3600000 mCPUs 7200000 Bs",
		},
		{
			"would be asleep again by an event that is not published yet",
			"07:00 would-sleep idle, 08:00 would-wake activity", wouldSince("11:30"),
			"would be 1h30m 5400000 mCPUs 10800000 Bs, would-sleeps 1, automatic 1",
		},
		{ // a window woke it, which is no use
			"would have woken since it was idle", "08:00 would-wake keep-warm 30h", wouldSince("01:00"),
			"would be 2h 7200000 mCPUs 14400000 Bs",
		},
		{
			"would be asleep, as an event says", "11:00 would-sleep idle", wouldSince("10:59:30"),
			"would be 1h 3600000 mCPUs 7200000 Bs, would-sleeps 1, automatic 1",
		},
		{
			"created again in a dry run", "07:00 would-sleep idle", both(createdAt("08:00"), dry),
			"would-sleeps 1, automatic 1",
		},
		{"no dry run any more", "11:00 would-sleep idle", awake, "would-sleeps 1, automatic 1"},
		{
			"the dry run is over, and it sleeps", "11:00 would-sleep idle, 11:30 slept idle", asleepSince("11:30"),
			"asleep 30m 1800000 mCPUs 3600000 Bs, would be 30m 1800000 mCPUs 3600000 Bs, " +
				"sleeps 1, would-sleeps 1, automatic 2",
		},
	} {
		var events []scaler.Event
		for text := range strings.SplitSeq(row.events, ", ") {
			if text != "" {
				events = append(events, parse(text))
			}
		}
		var servers []*scaler.Server
		if row.now != nil {
			s := &scaler.Server{ID: alpha, Replicas: 2, Requests: scaler.Resources{MilliCPU: 500, Memory: 1000}}
			wouldBeAsleep = time.Time{}
			row.now(s)
			servers = append(servers, s)
		}
		r := reportOf(events, servers, map[scaler.ID]time.Time{alpha: wouldBeAsleep})
		got := "none"
		if len(r.Servers) == 1 {
			got = inShort(r.Servers[0])
		}
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// The total is the sum of all servers, to the last byte, also where that does not fit into 64 bits.
// Its percentiles are those of all wakes.
func TestReportTotal(t *testing.T) {
	huge := scaler.Resources{MilliCPU: math.MaxInt32, Memory: math.MaxInt64}
	mark := scaler.Mark{Asleep: at("07:30"), Restore: 7}
	servers := []*scaler.Server{
		{ID: beta, Created: at("07:01"), Ours: true, Mark: mark, Requests: huge},
		{ID: alpha, Created: at("07:00"), Replicas: 1, Requests: scaler.Resources{MilliCPU: 1, Memory: 1}},
	}
	events := []scaler.Event{parse("08:00 slept idle"), parse("08:00:01 woken activity")}
	for i := range 20 {
		woken := parse(fmt.Sprintf("07:%02d woken activity", i))
		ready := parse(fmt.Sprintf("07:%02d ready %ds", i, i+1))
		woken.Server = servers[(i+1)%2].ID
		ready.Server = woken.Server
		events = append(events, woken, ready)
	}
	r := reportOf(events, servers, nil)
	if len(r.Servers) != 2 || r.Servers[0].Server != alpha || r.Servers[1].Server != beta {
		t.Fatalf("got %+v", r.Servers)
	}
	if len(r.After(scaler.ID{})) != 2 || len(r.After(alpha)) != 1 || len(r.After(beta)) != 0 {
		t.Errorf("after nobody, alpha and beta: %v, %v, %v", r.After(scaler.ID{}), r.After(alpha), r.After(beta))
	}
	bytes := new(big.Int).Mul(big.NewInt(9*1800*7), big.NewInt(math.MaxInt64))
	bytes.Add(bytes, big.NewInt(2))
	if got := r.Total.Asleep; got.ByteSeconds.Cmp(bytes) != 0 || got.Seconds != 9*1800+1 {
		t.Errorf("got %+v, want %s byte-seconds", got, bytes)
	}
	if r.Total.WakeP50 != 10*time.Second || r.Total.WakeP95 != 19*time.Second || r.Total.MisSleeps != 1 {
		t.Errorf("got %s", inShort(r.Total))
	}
	if r.Servers[1].WakeP50 != 10*time.Second {
		t.Errorf("got %s", inShort(r.Servers[1]))
	}
}

// A percentile is one of the values that were measured.
func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, row := range []struct {
		values   []time.Duration
		p50, p95 time.Duration
	}{
		{nil, 0, 0},
		{hundred[:1], 1, 1},
		{hundred[:2], 1, 2},
		{hundred[:3], 2, 3},
		{hundred, 50, 95},
	} {
		if p50, p95 := percentile(row.values, 50), percentile(row.values, 95); p50 != row.p50 || p95 != row.p95 {
			t.Errorf("%v: got %d and %d, want %d and %d", row.values, p50, p95, row.p50, row.p95)
		}
	}
}

// An aggregate of many events takes little memory: that of a week of thousands of servers must fit.
func BenchmarkReport(b *testing.B) {
	const servers, each = 5000, 40
	kinds := []scaler.EventType{scaler.Slept, scaler.Woken, scaler.Ready}
	b.ReportAllocs()
	for b.Loop() {
		a := Aggregate{}
		for i := range servers {
			id := scaler.ID{Namespace: "team-a", Name: fmt.Sprint("server-", i)}
			for j := range each {
				a.Add(scaler.Event{
					ID: fmt.Sprint(i, "-", j), Type: kinds[j%3], Server: id, From: 1, To: 1, Cause: policy.CauseIdle,
					At: at("06:00").Add(time.Duration(j) * time.Minute),
				})
			}
		}
		if r := a.Report(nil, nil, at("06:00"), at("12:00")); len(r.Servers) != servers {
			b.Fatal(len(r.Servers))
		}
	}
}
