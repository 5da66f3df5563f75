package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/scaler/report"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// publish publishes events as the daemon does. Those without a time get one an hour ago, each a
// second after the other.
func publish(w *natstest.Server, events ...scaler.Event) {
	w.T.Helper()
	to, err := event.NewPublisher(w.Connect(), w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(w.T, err)
	for i, e := range events {
		if e.At.IsZero() {
			e.At = time.Now().Add(-time.Hour + time.Duration(i)*time.Second).UTC()
		}
		if e.ID == "" {
			e.ID = fmt.Sprint("event-", i)
		}
		natstest.Check(w.T, to.Publish(context.Background(), e))
	}
}

// The history of a server has its events and no others, in order of time, each once. A server that
// is gone has one, too.
func TestHistoryOnTheWire(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	serve(w, nc, &scaler.Server{ID: web})
	client, ctx := newClient(w), context.Background()
	if h, err := client.History(ctx, web, 0, 0); err != nil || h.Events == nil || len(h.Events) > 0 {
		t.Errorf("of a server to which nothing happened: got %+v %v", h, err)
	}
	if _, err := client.History(ctx, files, 0, 0); codeOf(err) != 404 {
		t.Errorf("of a server that never was: got %v", err)
	}
	other := scaler.ID{Namespace: files.Namespace, Name: files.Name + ".other"}
	began := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	publish(
		w,
		scaler.Event{
			ID: "b", Type: scaler.Woken, Server: files, At: began.Add(time.Minute), To: 2,
			Cause: policy.CauseCommand, Actor: "ann", Command: "7", Reason: "tea", Text: "x",
		},
		scaler.Event{
			ID: "a", Type: scaler.Slept, Server: files, At: began, From: 2,
			Cause: policy.CauseIdle, Idle: 30 * time.Minute,
		},
		scaler.Event{ID: "c", Type: scaler.Ready, Server: files, At: began.Add(2 * time.Minute), Took: time.Second},
		scaler.Event{ID: "x", Type: scaler.Slept, Server: other},
		scaler.Event{ID: "old", Type: scaler.Slept, Server: files, At: began.Add(-100 * time.Hour)},
	)
	stored, err := w.Stream(stream.Events.Name(w.Subjects)).GetMsg(ctx, 1)
	natstest.Check(t, err)
	natstest.Check(t, nc.Publish(stored.Subject, stored.Data)) // a copy, long after
	natstest.Check(t, nc.Publish(stored.Subject, []byte("what is this?")))
	natstest.Check(t, nc.Publish("cortex.mcp.event.woken.team-b.files", stored.Data)) // about another server than it says
	natstest.Check(t, nc.Flush())
	h, err := client.History(ctx, files, 24*time.Hour, 0)
	natstest.Check(t, err)
	got, err := json.Marshal(h)
	natstest.Check(t, err)
	stamp := func(d time.Duration) string { return began.Add(d).Format(time.RFC3339Nano) }
	want := `{"events":[{"at":"` + stamp(0) + `","type":"slept","from":2,"to":0,"cause":"idle","idle":"30m0s","id":"a"},` +
		`{"at":"` + stamp(time.Minute) + `","type":"woken","from":0,"to":2,"cause":"command","actor":"ann",` +
		`"command":"7","reason":"tea","text":"x","id":"b"},` +
		`{"at":"` + stamp(2*time.Minute) + `","type":"ready","from":0,"to":0,"took":"1s","id":"c"}]}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if h, err := client.History(ctx, files, 0, 0); err != nil || len(h.Events) != 4 || h.Truncated {
		t.Errorf("of seven days: got %+v %v", h, err)
	}
	h, err = client.History(ctx, files, 0, 2)
	if err != nil || len(h.Events) != 2 || h.Events[1].ID != "c" || !h.Truncated {
		t.Errorf("the last two: got %+v %v", h, err)
	}
	if h, err := client.History(ctx, scaler.ID{Namespace: "team-b", Name: "files"}, 0, 2); codeOf(err) != 404 {
		t.Errorf("it has the events of another server: %+v %v", h, err)
	}
}

// The answer to a history of any length has the newest events that fit into one message. The memory
// for it does not grow with the history.
func TestHistoryIsCut(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	serve(w, nc)
	js := w.JetStream()
	began := time.Now().Add(-time.Hour)
	for i := range 3000 {
		e := wire.Event{Server: web, HistoryEntry: wire.HistoryEntry{
			ID: fmt.Sprint(i), Type: "rejected", At: began.Add(time.Duration(i) * time.Second),
			EventData: wire.EventData{Text: strings.Repeat("x", 1000)},
		}}
		payload, err := wire.EncodeEvent(e, "/test")
		natstest.Check(t, err)
		_, err = js.PublishAsync(w.Subjects.Event(e.Type, e.Server), payload)
		natstest.Check(t, err)
	}
	<-js.PublishAsyncComplete()
	answer := ask(t, nc, "cortex.mcp.api.history.team-a.web", `{"limit":1000000}`)
	var h wire.History
	natstest.Check(t, json.Unmarshal(answer.Data, &h))
	n := len(h.Events)
	if int64(len(answer.Data)) > nc.MaxPayload() || !h.Truncated || n < 500 {
		t.Fatalf("got %d bytes, %d events, truncated %v", len(answer.Data), n, h.Truncated)
	}
	if h.Events[n-1].ID != "2999" || h.Events[0].ID != fmt.Sprint(3000-n) {
		t.Errorf("got %d events from %s to %s", n, h.Events[0].ID, h.Events[n-1].ID)
	}
	last := newest{limit: 10}
	for i := range 100_000 {
		last.add(wire.HistoryEntry{ID: fmt.Sprint(i / 2), At: began.Add(time.Duration(i/2) * time.Second)})
		if len(last.events) > 2*10+newestSlack {
			t.Fatalf("%d events are kept", len(last.events))
		}
	}
	if last.cut(); len(last.events) != 10 || last.events[9].ID != "49999" || last.events[0].ID != "49990" || !last.more {
		t.Errorf("got %d, up to %+v", len(last.events), last.events[len(last.events)-1])
	}
}

// Bad input about the past is a clear error. So are events that can't be read: the answer is not
// empty.
func TestPastErrors(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web})
	nc := w.Connect()
	rows := []struct{ request, payload, code, want string }{
		{"history.team-a", ``, "400", "history.NAMESPACE.NAME"},
		{"history.team-a.Web", ``, "400", "name"},
		{"history.team-a.web", `{"since":"0s"}`, "422", "168h"},
		{"history.team-a.web", `{"since":"169h"}`, "422", "168h"},
		{"history.team-a.web", `{"since":7}`, "400", "duration"},
		{"history.team-a.web", `{"limit":0}`, "422", "at least 1"},
		{"history.team-a.web", `{"over":"1h"}`, "400", "use only limit, since"},
		{"history.team-a.gone", ``, "404", "no Deployment"},
		{"explain.team-a.gone", ``, "404", "no Deployment"},
		{"explain.team-a.web", `{"since":"1h"}`, "400", "no payload"},
		{"explain", ``, "400", "explain.NAMESPACE.NAME"},
		{"report.Team", ``, "400", "namespace"},
		{"report", `{"over":"169h"}`, "422", "168h"},
		{"report", `{"over":"-1h"}`, "422", "168h"},
		{"report", `{"limit":0}`, "422", "at least 1"},
		{"report", `{"after":"web"}`, "400", "the page before"},
		{"report", `{"to":"noon"}`, "400", "instant"},
		{"report", `{"to":"2126-01-02T15:04:05Z"}`, "422", "future"},
	}
	expect := func() {
		t.Helper()
		for _, row := range rows {
			answer := ask(t, nc, "cortex.mcp.api."+row.request, row.payload)
			if !refused(answer, row.code, row.want) {
				t.Errorf("%s %s: got %v, want %s with %q", row.request, row.payload, answer.Header, row.code, row.want)
			}
		}
	}
	expect()
	natstest.Check(t, w.JetStream().DeleteStream(context.Background(), stream.Events.Name(w.Subjects)))
	rows = rows[:0]
	for _, request := range []string{"history.team-a.web", "report"} {
		rows = append(rows, struct{ request, payload, code, want string }{request, "", "503", "try again"})
	}
	expect()
}

// The report over the wire is that of the domain, of one namespace or of all.
func TestReportOnTheWire(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(
		w, w.Connect(),
		&scaler.Server{ID: web, Replicas: 2, Requests: scaler.Resources{MilliCPU: 500, Memory: 3 << 30}},
		&scaler.Server{ID: files, Replicas: 1, Settings: policy.Settings{DryRun: true}},
	)
	hour := time.Now().Add(-time.Hour).Truncate(time.Second)
	gone := scaler.ID{Namespace: "team-b", Name: "gone"}
	publish(
		w,
		scaler.Event{Type: scaler.Slept, Server: web, At: hour, From: 2, Cause: policy.CauseIdle},
		scaler.Event{Type: scaler.Woken, Server: web, At: hour.Add(90 * time.Second), To: 2, Cause: policy.CauseActivity},
		scaler.Event{Type: scaler.Ready, Server: web, At: hour.Add(92 * time.Second), Took: 2 * time.Second},
		scaler.Event{Type: scaler.WouldSleep, Server: gone, At: hour, From: 1, Cause: policy.CauseIdle},
		scaler.Event{Type: scaler.WouldWake, Server: gone, At: hour.Add(time.Hour / 2), To: 1, Cause: policy.CauseLease},
		scaler.Event{Type: scaler.Slept, Server: files, At: hour.Add(-3 * time.Hour), From: 1, Cause: policy.CauseIdle},
		scaler.Event{Type: scaler.Woken, Server: files, At: hour.Add(-2 * time.Hour), To: 1, Cause: policy.CauseActivity},
	)
	client, ctx := newClient(w), context.Background()
	r, err := client.Report(ctx, "", 2*time.Hour)
	natstest.Check(t, err)
	if len(r.Servers) != 3 || r.To.Sub(r.From) != 2*time.Hour || time.Since(r.To) > time.Minute {
		t.Fatalf("got %+v", r)
	}
	zero := wire.ReportedSleep{CPUMillicoreSeconds: new(big.Int), MemoryByteSeconds: new(big.Int)}
	would := func(seconds int64) wire.ReportedSleep {
		sleep := zero
		sleep.Seconds = seconds
		return sleep
	}
	slept := wire.ReportedSleep{
		Seconds: 90, CPUCoreHours: 0.025, MemoryGiBHours: 0.15,
		CPUMillicoreSeconds: big.NewInt(90_000), MemoryByteSeconds: big.NewInt(2 * 90 * 3 << 30),
	}
	for i, want := range []wire.ReportRow{
		{
			Namespace: "team-a", Name: "web", Asleep: slept, WouldBeAsleep: zero, Sleeps: 1, Wakes: 1,
			AutomaticSleeps: 1, MisSleeps: 1, MisSleepRate: 1, WakeP50Seconds: 2, WakeP95Seconds: 2,
		},
		{Namespace: "team-b", Name: files.Name, Asleep: zero, WouldBeAsleep: would(2 * 3600)},
		{
			Namespace: "team-b", Name: "gone", Gone: true, Asleep: zero, WouldBeAsleep: would(1800),
			WouldSleeps: 1, AutomaticSleeps: 1,
		},
		{
			Asleep: slept, WouldBeAsleep: would(1800 + 2*3600), Sleeps: 1, WouldSleeps: 1, Wakes: 1,
			AutomaticSleeps: 2, MisSleeps: 1, MisSleepRate: 0.5, WakeP50Seconds: 2, WakeP95Seconds: 2,
		},
	} {
		if got := append(r.Servers, r.Total)[i]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	r, err = client.Report(ctx, "team-b", 5*time.Hour)
	if err != nil || len(r.Servers) != 2 || r.Total.Asleep.Seconds != 3600 || r.Total.MisSleeps != 0 {
		t.Errorf("got %+v %v", r, err)
	}
	if r, err := client.Report(ctx, "team-c", 0); err != nil || len(r.Servers) != 0 || r.To.Sub(r.From) != 24*time.Hour {
		t.Errorf("got %+v %v", r, err)
	}
}

// A report ends by the clock of the log, which events bear, whatever the clock of the replica shows.
func TestReportByTheClockOfTheLog(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serveReplica(w, w.Connect(), &replica{ahead: time.Hour})
	r, err := newClient(w).Report(context.Background(), "", time.Hour)
	if ahead := time.Until(r.To); err != nil || ahead < 59*time.Minute || ahead > time.Hour {
		t.Errorf("it ends in %s: %v", ahead, err)
	}
	nc := w.Connect()
	for ahead, want := range map[time.Duration]string{30 * time.Minute: "", 2 * time.Hour: "422"} {
		payload := fmt.Sprintf(`{"to":%q}`, time.Now().Add(ahead).Format(time.RFC3339))
		if got := ask(t, nc, "cortex.mcp.api.report", payload).Header.Get(micro.ErrorCodeHeader); got != want {
			t.Errorf("to in %s: got %q, want %q", ahead, got, want)
		}
	}
}

// A report of any number of servers comes in pages that fit into one message. Each has the total of
// all.
func TestReportIsPaged(t *testing.T) {
	w := natstest.NewWithStreams(t)
	var servers []*scaler.Server
	for i := range 4000 {
		servers = append(servers, &scaler.Server{
			ID:       scaler.ID{Namespace: []string{"a", "a-b"}[i/2000], Name: fmt.Sprintf("server-%05d-%0100d", i, 0)},
			Ours:     true,
			Settings: policy.Defaults(time.Hour),
			Mark:     scaler.Mark{Asleep: time.Now().Add(-100 * time.Hour), Restore: 1},
			Requests: scaler.Resources{MilliCPU: 1},
		})
	}
	nc := w.Connect()
	serve(w, nc, servers...)
	answer := ask(t, nc, "cortex.mcp.api.report", `{"over":"1h"}`)
	var page wire.Report
	natstest.Check(t, json.Unmarshal(answer.Data, &page))
	if int64(len(answer.Data)) > nc.MaxPayload() || page.Next == "" || len(page.Servers) < 500 {
		t.Errorf("the first page has %d bytes, %d servers, and then %q", len(answer.Data), len(page.Servers), page.Next)
	}
	// The next page needs no event to be read again, not even the stream.
	natstest.Check(t, w.JetStream().DeleteStream(context.Background(), stream.Events.Name(w.Subjects)))
	next := fmt.Sprintf(`{"over":"1h","to":%q,"after":%q}`, page.To.Format(time.RFC3339Nano), page.Next)
	if got := ask(t, nc, "cortex.mcp.api.report", next); got.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("the next page: got %v", got.Header)
	}
	natstest.Check(t, w.Ensure(context.Background()))
	r, err := newClient(w).Report(context.Background(), "", time.Hour)
	natstest.Check(t, err)
	if len(r.Servers) != 4000 || r.Next != "" || r.Total.Asleep.Seconds != 4000*3600 || r.Total.Asleep.CPUCoreHours != 4 {
		t.Errorf("got %d servers, %+v", len(r.Servers), r.Total)
	}
	for i, row := range r.Servers {
		if row.Name != servers[i].ID.Name || row.Asleep.Seconds != 3600 {
			t.Fatalf("row %d is %+v", i, row)
		}
	}
	natstest.Check(t, json.Unmarshal(ask(t, nc, "cortex.mcp.api.report.a", `{"limit":2}`).Data, &page))
	if len(page.Servers) != 2 || page.Next != "a/"+page.Servers[1].Name || page.Total.Asleep.Seconds != 2000*24*3600 {
		t.Errorf("got %+v", page)
	}
}

// An explanation says in words what status says in fields.
func TestExplainOnTheWire(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web, Replicas: 1})
	e, err := newClient(w).Explain(context.Background(), web)
	begins := strings.HasPrefix(e.Text, "team-a/web is running with 1 replica.\nIt ")
	if err != nil || e.Server.Name != "web" || !begins || !strings.Contains(e.Text, e.Decision.Text) {
		t.Errorf("got %+v %v", e, err)
	}
}

// BenchmarkPast measures the time and memory of a report of many events, and the time to find those
// of one server among them.
func BenchmarkPast(b *testing.B) {
	const servers, each = 5000, 8 // 40,000 events
	w := natstest.NewWithStreams(b)
	nc, js := w.Connect(), w.JetStream()
	began := time.Now().Add(-24 * time.Hour)
	for i := range servers * each {
		e := scaler.Event{
			ID:     fmt.Sprintf("b88c06f4-2655-4544-a095-e54ec5736760-%d", i),
			Server: scaler.ID{Namespace: fmt.Sprint("team-", i%10), Name: fmt.Sprint("server-", i%servers)},
			At:     began.Add(time.Duration(i/servers) * time.Minute), From: 1, To: 1,
			Type: report.Types[i/servers%3], Cause: policy.CauseIdle,
			Text: "unused for 30m, its idle-after is 30m", Idle: 30 * time.Minute,
		}
		payload, err := wire.EncodeEvent(event.ToWire(e), "/test")
		natstest.Check(b, err)
		natstest.Check(b, nc.Publish(w.Subjects.Event(string(e.Type), e.Server), payload))
		if i%1000 < 999 {
			continue
		}
		wait.Until(b, "that they are stored", func() bool { // and no faster
			events, err := js.Stream(context.Background(), stream.Events.Name(w.Subjects))
			return err == nil && events.CachedInfo().State.Msgs == uint64(i+1)
		})
	}
	a, err := New(nc, Config{Subjects: w.Subjects, Servers: &replica{}, AtOnce: 1, Logger: natstest.Quiet})
	natstest.Check(b, err)
	now := time.Now()
	report := func(namespace string, want int) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := a.makeReport(context.Background(), span{namespace, now.Add(-48 * time.Hour), now}, false)
				natstest.Check(b, err)
				if len(r.Servers) != want {
					b.Fatal(len(r.Servers))
				}
			}
		}
	}
	b.Run("report", report("", servers))
	b.Run("report of a namespace", report("team-7", servers/10))
	b.Run("history", func(b *testing.B) {
		for b.Loop() {
			last := newest{limit: 100}
			id := wire.ID{Namespace: "team-7", Name: "server-7"}
			natstest.Check(b, a.readEvents(context.Background(), id, now.Add(-48*time.Hour), nil,
				func(e wire.Event) { last.add(e.HistoryEntry) }))
			if last.cut(); len(last.events) != each {
				b.Fatal(len(last.events))
			}
		}
	})
}
