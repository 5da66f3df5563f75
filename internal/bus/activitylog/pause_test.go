package activitylog

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/api"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// The scopes of a pause, beside single servers.
var (
	all   scaler.ID
	teamA = scaler.ID{Namespace: web.Namespace}
)

// replica is the domain of a daemon that knows web and files.
type replica struct{}

func (replica) List(f scaler.Filter) (found []*scaler.Server, err error) {
	for _, id := range []scaler.ID{web, files} {
		if f.Namespace == "" || f.Namespace == id.Namespace {
			found = append(found, &scaler.Server{ID: id})
		}
	}
	return found, nil
}

func (replica) Status(context.Context, scaler.ID) (scaler.View, error) { return scaler.View{}, nil }

func (replica) View(*scaler.Server) scaler.View                               { return scaler.View{} }
func (replica) Check(context.Context, scaler.Command) (*scaler.Server, error) { return nil, nil }
func (replica) WouldBeAsleep([]*scaler.Server) map[scaler.ID]time.Time        { return nil }
func (replica) Now() time.Time                                                { return time.Now() }
func (replica) Await(context.Context, scaler.Applied, func(*scaler.Server) string) (*scaler.Server, error) {
	return nil, nil
}

// pauser runs an API for web and files, and returns a client of it.
func pauser(w *natstest.Server) *client.Client {
	w.T.Helper()
	answers, err := api.New(w.Connect(), api.Config{
		Subjects: w.Subjects, Servers: replica{}, Cluster: "here", Version: "1.2.3", AtOnce: 4, Logger: natstest.Quiet,
	})
	natstest.Check(w.T, err)
	wait.Run(w.T, answers.Run)
	wait.Until(w.T, "the API", answers.Answers)
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(w.T, err)
	return c
}

// answer is the answer to a request to pause or to resume.
type answer struct {
	wire.PauseAnswer
	err  error
	sent time.Time
}

// request is Client.Pause or Client.Resume.
type request func(context.Context, scaler.ID, wire.Sender) (wire.PauseAnswer, error)

// send sends a request. The answer to a pause takes wire.PauseTakes, so a test does not wait for
// each.
func send(to request, scope scaler.ID, by wire.Sender) <-chan answer {
	answers := make(chan answer, 1)
	sent := time.Now()
	go func() {
		a, err := to(context.Background(), scope, by)
		answers <- answer{a, err, sent}
	}()
	return answers
}

// store puts an order on the stream of pauses, as the API does.
func store(t testing.TB, js jetstream.JetStream, subjects wire.Subjects, scope scaler.ID, paused bool) {
	t.Helper()
	order, err := json.Marshal(wire.PauseOrder{Paused: paused, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	natstest.Check(t, err)
	_, err = js.Publish(context.Background(), subjects.Pause(scope), order)
	natstest.Check(t, err)
}

// A server, a namespace and all servers are paused and resumed independently. Every daemon knows,
// with who and why, also after a restart of daemon and NATS.
func TestPauses(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c := pauser(w)
	first := start(w, w.Connect())
	first.waitReplayed(t)
	check := func(got answer, scope string, servers int) {
		natstest.Check(t, got.err)
		if got.Scope != scope || got.Servers != servers || got.Since.Before(got.sent) || got.Since.After(time.Now()) {
			t.Errorf("got %+v, want %s, with %d servers", got, scope, servers)
		}
	}
	var checks []func()
	for _, row := range []struct {
		name       string
		send       request
		scope      scaler.ID
		says       string
		servers    int
		web, files string // the widest pause of each, afterwards
	}{
		{"resume all, which nobody paused", c.Resume, all, "all servers", 2, "", ""},
		{"pause web", c.Pause, web, "the server team-a/web", 1, "this server", ""},
		{"pause team-a", c.Pause, teamA, "the namespace team-a", 1, "the namespace team-a", ""},
		{"pause files", c.Pause, files, "the server team-b/files.v2", 1, "the namespace team-a", "this server"},
		{"pause all", c.Pause, all, "all servers", 2, "all servers", "all servers"},
		{"resume team-a", c.Resume, teamA, "the namespace team-a", 1, "all servers", "all servers"},
		{"resume all", c.Resume, all, "all servers", 2, "this server", "this server"},
		{"resume files", c.Resume, files, "the server team-b/files.v2", 1, "this server", ""},
	} {
		answers := send(row.send, row.scope, wire.Sender{ID: "not sent", Actor: "ann", Reason: "tea"})
		await := func() { check(wait.For(t, "the answer to "+row.name, answers), row.says, row.servers) }
		if strings.HasPrefix(row.name, "resume") { // which may change nothing that the test can see
			await()
		} else {
			checks = append(checks, await)
		}
		wait.Until(t, row.name, func() bool { return first.paused(web) == row.web && first.paused(files) == row.files })
	}
	for _, await := range checks {
		await()
	}
	first.stop()
	w.Shutdown()
	w.Start()
	second := start(w, w.Connect())
	second.waitReplayed(t)
	got := second.config.Pauses.Of(web)
	got.Since = time.Time{}
	if got != (policy.Pause{Scope: "this server", Actor: "ann", Reason: "tea"}) || second.paused(files) != "" {
		t.Errorf("after a restart: got %+v, and %q", got, second.paused(files))
	}
}

// An order that is in force already is not stored again, so that many requests don't fill the
// stream. It is stored when it has another actor or reason. So is the first resume, because a
// daemon may remember a pause that the stream has lost.
func TestRepeatedPausesAreNotStored(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c := pauser(w)
	l := start(w, w.Connect())
	l.waitReplayed(t)
	stored := func() uint64 { return w.Info(stream.Pauses.Name(w.Subjects)).State.LastSeq }
	answered := func(what string, answers <-chan answer) wire.PauseAnswer {
		t.Helper()
		a := wait.For(t, what, answers)
		natstest.Check(t, a.err)
		return a.PauseAnswer
	}
	ann, bob := wire.Sender{Actor: "ann"}, wire.Sender{Actor: "bob"}
	for _, by := range []wire.Sender{ann, bob} {
		if a := answered("a resume", send(c.Resume, web, by)); a.Paused || stored() != 1 {
			t.Errorf("resumed by %s: got %+v, and %d are stored, want 1", by.Actor, a, stored())
		}
	}
	pause := send(c.Pause, web, ann)
	wait.Until(t, "the pause of ann", func() bool { return stored() == 2 && l.paused(web) != "" })
	again := answered("the same pause", send(c.Pause, web, ann))
	a := answered("the pause of ann", pause)
	if !a.Paused || !again.Paused || !a.Since.Equal(again.Since) || stored() != 2 {
		t.Errorf("got %+v and %+v, and %d are stored, want 2", a, again, stored())
	}
	pause = send(c.Pause, web, bob)
	wait.Until(t, "the pause of bob", func() bool { return stored() == 3 })
	for range 2 {
		if a := answered("a resume", send(c.Resume, web, ann)); a.Paused || stored() != 4 {
			t.Errorf("got %+v, and %d are stored, want 4", a, stored())
		}
	}
	wait.Until(t, "the end of the pause", func() bool { return l.paused(web) == "" })
	natstest.Check(t, w.Connect().PublishRequest(w.Subjects.Activity(web), w.Subjects.Pause(web), nil))
	wait.Until(t, "an acknowledgement, which is no order", func() bool { return stored() == 5 })
	last := send(c.Pause, web, ann)
	wait.Until(t, "a pause after it", func() bool { return stored() == 6 && l.paused(web) != "" })
	if a, b := answered("the pause of bob", pause), answered("the last pause", last); !a.Paused || !b.Paused {
		t.Errorf("got %+v and %+v", a, b)
	}
}

// Nothing is proven while the stream holds an order that was not read. So every decision after a
// pause was stored takes it into account.
func TestProveKnowsPauses(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web)
	config := testConfig(w)
	impatient(&config)
	log, err := New(w.Connect(), config)
	natstest.Check(t, err)
	release, blocked := make(chan struct{}), make(chan struct{}, 10)
	handle := log.pauses.handle
	log.pauses.handle = func(m *nats.Msg, at stream.Metadata) error {
		blocked <- struct{}{}
		<-release
		return handle(m, at)
	}
	wait.Run(t, log.Run)
	wait.Until(t, "the replay", func() bool { return log.Counts().Replayed })
	store(t, js, w.Subjects, all, true)
	wait.For(t, "the order that blocks", blocked)
	log.mu.Lock()
	log.proven = time.Time{} // from before the pause
	log.mu.Unlock()
	if err := log.Prove(context.Background()); err == nil {
		t.Error("silence is proven, though a stored pause is not known")
	}
	close(release)
	wait.Until(t, "the proof", func() bool { return log.Prove(context.Background()) == nil })
	if config.Pauses.Of(files).Scope != "all servers" {
		t.Error("silence is proven, and the pause is not known")
	}
}

// A proof from before a pause was stored counts no more when the pause is answered.
func TestPauseOutlastsProofs(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	c := pauser(w)
	l := start(w, w.Connect(), func(c *Config) { c.Interval = time.Hour })
	l.waitComplete(t)
	l.mu.Lock()
	l.proven = time.Now()
	l.mu.Unlock()
	_, err := c.Pause(context.Background(), all, wire.Sender{})
	natstest.Check(t, err)
	if l.isProven() {
		t.Error("the pause is answered, and a proof from before it still counts")
	}
}

// While the stream is read again from its start, no old order counts. Not even for a moment is a
// paused server resumed.
func TestPausesAreReadAgain(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ctx := context.Background()
	for _, paused := range []bool{true, false, true} {
		store(t, js, w.Subjects, web, paused)
	}
	l := start(w, w.Connect())
	l.waitReplayed(t)
	l.stop()
	var again atomic.Int64
	handle := l.Log.pauses.handle
	l.Log.pauses.handle = func(m *nats.Msg, at stream.Metadata) error {
		err := handle(m, at)
		again.Add(1)
		if l.paused(web) == "" {
			t.Errorf("order %d, read again, has ended the pause", at.Sequence)
		}
		return err
	}
	wait.Run(t, l.Run)
	wait.Until(t, "the second reading", func() bool { return again.Load() >= 3 })
	natstest.Check(t, js.DeleteStream(ctx, stream.Pauses.Name(w.Subjects)))
	natstest.Check(t, w.Ensure(ctx))
	store(t, js, w.Subjects, files, true)
	wait.Until(t, "an order in the new stream", func() bool { return l.paused(files) != "" })
	store(t, js, w.Subjects, files, false)
	wait.Until(t, "the end of it, though its sequence is lower", func() bool { return l.paused(files) == "" })
}

// A log that has lost orders is incomplete: there may have been a pause among them. The Log keeps
// the pauses that it knows.
func TestLostPauses(t *testing.T) {
	for name, lose := range map[string]func(jetstream.JetStream, jetstream.Stream) error{
		"purged": func(_ jetstream.JetStream, s jetstream.Stream) error { return s.Purge(context.Background()) },
		"deleted": func(js jetstream.JetStream, s jetstream.Stream) error {
			return js.DeleteStream(context.Background(), s.CachedInfo().Config.Name)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := natstest.NewWithStreams(t)
			js := w.JetStream()
			ping(t, js, w.Subjects, web)
			l := start(w, w.Connect())
			l.waitComplete(t)
			store(t, js, w.Subjects, web, true)
			wait.Until(t, "the pause", func() bool { return l.paused(web) != "" })
			for range 2 { // the first proof may have begun before the pause; the second sees that there is one order
				l.expireProof()
				l.waitProof(t)
			}
			before := time.Now()
			natstest.Check(t, lose(js, w.Stream(stream.Pauses.Name(w.Subjects))))
			wait.Until(t, "a later CompleteSince", func() bool { return !l.coverage().CompleteSince.Before(before) })
			if l.paused(web) == "" {
				t.Error("the pause that was known has ended")
			}
			wait.Until(t, "a record of the loss", func() bool { return l.pauses.unrecorded.Load() == nil })
			l.stop()
			second := start(w, w.Connect()) // it starts after the loss
			second.waitComplete(t)
			if since := second.coverage().CompleteSince; since.Before(before) {
				t.Errorf("for a later daemon the log is complete since %s, before the loss at %s", since, before)
			}
		})
	}
}

// JetStream acknowledges a message on any reply subject, whatever its sender may publish to. Such
// an acknowledgement neither pauses nor resumes, and no order is forgotten for it.
func TestAcknowledgementIsNoPause(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	store(t, w.JetStream(), w.Subjects, web, true)
	l := start(w, w.Connect())
	for _, scope := range []scaler.ID{web, files, all} {
		natstest.Check(t, nc.PublishRequest(w.Subjects.Activity(web), w.Subjects.Pause(scope), nil))
	}
	for _, text := range []string{
		``, `{}`, `x`, `{"paused":false}`, `{"since":"2026-01-02T03:04:05Z"}`, `{"paused":true,"since":"now"}`,
		`{"paused":null,"since":"2026-01-02T03:04:05Z"}`,
	} {
		natstest.Check(t, nc.Publish(w.Subjects.Pause(web), []byte(text)))
		natstest.Check(t, nc.Publish(w.Subjects.Pause(all), []byte(text)))
	}
	natstest.Check(t, nc.Publish("cortex.mcp.pause.everything", []byte(`{"paused":true,"since":"2026-01-02T03:04:05Z"}`)))
	// A second reading counts them again.
	wait.Until(t, "18 malformed messages", func() bool { return l.Counts().Malformed >= 18 })
	second := start(w, w.Connect())
	second.waitReplayed(t)
	for _, l := range []*testLog{l, second} {
		if l.paused(web) != "this server" || l.paused(files) != "" {
			t.Errorf("paused are %q and %q", l.paused(web), l.paused(files))
		}
	}
}
