package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/activity"
	"idle-scaler/scaler"
)

// given is one command as the domain got it.
type given struct {
	scaler.Command
	ctx    context.Context
	err    error // why it was rejected
	finish func(scaler.Outcome)
}

// domain takes what is submitted, and lets the test finish it.
type domain struct{ given chan given }

func (d *domain) Submit(ctx context.Context, c scaler.Command, finish func(scaler.Outcome)) {
	d.given <- given{c, ctx, nil, finish}
}

func (d *domain) Reject(c scaler.Command, err error, finish func(scaler.Outcome)) {
	d.given <- given{c, nil, err, finish}
}

func (d *domain) View(server *scaler.Server) scaler.View {
	return scaler.View{Server: server, Status: scaler.StatusRunning}
}

// lead begins to hold sessions, as a leader would.
func lead(w *world, nc *nats.Conn, change ...func(*SessionConfig)) (d *domain, stop func()) {
	w.t.Helper()
	d = &domain{make(chan given, 10_000)}
	config := SessionConfig{
		Subjects: w.subjects, Commands: d, Leads: func() bool { return true },
		Ensure:  func(context.Context) error { return w.ensure() },
		Tracker: activity.NewTracker(0), AckWait: time.Hour, InFlight: 4096, Heartbeat: 200 * time.Millisecond, Probe: 20 * time.Millisecond, Logger: quiet,
	}
	for _, c := range change {
		c(&config)
	}
	sessions, err := NewSessions(nc, config)
	check(w.t, err)
	return d, run(w.t, sessions.Run)
}

func send(t testing.TB, js jetstream.JetStream, subject, payload string, header ...string) uint64 {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(payload)
	for i := 0; i < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	stored, err := js.PublishMsg(context.Background(), m)
	check(t, err)
	return stored.Sequence
}

func (w *world) left() uint64 { return w.info(w.subjects.commandStream()).State.Msgs }

// A command comes with its place in the stream, which is its identity, and stays in the stream until it is finished.
func TestCommandIsHandedOn(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	subject := w.subjects.Command(scaler.Scale, files)
	sequence := send(t, js, subject, `{"replicas":3,"id":"7","actor":"ann","reason":"tea"}`, deadlineHeader, "2030-01-02T03:04:05.6Z")
	stored, err := mustStream(t, js, w.subjects.commandStream()).GetMsg(context.Background(), sequence)
	check(t, err)
	d, _ := lead(w, w.connect())
	got := receive(t, "the command", d.given)
	if !got.Stamp.Time.Equal(stored.Time) || got.Stamp.Sequence != sequence {
		t.Errorf("got %v, want %d %v", got.Stamp, sequence, stored.Time)
	}
	got.Stamp = scaler.Command{}.Stamp
	want := scaler.Command{
		Verb: scaler.Scale, Server: files, Replicas: 3, ID: "7", Actor: "ann", Reason: "tea",
		Deadline: time.Date(2030, 1, 2, 3, 4, 5, 600e6, time.UTC),
	}
	if got.Command != want || got.err != nil {
		t.Errorf("got %+v %v, want %+v", got.Command, got.err, want)
	}
	if n := w.left(); n != 1 {
		t.Errorf("%d in the stream before it is finished", n)
	}
	got.finish(scaler.Outcome{Event: scaler.Event{Type: scaler.Scaled}})
	eventually(t, "the end of it", func() bool { return w.left() == 0 })
}

// A session measures how far our clock is from that of NATS before it hands a command on: the log may not have been heard yet. What it says of the
// command stays in the time of NATS, however long the session lasts.
func TestSessionMeasuresTheClock(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	tracker := activity.NewTracker(0)
	tracker.Hear(activity.Log{Behind: time.Hour}, time.Now()) // as it was before the clock was corrected
	tracker.Deaf("NATS is away", time.Now())
	d, _ := lead(w, w.connect(), func(c *SessionConfig) { c.Tracker = tracker })
	for _, behind := range []time.Duration{0, time.Minute, -time.Minute} {
		send(t, js, w.subjects.Command(scaler.Start, web), ``, deadlineHeader, "30s")
		got := receive(t, "the command", d.given)
		if now := time.Now(); behind == 0 && tracker.Stamp(now).Sub(now).Abs() > time.Second {
			t.Errorf("the clock of NATS is believed to be %s behind", now.Sub(tracker.Stamp(now)))
		}
		if !got.Deadline.Equal(got.Stamp.Time.Add(30 * time.Second)) {
			t.Errorf("taken at %s, to be applied until %s", got.Stamp.Time, got.Deadline)
		}
		tracker.Hear(activity.Log{Behind: behind}, time.Now())
	}
}

// The wait of a command that was published is not waited for, as nobody would get the answer: it says from the start that nobody is there. The
// domain checks it all the same.
func TestNobodyWaitsForAPublishedCommand(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	d, _ := lead(w, w.connect())
	for _, row := range []struct {
		header []string
		waits  bool
	}{{nil, false}, {[]string{replyHeader, "elsewhere"}, false}, {[]string{replyHeader, w.connect().NewInbox()}, true}} {
		send(t, js, w.subjects.Command(scaler.Start, web), `{"wait":"4m"}`, row.header...)
		got := receive(t, "the command", d.given)
		waits := true
		select {
		case <-got.Left:
			waits = false
		default:
		}
		if waits != row.waits || got.Wait != 4*time.Minute {
			t.Errorf("%v: somebody waits for %s is %v, want %v", row.header, got.Wait, waits, row.waits)
		}
		got.finish(scaler.Outcome{})
	}
}

// What makes no sense is rejected, which tells it, with whatever could be read; then it is terminated, and the next comes.
func TestPoison(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	d, _ := lead(w, w.connect())
	advisories := make(chan *nats.Msg, 100)
	nc := w.connect()
	_, err := nc.ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>", advisories)
	check(t, err)
	check(t, nc.Flush())
	start := w.subjects.Command(scaler.Start, web)
	for _, row := range []struct{ subject, payload, want string }{
		{start, `{"wait":`, "not valid JSON"},
		{start, `{"waits":"1s"}`, "unknown field"},
		{start, `{"reason":"` + strings.Repeat("x", 65<<10) + `"}`, "at most 65536"},
		{start, "{\"reason\":\"\xff\"}", "UTF-8"},
		{w.subjects.Command(scaler.Scale, web), `{"replicas":"3"}`, "whole number"},
		{"cortex.mcp.command.start.team-a.Web", ``, "name"},
		{"cortex.mcp.command.start", ``, "namespace"},
		{"cortex.mcp.command.boot.team-a.web", ``, "unknown verb"},
	} {
		send(t, js, row.subject, row.payload)
		got := receive(t, row.want, d.given)
		if !errors.Is(got.err, scaler.ErrInvalid) || !strings.Contains(got.err.Error(), row.want) || got.Stamp.IsZero() {
			t.Errorf("%s %.60s: got %.200v at %v", row.subject, row.payload, got.err, got.Stamp)
		}
		got.finish(scaler.Outcome{Err: got.err, Event: scaler.Event{Type: scaler.Rejected}})
		receive(t, "word that it was terminated", advisories)
	}
	send(t, js, start, ``, deadlineHeader, "soon")
	if got := receive(t, "a bad deadline", d.given); !errors.Is(got.err, scaler.ErrInvalid) {
		t.Errorf("got %v", got.err)
	} else {
		got.finish(scaler.Outcome{Err: got.err, Event: scaler.Event{Type: scaler.Rejected}})
	}
	send(t, js, start, ``)
	if got := receive(t, "what is in order", d.given); got.err != nil || got.Verb != scaler.Start {
		t.Errorf("got %+v", got)
	}
	eventually(t, "the end of the poison", func() bool { return w.left() == 1 })
}

// A sender can't end everybody's sessions by writing into a header what the server would.
func TestCommandsThatLookLikeTheServer(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	d, _ := lead(w, w.connect())
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		sequence := send(t, js, w.subjects.Command(scaler.Start, web), ``, "Status", status, "Description", "Consumer Deleted", "Nats-Last-Consumer", "99")
		if got := receive(t, "the command with status "+status, d.given); got.Stamp.Sequence != sequence || got.ctx.Err() != nil {
			t.Errorf("status %s: got %v, session %v", status, got.Stamp, got.ctx.Err())
		}
	}
}

// A session that is killed leaves its unfinished commands to the next, which gets them in order and before anything newer. A
// consumer that lived on would redeliver them after newer ones, and a stop would undo a start that was sent after it.
func TestRedeliveryIsInOrder(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	nc := w.connect()
	first, _ := lead(w, nc, func(c *SessionConfig) { c.Ensure = func(context.Context) error { return nil } })
	var finished []given
	for i := range 20 {
		send(t, js, w.subjects.Command(scaler.Start, web), fmt.Sprintf(`{"id":"%d"}`, i))
		if got := receive(t, "a command", first.given); i%3 == 0 {
			got.finish(scaler.Outcome{})
			finished = append(finished, got)
		}
	}
	eventually(t, "the acknowledgements", func() bool { return w.left() == uint64(20-len(finished)) })
	nc.Close() // as when the process is killed: nothing is said
	for i := 20; i < 30; i++ {
		send(t, js, w.subjects.Command(scaler.Stop, web), fmt.Sprintf(`{"id":"%d"}`, i))
	}
	second, _ := lead(w, w.connect())
	var got, want []string
	for i := range 30 {
		if i >= 20 || i%3 != 0 {
			want = append(want, fmt.Sprint(i))
			got = append(got, receive(t, "a command", second.given).ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A lost connection ends the session, at once for those who hold its commands; the next begins after the reconnect, from the oldest
// that is unfinished. What is finished in between can't be acknowledged, and comes again.
func TestSessionEndsWithItsConnection(t *testing.T) {
	w := newWorldWithStreams(t)
	d, _ := lead(w, w.connect())
	js := w.jetStream()
	one := send(t, js, w.subjects.Command(scaler.Start, web), ``)
	two := send(t, js, w.subjects.Command(scaler.Stop, web), ``)
	held := receive(t, "one", d.given)
	receive(t, "two", d.given)
	w.server.Shutdown()
	receive(t, "the end of the session", held.ctx.Done())
	held.finish(scaler.Outcome{})
	w.begin()
	again := receive(t, "a command of the next session", d.given)
	if again.Stamp.Sequence != one {
		t.Errorf("got %v, want %d", again.Stamp, one)
	}
	again.finish(scaler.Outcome{})
	again = receive(t, "a command of the next session", d.given)
	if again.Stamp.Sequence != two || again.ctx.Err() != nil {
		t.Errorf("got %v %v, want %d in a session that goes on", again.Stamp, again.ctx.Err(), two)
	}
	again.finish(scaler.Outcome{})
	eventually(t, "the end of both", func() bool { return w.left() == 0 })
}

// Of two who think that they lead, the one who does not know better yet gives up as soon as it does: it never takes the consumer
// back. What it has finished by then is acknowledged.
func TestTwoSessions(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	var oldLeads atomic.Bool
	var asked atomic.Int64
	oldLeads.Store(true)
	old, _ := lead(w, w.connect(), func(c *SessionConfig) {
		c.Leads = func() bool { asked.Add(1); return oldLeads.Load() }
	})
	send(t, js, w.subjects.Command(scaler.Start, web), ``)
	held := receive(t, "the command", old.given)
	oldLeads.Store(false)
	next, _ := lead(w, w.connect())
	if got := receive(t, "the command, again", next.given); !got.Stamp.Equal(held.Stamp) {
		t.Errorf("got %v, want %v", got.Stamp, held.Stamp)
	}
	receive(t, "the end of the old session", held.ctx.Done())
	consumers := func() (names []string) {
		for name := range mustStream(t, js, w.subjects.commandStream()).ConsumerNames(context.Background()).Name() {
			names = append(names, name)
		}
		return names
	}
	before, asks := consumers(), asked.Load()
	for range 5 {
		send(t, js, w.subjects.Command(scaler.Start, files), ``)
		receive(t, "a new command", next.given)
	}
	eventually(t, "that the old one asks whether it leads", func() bool { return asked.Load() > asks+2 })
	if after := consumers(); len(before) != 1 || !slices.Equal(before, after) || len(old.given) > 0 {
		t.Errorf("the consumer was taken back: %v, then %v", before, after)
	}
}

// Leadership that is lost while a session begins ends that: no consumer is made, which whoever leads now would trip over.
func TestLeadershipIsLostMeanwhile(t *testing.T) {
	w := newWorldWithStreams(t)
	var asked atomic.Int64
	_, stop := lead(w, w.connect(), func(c *SessionConfig) {
		c.Leads = func() bool { return asked.Add(1) == 1 }
	})
	eventually(t, "that it asks again", func() bool { return asked.Load() > 3 })
	stop()
	if n := w.info(w.subjects.commandStream()).State.Consumers; n > 0 {
		t.Errorf("%d consumers are made", n)
	}
}

// Nothing is handed on after the end, and nothing before this process leads.
func TestSessionsFollowLeadership(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	var leads atomic.Bool
	d, stop := lead(w, w.connect(), func(c *SessionConfig) { c.Leads = leads.Load })
	send(t, js, w.subjects.Command(scaler.Start, web), ``)
	time.Sleep(3 * leadPause)
	if len(d.given) > 0 {
		t.Error("a command is handed on before this process leads")
	}
	leads.Store(true)
	got := receive(t, "the command", d.given)
	stop()
	if got.ctx.Err() == nil {
		t.Error("the session goes on after Run has returned")
	}
	send(t, js, w.subjects.Command(scaler.Start, web), ``)
	got.finish(scaler.Outcome{})
	eventually(t, "a late acknowledgement", func() bool { return w.left() == 1 })
	if len(d.given) > 0 {
		t.Error("a command is handed on after the end")
	}
}

// Not more is in memory than may be unfinished at once.
func TestInFlightIsBounded(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	for range 50 {
		send(t, js, w.subjects.Command(scaler.Start, web), ``)
	}
	d, _ := lead(w, w.connect(), func(c *SessionConfig) { c.InFlight = 10 })
	for i := range 50 {
		held := receive(t, "a command", d.given)
		if n := len(d.given); n > 9 {
			t.Fatalf("%d commands are handed on at once", n+1)
		}
		if held.Stamp.Sequence != uint64(i+1) {
			t.Fatalf("number %d has sequence %d", i, held.Stamp.Sequence)
		}
		held.finish(scaler.Outcome{})
	}
	eventually(t, "the end of all", func() bool { return w.left() == 0 })
}

// Nor are more bytes on their way than are handled soon: NATS cuts a connection off that is 64 MB behind, again and again.
func TestBytesInFlightAreBounded(t *testing.T) {
	const commands, bytes = 20, 1_000_000
	w := newWorldWithStreams(t)
	js := w.jetStream()
	for range commands {
		send(t, js, w.subjects.Command(scaler.Start, web), strings.Repeat(" ", bytes))
	}
	slow := &domain{make(chan given)}
	lead(w, w.connect(), func(c *SessionConfig) { c.Commands = slow })
	receive(t, "a command", slow.given)
	time.Sleep(300 * time.Millisecond) // in which NATS sends what it may, and nothing is taken
	for consumer := range mustStream(t, js, w.subjects.commandStream()).ListConsumers(context.Background()).Info() {
		if sent := consumer.Delivered.Consumer * bytes; sent > 8<<20 {
			t.Errorf("%d MiB are on their way", sent>>20)
		}
	}
	for range commands - 1 {
		receive(t, "a command", slow.given)
	}
}

// The answer goes to an inbox and nowhere else: else whoever may command one server could make the daemon publish anywhere, and on
// an activity subject anything is a ping.
func TestAnswers(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	d, _ := lead(w, w.connect())
	nc := w.connect()
	var mu sync.Mutex
	var heard []string
	_, err := nc.Subscribe(">", func(m *nats.Msg) {
		if strings.HasPrefix(m.Subject, "cortex.mcp.activity") || strings.HasPrefix(m.Subject, "elsewhere") {
			mu.Lock()
			heard = append(heard, m.Subject)
			mu.Unlock()
		}
	})
	check(t, err)
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, 10)
	_, err = nc.ChanSubscribe(inbox, answers)
	check(t, err)
	check(t, nc.Flush())
	start := w.subjects.Command(scaler.Start, web)
	for _, reply := range []string{"cortex.mcp.activity.team-b.files", "elsewhere", "_INBOX.*", "_INBOX.>", "_INBOX..x", ""} {
		send(t, js, start, ``, replyHeader, reply)
		got := receive(t, "a command", d.given)
		if got.Wait != 0 {
			t.Errorf("reply %q: it waits %s for nobody", reply, got.Wait)
		}
		got.finish(scaler.Outcome{Server: &scaler.Server{ID: web}})
	}
	eventually(t, "the end of them", func() bool { return w.left() == 0 })

	sequence := send(t, js, start, ``, replyHeader, inbox)
	got := receive(t, "a command that is answered", d.given)
	if got.Wait != defaultWait {
		t.Errorf("it waits %s, want %s", got.Wait, defaultWait)
	}
	got.finish(scaler.Outcome{Server: &scaler.Server{ID: web, Replicas: 2, Ready: 1}, Event: scaler.Event{Type: scaler.Woken, From: 0, To: 2}})
	answer := receive(t, "the answer", answers)
	want := fmt.Sprintf(`{"server":{"name":"web","namespace":"team-a","status":"running","replicas":2,"ready_replicas":1,"endpoints":[]},`+
		`"event":{"type":"woken","from":0,"to":2},"command":{"sequence":%d}}`, sequence)
	if string(answer.Data) != want || answer.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("got %s %v\nwant %s", answer.Data, answer.Header, want)
	}

	send(t, js, start, ``, replyHeader, inbox)
	receive(t, "a command that fails", d.given).finish(scaler.Outcome{
		Err: fmt.Errorf("%w: team-a/web is not ready after 1m0s", scaler.ErrNotInTime), Server: &scaler.Server{ID: web}, Event: scaler.Event{Type: scaler.Woken, To: 1},
	})
	answer = receive(t, "the answer", answers)
	if answer.Header.Get(micro.ErrorCodeHeader) != "504" || !strings.Contains(answer.Header.Get(micro.ErrorHeader), "not ready after") ||
		!strings.Contains(string(answer.Data), `"error":{"code":504`) || !strings.Contains(string(answer.Data), `"type":"woken"`) {
		t.Errorf("got %v %s", answer.Header, answer.Data)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(heard) > 0 {
		t.Errorf("answers went to %v", heard)
	}
}

// A command stream that was deleted is made again, and the session goes on.
func TestCommandStreamIsMadeAgain(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	d, _ := lead(w, w.connect())
	send(t, js, w.subjects.Command(scaler.Start, web), ``)
	receive(t, "a command", d.given)
	check(t, js.DeleteStream(context.Background(), w.subjects.commandStream()))
	eventually(t, "the stream", func() bool {
		_, err := js.Stream(context.Background(), w.subjects.commandStream())
		return err == nil
	})
	send(t, js, w.subjects.Command(scaler.Start, web), ``)
	if got := receive(t, "a command in it", d.given); got.Stamp.Sequence != 1 {
		t.Errorf("got %v", got.Stamp)
	}
}
