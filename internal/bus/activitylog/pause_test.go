package activitylog

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/api"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// all and teamA are whom a pause may be about, beside single servers.
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
func (replica) Await(context.Context, scaler.Applied, func(*scaler.Server) string) (*scaler.Server, error) {
	return nil, nil
}

// pauser answers requests about web and files, and returns who sends them.
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

func (l *listener) paused(id scaler.ID) string { return l.pauses.Of(id).Scope }

// A server, a namespace and all are paused and resumed each by itself; every daemon knows, with who
// and why, also after a restart of daemon and NATS.
func TestPauses(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c, ctx := pauser(w), context.Background()
	first := listen(w, w.Connect())
	wait.Until(t, "the replay", func() bool { return first.Counts().Replayed })
	for _, row := range []struct {
		change     func(context.Context, scaler.ID, wire.Sender) (wire.PauseAnswer, error)
		of         scaler.ID
		says       string
		web, files string // the widest pause of each after it
	}{
		{c.Resume, all, "all servers", "", ""}, // of what is not paused
		{c.Pause, web, "the server team-a/web", "this server", ""},
		{c.Pause, teamA, "the namespace team-a", "the namespace team-a", ""},
		{c.Pause, files, "the server team-b/files.v2", "the namespace team-a", "this server"},
		{c.Pause, all, "all servers", "all servers", "all servers"},
		{c.Resume, teamA, "the namespace team-a", "all servers", "all servers"},
		{c.Resume, all, "all servers", "this server", "this server"},
		{c.Resume, files, "the server team-b/files.v2", "this server", ""},
	} {
		before := time.Now()
		a, err := row.change(ctx, row.of, wire.Sender{ID: "not sent", Actor: "ann", Reason: "tea"})
		natstest.Check(t, err)
		if a.Scope != row.says || a.Servers != map[scaler.ID]int{all: 2, teamA: 1, web: 1, files: 1}[row.of] || a.Since.Before(before) || a.Since.After(time.Now()) {
			t.Errorf("got %+v", a)
		}
		if natstest.Check(t, first.Prove(ctx)); !a.Paused { // which is answered as soon as it is stored
			wait.Until(t, a.Scope+" to be resumed", func() bool { return first.paused(web) == row.web && first.paused(files) == row.files })
		}
		if w, f := first.paused(web), first.paused(files); w != row.web || f != row.files {
			t.Errorf("after %+v: paused are %q and %q, want %q and %q", a, w, f, row.web, row.files)
		}
	}
	first.stop()
	w.Shutdown()
	w.Start()
	second := listen(w, w.Connect())
	wait.Until(t, "the replay", func() bool { return second.Counts().Replayed })
	got := second.pauses.Of(web)
	if got.Scope != "this server" || got.Actor != "ann" || got.Reason != "tea" || time.Since(got.Since) > time.Hour || second.paused(files) != "" {
		t.Errorf("after a restart: got %+v, and %q", got, second.paused(files))
	}
}

// What is in force already is not stored again, so that many requests don't fill the stream.
// Another word of who pauses, or why, is; and so is the first one to resume, which may be needed by
// daemons that remember a pause that the stream has lost.
func TestRepeatedPausesAreNotStored(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c, ctx := pauser(w), context.Background()
	l := listen(w, w.Connect())
	wait.Until(t, "the replay", func() bool { return l.Counts().Replayed })
	var since time.Time
	for i, row := range []struct {
		change func(context.Context, scaler.ID, wire.Sender) (wire.PauseAnswer, error)
		by     string
		stored uint64
	}{
		{c.Resume, "ann", 1},
		{c.Resume, "bob", 1},
		{c.Pause, "ann", 2},
		{c.Pause, "ann", 2},
		{c.Pause, "bob", 3},
		{c.Resume, "ann", 4},
		{c.Resume, "ann", 4},
	} {
		a, err := row.change(ctx, web, wire.Sender{Actor: row.by})
		natstest.Check(t, err)
		if a.Paused != (i >= 2 && i <= 4) || i == 3 && !a.Since.Equal(since) {
			t.Errorf("%d: got %+v", i, a)
		}
		if since = a.Since; w.Info(stream.Pauses.Name(w.Subjects)).State.LastSeq != row.stored {
			t.Errorf("%d: %d are stored, want %d", i, w.Info(stream.Pauses.Name(w.Subjects)).State.LastSeq, row.stored)
		}
		natstest.Check(t, l.Prove(ctx))
		wait.Until(t, "what was asked for", func() bool { return (l.paused(web) != "") == a.Paused })
	}
	natstest.Check(t, w.Connect().PublishRequest(w.Subjects.Activity(web), w.Subjects.Pause(web), nil))
	wait.Until(t, "what is no order", func() bool { return w.Info(stream.Pauses.Name(w.Subjects)).State.LastSeq == 5 })
	_, err := c.Pause(ctx, web, wire.Sender{})
	natstest.Check(t, err)
	if natstest.Check(t, l.Prove(ctx)); l.paused(web) == "" {
		t.Error("what is no order was taken for a pause")
	}
}

// Nothing is proven while an order is in the stream that was not read: who decides after a pause
// was stored knows of it.
func TestProveKnowsPauses(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	c := pauser(w)
	pauses := scaler.NewPauses()
	log, err := New(w.Connect(), Config{
		Subjects: w.Subjects, Tracker: activity.NewTracker(0), Pauses: pauses,
		Ensure: w.Ensure, Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: natstest.Quiet,
	})
	natstest.Check(t, err)
	hold, held := make(chan struct{}), make(chan struct{}, 10)
	order := log.pauses.handle
	log.pauses.handle = func(m *nats.Msg, p stream.Metadata) {
		held <- struct{}{}
		<-hold
		order(m, p)
	}
	wait.Run(t, log.Run)
	wait.Until(t, "the replay", func() bool { return log.Counts().Replayed })
	_, err = c.Pause(context.Background(), all, wire.Sender{})
	natstest.Check(t, err)
	wait.For(t, "the order that is held up", held)
	if err := log.Prove(context.Background()); err == nil {
		t.Error("a pause that was answered is not known, and silence is proven")
	}
	close(hold)
	wait.Until(t, "the proof", func() bool { return log.Prove(context.Background()) == nil })
	if pauses.Of(files).Scope != "all servers" {
		t.Error("silence is proven, and the pause is not known")
	}
}

// A proof from before a pause was stored is not valid any more when the pause is answered.
func TestPauseOutlastsProofs(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	c := pauser(w)
	l := listen(w, w.Connect(), func(c *Config) { c.Interval = time.Hour })
	l.sees(t)
	natstest.Check(t, l.Prove(context.Background()))
	l.mu.Lock()
	l.proven = time.Now()
	l.mu.Unlock()
	_, err := c.Pause(context.Background(), all, wire.Sender{})
	natstest.Check(t, err)
	if l.isProven() {
		t.Error("the pause is answered, and a proof from before it is still valid")
	}
}

// While the stream is read again from its start, no old order counts: not even for a moment is it
// as if a server were not paused.
func TestPausesAreReadAgain(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ctx := context.Background()
	for _, paused := range []string{"true", "false", "true"} {
		_, err := js.Publish(ctx, w.Subjects.Pause(web), []byte(`{"since":"2026-01-02T03:04:05Z","paused":`+paused+`}`))
		natstest.Check(t, err)
	}
	l := listen(w, w.Connect())
	wait.Until(t, "the replay", func() bool { return l.Counts().Replayed })
	l.stop()
	var again atomic.Int64
	order := l.Log.pauses.handle
	l.Log.pauses.handle = func(m *nats.Msg, p stream.Metadata) {
		order(m, p)
		again.Add(1)
		if l.paused(web) == "" {
			t.Errorf("order %d, read again, has ended the pause", p.Sequence)
		}
	}
	wait.Run(t, l.Run)
	wait.Until(t, "the second reading", func() bool { return again.Load() >= 3 })
	natstest.Check(t, js.DeleteStream(ctx, stream.Pauses.Name(w.Subjects)))
	natstest.Check(t, w.Ensure(context.Background()))
	_, err := js.Publish(ctx, w.Subjects.Pause(files), []byte(`{"since":"2026-01-02T03:04:05Z","paused":true}`))
	natstest.Check(t, err)
	wait.Until(t, "an order in the new stream", func() bool { return l.paused(files) != "" })
	if _, err = js.Publish(ctx, w.Subjects.Pause(files), []byte(`{"since":"2026-01-02T03:04:05Z","paused":false}`)); err != nil {
		t.Error(err)
	}
	wait.Until(t, "the end of it, though its sequence is lower", func() bool { return l.paused(files) == "" })
}

// The loss of orders is blindness: a pause may be among them. What is known is kept.
func TestLostPauses(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(jetstream.JetStream, string) error{
		"purged": func(js jetstream.JetStream, name string) error {
			s, err := js.Stream(context.Background(), name)
			if err != nil {
				return err
			}
			return s.Purge(context.Background())
		},
		"deleted": func(js jetstream.JetStream, name string) error { return js.DeleteStream(context.Background(), name) },
	} {
		t.Run(what, func(t *testing.T) {
			w := natstest.NewWithStreams(t)
			js := w.JetStream()
			ping(t, js, w.Subjects, web)
			c := pauser(w)
			l := listen(w, w.Connect())
			l.sees(t)
			_, err := c.Pause(context.Background(), web, wire.Sender{})
			natstest.Check(t, err)
			natstest.Check(t, l.Prove(context.Background()))
			before := time.Now()
			natstest.Check(t, lose(js, stream.Pauses.Name(w.Subjects)))
			wait.Until(t, "a new birth", func() bool { return !l.tracker.Sight(time.Now()).Born.Before(before) })
			if l.paused(web) == "" {
				t.Error("the pause that was known has ended")
			}
			l.stop()
			second := listen(w, w.Connect()) // which has not seen it happen
			second.sees(t)
			if born := second.tracker.Sight(time.Now()).Born; born.Before(before) {
				t.Errorf("a later daemon takes it to be born %s, before the loss at %s", born, before)
			}
		})
	}
}

// JetStream acknowledges what it stores on any reply subject, whatever its sender may publish to.
// Such a message neither pauses nor resumes, and does not make an order forgotten.
func TestAcknowledgementIsNoPause(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c, nc := pauser(w), w.Connect()
	ctx := context.Background()
	_, err := c.Pause(ctx, web, wire.Sender{})
	natstest.Check(t, err)
	l := listen(w, w.Connect())
	for _, scope := range []scaler.ID{web, files, all} {
		natstest.Check(t, nc.PublishRequest(w.Subjects.Activity(web), w.Subjects.Pause(scope), nil))
	}
	for _, text := range []string{``, `{}`, `{"paused":false}`, `{"since":"2026-01-02T03:04:05Z"}`, `{"paused":null,"since":"2026-01-02T03:04:05Z"}`, `{"paused":true,"since":"now"}`, `x`} {
		natstest.Check(t, nc.Publish(w.Subjects.Pause(web), []byte(text)))
		natstest.Check(t, nc.Publish(w.Subjects.Pause(all), []byte(text)))
	}
	natstest.Check(t, nc.Publish("cortex.mcp.pause.everything", []byte(`{"paused":true,"since":"2026-01-02T03:04:05Z"}`)))
	wait.Until(t, "18 messages that make no sense", func() bool { return l.Counts().Malformed >= 18 }) // more when they are read again
	second := listen(w, w.Connect())
	wait.Until(t, "the replay", func() bool { return second.Counts().Replayed })
	for _, l := range []*listener{l, second} {
		if l.paused(web) != "this server" || l.paused(files) != "" {
			t.Errorf("paused are %q and %q", l.paused(web), l.paused(files))
		}
	}
}

// A stream that is full of orders takes no more, which its sender is told; but it hides no ping, so
// nobody is blind for it.
func TestFullStreamOfPauses(t *testing.T) {
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	wants := stream.Options{Subjects: subjects, Replicas: 1}.Config(stream.Pauses)
	info := &jetstream.StreamInfo{Config: wants, State: jetstream.StreamState{Msgs: uint64(wants.MaxMsgs)}}
	natstest.Check(t, (&reader{wants: wants}).usable(info))
}
