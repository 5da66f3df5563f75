package command_test

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

	"idle-scaler/activity"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var web, files = natstest.Web, natstest.Files

func send(t testing.TB, js jetstream.JetStream, subject, payload string, header ...string) uint64 {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(payload)
	for i := 0; i < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	stored, err := js.PublishMsg(context.Background(), m)
	natstest.Check(t, err)
	return stored.Sequence
}

// left returns how many commands are not acknowledged.
func left(w *natstest.Server) uint64 { return w.Info(stream.Commands.Name(w.Subjects)).State.Msgs }

// A command is submitted with its Stamp, which is its identity. It stays in the stream until it is
// finished.
func TestCommandIsSubmitted(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	subject := w.Subjects.Command(wire.VerbScale, files)
	payload := `{"replicas":3,"id":"7","actor":"ann","reason":"tea"}`
	sequence := send(t, js, subject, payload, wire.DeadlineHeader, "2030-01-02T03:04:05.6Z")
	stored, err := w.Stream(stream.Commands.Name(w.Subjects)).GetMsg(context.Background(), sequence)
	natstest.Check(t, err)
	d, _ := leader.Lead(w, w.Connect())
	got := wait.For(t, "the command", d.Given)
	if !got.Stamp.Time.Equal(stored.Time) || got.Stamp.Sequence != sequence {
		t.Errorf("got %v, want %d %v", got.Stamp, sequence, stored.Time)
	}
	got.Stamp, got.Taken = scaler.Command{}.Stamp, time.Time{}
	want := scaler.Command{
		Verb: scaler.Scale, Server: files, Replicas: 3, ID: "7", Actor: "ann", Reason: "tea",
		Deadline: time.Date(2030, 1, 2, 3, 4, 5, 600e6, time.UTC),
	}
	if got.Command != want || got.Err != nil {
		t.Errorf("got %+v %v, want %+v", got.Command, got.Err, want)
	}
	if n := left(w); n != 1 {
		t.Errorf("%d are in the stream before it is finished, want 1", n)
	}
	got.Finish(scaler.Outcome{Event: scaler.Event{Type: scaler.Scaled}})
	wait.Until(t, "the acknowledgement", func() bool { return left(w) == 0 })
}

// A session sets the clock of the log before it submits a command, because the log may not have
// been read yet. A deadline counts from the moment at which the stream took the command.
func TestSessionSetsTheClock(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	clock, now := new(activity.Clock), time.Now()
	clock.Measured(now.Add(-time.Hour), now, now) // as if the machine had been suspended since then
	d, _ := leader.Lead(w, w.Connect(), func(c *command.Config) { c.Clock = clock })
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``, wire.DeadlineHeader, "30s")
	got := wait.For(t, "the command", d.Given)
	if skew := clock.Skew(); skew.Abs() > time.Second {
		t.Errorf("the clock of NATS seems to be %s behind", skew)
	}
	// A clock that was measured a moment ago is wrong by at most the time that NATS took to answer.
	if got.Taken.Sub(got.Stamp.Time).Abs() > wait.Patience || !got.Deadline.Equal(got.Taken.Add(30*time.Second)) {
		t.Errorf("stamped %s, taken at %s, to be applied until %s", got.Stamp.Time, got.Taken, got.Deadline)
	}
}

// A command that makes no sense is rejected, with the fields that could be read. It is terminated,
// and the next command comes.
func TestPoison(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	d, _ := leader.Lead(w, w.Connect())
	advisories := make(chan *nats.Msg, 100)
	nc := w.Connect()
	_, err := nc.ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>", advisories)
	natstest.Check(t, err)
	natstest.Check(t, nc.Flush())
	start := w.Subjects.Command(wire.VerbStart, web)
	for _, row := range []struct{ subject, payload, want string }{
		{start, `{"wait":`, "not valid JSON"},
		{start, `{"waits":"1s"}`, "unknown field"},
		{start, `{"reason":"` + strings.Repeat("x", 65<<10) + `"}`, "at most 65536"},
		{start, "{\"reason\":\"\xff\"}", "UTF-8"},
		{w.Subjects.Command(wire.VerbScale, web), `{"replicas":"3"}`, "whole number"},
		{"cortex.mcp.command.start.team-a.Web", ``, "name"},
		{"cortex.mcp.command.start", ``, "namespace"},
		{"cortex.mcp.command.boot.team-a.web", ``, "unknown verb"},
	} {
		send(t, js, row.subject, row.payload)
		got := wait.For(t, row.want, d.Given)
		if !errors.Is(got.Err, wire.ErrInvalid) || !strings.Contains(got.Err.Error(), row.want) || got.Stamp.IsZero() {
			t.Errorf("%s %.60s: got %.200v at %v", row.subject, row.payload, got.Err, got.Stamp)
		}
		got.Finish(scaler.Outcome{Err: got.Err, Event: scaler.Event{Type: scaler.Rejected}})
		wait.For(t, "the advisory that it was terminated", advisories)
	}
	send(t, js, start, ``, wire.DeadlineHeader, "soon")
	if got := wait.For(t, "a bad deadline", d.Given); !errors.Is(got.Err, wire.ErrInvalid) {
		t.Errorf("got %v", got.Err)
	} else {
		got.Finish(scaler.Outcome{Err: got.Err, Event: scaler.Event{Type: scaler.Rejected}})
	}
	send(t, js, start, ``)
	if got := wait.For(t, "a command that makes sense", d.Given); got.Err != nil || got.Verb != scaler.Start {
		t.Errorf("got %+v", got)
	}
	wait.Until(t, "the end of the rejected commands", func() bool { return left(w) == 1 })
}

// A sender can't end everybody's sessions: a command never looks like a message of the NATS server
// itself, whatever headers it has.
func TestCommandsThatLookLikeTheServer(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	d, _ := leader.Lead(w, w.Connect())
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		sequence := send(t, js, w.Subjects.Command(wire.VerbStart, web), ``,
			"Status", status, "Description", "Consumer Deleted", "Nats-Last-Consumer", "99")
		got := wait.For(t, "the command with status "+status, d.Given)
		if got.Stamp.Sequence != sequence || got.Ctx.Err() != nil {
			t.Errorf("status %s: got %v, session %v", status, got.Stamp, got.Ctx.Err())
		}
	}
}

// After a session was killed, the next one gets its unfinished commands in order, and before
// anything newer. A consumer that outlived its session would redeliver them after newer ones, and a
// stop would undo a start that was sent after it.
func TestRedeliveryIsInOrder(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	nc := w.Connect()
	first, _ := leader.Lead(w, nc, func(c *command.Config) { c.Ensure = func(context.Context) error { return nil } })
	var finished []leader.Given
	for i := range 20 {
		send(t, js, w.Subjects.Command(wire.VerbStart, web), fmt.Sprintf(`{"id":"%d"}`, i))
		if got := wait.For(t, "a command", first.Given); i%3 == 0 {
			got.Finish(scaler.Outcome{})
			finished = append(finished, got)
		}
	}
	wait.Until(t, "the acknowledgements", func() bool { return left(w) == uint64(20-len(finished)) })
	nc.Close() // without a word, as when the process is killed
	for i := 20; i < 30; i++ {
		send(t, js, w.Subjects.Command(wire.VerbStop, web), fmt.Sprintf(`{"id":"%d"}`, i))
	}
	second, _ := leader.Lead(w, w.Connect())
	var got, want []string
	for i := range 30 {
		if i >= 20 || i%3 != 0 {
			want = append(want, fmt.Sprint(i))
			got = append(got, wait.For(t, "a command", second.Given).ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A lost connection ends the session at once. The next session begins after the reconnect, with the
// oldest unfinished command. A command that is finished in between can't be acknowledged, and is
// redelivered.
func TestSessionEndsWithItsConnection(t *testing.T) {
	w := natstest.NewWithStreams(t)
	d, _ := leader.Lead(w, w.Connect())
	js := w.JetStream()
	one := send(t, js, w.Subjects.Command(wire.VerbStart, web), ``)
	two := send(t, js, w.Subjects.Command(wire.VerbStop, web), ``)
	held := wait.For(t, "one", d.Given)
	wait.For(t, "two", d.Given)
	w.Shutdown()
	wait.For(t, "the end of the session", held.Ctx.Done())
	held.Finish(scaler.Outcome{})
	w.Start()
	again := wait.For(t, "a command of the next session", d.Given)
	if again.Stamp.Sequence != one {
		t.Errorf("got %v, want %d", again.Stamp, one)
	}
	again.Finish(scaler.Outcome{})
	again = wait.For(t, "a command of the next session", d.Given)
	if again.Stamp.Sequence != two || again.Ctx.Err() != nil {
		t.Errorf("got %v %v, want %d, and that the session goes on", again.Stamp, again.Ctx.Err(), two)
	}
	again.Finish(scaler.Outcome{})
	wait.Until(t, "both acknowledgements", func() bool { return left(w) == 0 })
}

// When two replicas believe that they lead, the older one never takes the consumer back. It gives
// up as soon as it knows better.
func TestTwoSessions(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	var oldLeads atomic.Bool
	var asked atomic.Int64
	oldLeads.Store(true)
	old, _ := leader.Lead(w, w.Connect(), func(c *command.Config) {
		c.Leads = func() bool {
			asked.Add(1)
			return oldLeads.Load()
		}
	})
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``)
	held := wait.For(t, "the command", old.Given)
	oldLeads.Store(false)
	next, _ := leader.Lead(w, w.Connect())
	if got := wait.For(t, "the command, again", next.Given); !got.Stamp.Equal(held.Stamp) {
		t.Errorf("got %v, want %v", got.Stamp, held.Stamp)
	}
	wait.For(t, "the end of the old session", held.Ctx.Done())
	consumers := func() (names []string) {
		for name := range w.Stream(stream.Commands.Name(w.Subjects)).ConsumerNames(context.Background()).Name() {
			names = append(names, name)
		}
		return names
	}
	before, asks := consumers(), asked.Load()
	for range 5 {
		send(t, js, w.Subjects.Command(wire.VerbStart, files), ``)
		wait.For(t, "a new command", next.Given)
	}
	wait.Until(t, "that the old one asks whether it leads", func() bool { return asked.Load() > asks+2 })
	if after := consumers(); len(before) != 1 || !slices.Equal(before, after) || len(old.Given) > 0 {
		t.Errorf("the consumer was taken back: %v, then %v", before, after)
	}
}

// A session that loses leadership while it begins makes no consumer, because the next leader would
// have to delete it.
func TestLeadershipIsLostMeanwhile(t *testing.T) {
	w := natstest.NewWithStreams(t)
	var asked atomic.Int64
	_, stop := leader.Lead(w, w.Connect(), func(c *command.Config) {
		c.Leads = func() bool { return asked.Add(1) == 1 }
	})
	wait.Until(t, "that it asks again", func() bool { return asked.Load() > 3 })
	stop()
	if n := w.Info(stream.Commands.Name(w.Subjects)).State.Consumers; n > 0 {
		t.Errorf("there are %d consumers, want none", n)
	}
}

// Nothing is submitted before this process leads, and nothing after the end.
func TestSessionsFollowLeadership(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	var leads atomic.Bool
	d, stop := leader.Lead(w, w.Connect(), func(c *command.Config) { c.Leads = leads.Load })
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``)
	time.Sleep(3 * command.LeadPause)
	if len(d.Given) > 0 {
		t.Error("a command is submitted before this process leads")
	}
	leads.Store(true)
	got := wait.For(t, "the command", d.Given)
	stop()
	if got.Ctx.Err() == nil {
		t.Error("the session goes on after Run has returned")
	}
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``)
	got.Finish(scaler.Outcome{})
	wait.Until(t, "a late acknowledgement", func() bool { return left(w) == 1 })
	if len(d.Given) > 0 {
		t.Error("a command is submitted after the end")
	}
}

// No more commands are in memory than may be unacknowledged at once.
func TestMaxAckPending(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	for range 50 {
		send(t, js, w.Subjects.Command(wire.VerbStart, web), ``)
	}
	d, _ := leader.Lead(w, w.Connect(), func(c *command.Config) { c.MaxAckPending = 10 })
	for i := range 50 {
		held := wait.For(t, "a command", d.Given)
		if n := len(d.Given); n > 9 {
			t.Fatalf("%d commands are in work, want at most 10", n+1)
		}
		if held.Stamp.Sequence != uint64(i+1) {
			t.Fatalf("command %d has sequence %d, want %d", i, held.Stamp.Sequence, i+1)
		}
		held.Finish(scaler.Outcome{})
	}
	wait.Until(t, "all acknowledgements", func() bool { return left(w) == 0 })
}

// The bytes on their way are bounded, because NATS cuts off a connection that is 64 MB behind, and
// would do so again and again.
func TestBytesInFlightAreBounded(t *testing.T) {
	const commands, bytes = 20, 1_000_000
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	for range commands {
		send(t, js, w.Subjects.Command(wire.VerbStart, web), strings.Repeat(" ", bytes))
	}
	slow := &leader.Leader{Given: make(chan leader.Given)}
	leader.Lead(w, w.Connect(), func(c *command.Config) { c.Applier = slow })
	wait.For(t, "a command", slow.Given)
	time.Sleep(300 * time.Millisecond) // NATS sends what it may, and nothing is taken
	for consumer := range w.Stream(stream.Commands.Name(w.Subjects)).ListConsumers(context.Background()).Info() {
		if sent := consumer.Delivered.Consumer * bytes; sent > 8<<20 {
			t.Errorf("%d MiB are on their way", sent>>20)
		}
	}
	for range commands - 1 {
		wait.For(t, "a command", slow.Given)
	}
}

// The daemon answers to an inbox and nowhere else. Otherwise everybody who may send a command could
// make it publish anywhere, and any message on an activity subject is a ping.
func TestAnswers(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	d, _ := leader.Lead(w, w.Connect())
	nc := w.Connect()
	var mu sync.Mutex
	var published []string
	_, err := nc.Subscribe(">", func(m *nats.Msg) {
		if strings.HasPrefix(m.Subject, "cortex.mcp.activity") || strings.HasPrefix(m.Subject, "elsewhere") {
			mu.Lock()
			published = append(published, m.Subject)
			mu.Unlock()
		}
	})
	natstest.Check(t, err)
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, 10)
	_, err = nc.ChanSubscribe(inbox, answers)
	natstest.Check(t, err)
	natstest.Check(t, nc.Flush())
	start := w.Subjects.Command(wire.VerbStart, web)
	for _, reply := range []string{
		"cortex.mcp.activity.team-b.files", "elsewhere", "_INBOX.*", "_INBOX.>", "_INBOX..x", "",
	} {
		send(t, js, start, ``, command.ReplyHeader, reply)
		wait.For(t, "a command", d.Given).Finish(scaler.Outcome{Server: &scaler.Server{ID: web}})
	}
	wait.Until(t, "all acknowledgements", func() bool { return left(w) == 0 })

	sequence := send(t, js, start, ``, command.ReplyHeader, inbox)
	wait.For(t, "a command that is answered", d.Given).Finish(scaler.Outcome{Server: &scaler.Server{
		ID: web, UID: "u", Version: "17", Replicas: 2, Ready: 1,
	}, Event: scaler.Event{Type: scaler.Woken, From: 0, To: 2}})
	answer := wait.For(t, "the answer", answers)
	want := fmt.Sprintf(`{"server":{"name":"web","namespace":"team-a","status":"running",`+
		`"replicas":2,"ready_replicas":1,"endpoints":[]},`+
		`"event":{"type":"woken","from":0,"to":2},"command":{"sequence":%d},`+
		`"uid":"u","version":"17","wanted":true}`, sequence)
	if string(answer.Data) != want {
		t.Errorf("got %s %v\nwant %s", answer.Data, answer.Header, want)
	}

	send(t, js, start, ``, command.ReplyHeader, inbox)
	wait.For(t, "a command that fails", d.Given).Finish(scaler.Outcome{
		Err:    fmt.Errorf("%w: the quota is used up", scaler.ErrRefused),
		Server: &scaler.Server{ID: web}, Event: scaler.Event{Type: scaler.Failed},
	})
	answer = wait.For(t, "the answer", answers)
	for _, part := range []string{`"error":{"code":500`, `quota`, `"type":"failed"`} {
		if !strings.Contains(string(answer.Data), part) {
			t.Errorf("got %v %s, want %s", answer.Header, answer.Data, part)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(published) > 0 {
		t.Errorf("the daemon answered on %v", published)
	}
}

// A command stream that was deleted is created again, and a new session begins.
func TestCommandStreamIsCreatedAgain(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	d, _ := leader.Lead(w, w.Connect())
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``)
	wait.For(t, "a command", d.Given)
	natstest.Check(t, js.DeleteStream(context.Background(), stream.Commands.Name(w.Subjects)))
	wait.Until(t, "the stream", func() bool {
		_, err := js.Stream(context.Background(), stream.Commands.Name(w.Subjects))
		return err == nil
	})
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``)
	if got := wait.For(t, "a command in it", d.Given); got.Stamp.Sequence != 1 {
		t.Errorf("got %v", got.Stamp)
	}
}
