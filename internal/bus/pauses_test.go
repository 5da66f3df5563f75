package bus

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/scaler"
)

// all and teamA are whom a pause may be about, beside single servers.
var (
	all   scaler.ID
	teamA = scaler.ID{Namespace: web.Namespace}
)

// pauser answers requests about web and files, and returns who sends them.
func pauser(w *world) *Client {
	w.t.Helper()
	serve(w, w.connect(), &scaler.Server{ID: web}, &scaler.Server{ID: files})
	c, err := NewClient(w.connect(), w.subjects)
	check(w.t, err)
	return c
}

func (l *listener) paused(id scaler.ID) string { return l.pauses.Of(id).Scope }

// A server, a namespace and all are paused and resumed each by itself; every daemon knows, with who and why, also after a restart of
// daemon and NATS.
func TestPauses(t *testing.T) {
	w := newWorldWithStreams(t)
	c, ctx := pauser(w), context.Background()
	first := listen(w, w.connect())
	eventually(t, "the replay", func() bool { return first.Counts().Replayed })
	for _, row := range []struct {
		change     func(context.Context, scaler.ID, Sender) (PauseAnswer, error)
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
		a, err := row.change(ctx, row.of, Sender{ID: "not sent", Actor: "ann", Reason: "tea"})
		check(t, err)
		if a.Scope != row.says || a.Servers != map[scaler.ID]int{all: 2, teamA: 1, web: 1, files: 1}[row.of] || a.Since.Before(before) || a.Since.After(time.Now()) {
			t.Errorf("got %+v", a)
		}
		if check(t, first.Prove(ctx)); !a.Paused { // which is answered as soon as it is stored
			eventually(t, a.Scope+" to be resumed", func() bool { return first.paused(web) == row.web && first.paused(files) == row.files })
		}
		if w, f := first.paused(web), first.paused(files); w != row.web || f != row.files {
			t.Errorf("after %+v: paused are %q and %q, want %q and %q", a, w, f, row.web, row.files)
		}
	}
	first.stop()
	w.server.Shutdown()
	w.begin()
	second := listen(w, w.connect())
	eventually(t, "the replay", func() bool { return second.Counts().Replayed })
	got := second.pauses.Of(web)
	if got.Scope != "this server" || got.Actor != "ann" || got.Reason != "tea" || time.Since(got.Since) > time.Hour || second.paused(files) != "" {
		t.Errorf("after a restart: got %+v, and %q", got, second.paused(files))
	}
}

// What is in force already is not stored again, so that many requests don't fill the stream. Another word of who pauses, or why, is; and so is
// the first one to resume, which may be needed by daemons that remember a pause that the stream has lost.
func TestRepeatedPausesAreNotStored(t *testing.T) {
	w := newWorldWithStreams(t)
	c, ctx := pauser(w), context.Background()
	l := listen(w, w.connect())
	eventually(t, "the replay", func() bool { return l.Counts().Replayed })
	var since time.Time
	for i, row := range []struct {
		change func(context.Context, scaler.ID, Sender) (PauseAnswer, error)
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
		a, err := row.change(ctx, web, Sender{Actor: row.by})
		check(t, err)
		if a.Paused != (i >= 2 && i <= 4) || i == 3 && !a.Since.Equal(since) {
			t.Errorf("%d: got %+v", i, a)
		}
		if since = a.Since; w.info(w.subjects.pauseStream()).State.LastSeq != row.stored {
			t.Errorf("%d: %d are stored, want %d", i, w.info(w.subjects.pauseStream()).State.LastSeq, row.stored)
		}
		check(t, l.Prove(ctx))
		eventually(t, "what was asked for", func() bool { return (l.paused(web) != "") == a.Paused })
	}
	check(t, w.connect().PublishRequest(w.subjects.Activity(web), w.subjects.Pause(web), nil))
	eventually(t, "what is no order", func() bool { return w.info(w.subjects.pauseStream()).State.LastSeq == 5 })
	_, err := c.Pause(ctx, web, Sender{})
	check(t, err)
	if check(t, l.Prove(ctx)); l.paused(web) == "" {
		t.Error("what is no order was taken for a pause")
	}
}

// Nothing is proven while an order is in the stream that was not read: who decides after a pause was stored knows of it.
func TestProveKnowsPauses(t *testing.T) {
	w := newWorldWithStreams(t)
	ping(t, w.jetStream(), w.subjects, web)
	c := pauser(w)
	pauses := scaler.NewPauses()
	log, err := NewActivityLog(w.connect(), ActivityLogConfig{
		Subjects: w.subjects, Tracker: activity.NewTracker(0), Pauses: pauses, OnActivity: func(activity.ID) {},
		Ensure: func(context.Context) error { return w.ensure() }, Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: quiet,
	})
	check(t, err)
	hold, held := make(chan struct{}), make(chan struct{}, 10)
	order := log.pauses.handle
	log.pauses.handle = func(m *nats.Msg, p place) {
		held <- struct{}{}
		<-hold
		order(m, p)
	}
	run(t, log.Run)
	eventually(t, "the replay", func() bool { return log.Counts().Replayed })
	_, err = c.Pause(context.Background(), all, Sender{})
	check(t, err)
	receive(t, "the order that is held up", held)
	if err := log.Prove(context.Background()); err == nil {
		t.Error("a pause that was answered is not known, and silence is proven")
	}
	close(hold)
	eventually(t, "the proof", func() bool { return log.Prove(context.Background()) == nil })
	if pauses.Of(files).Scope != "all servers" {
		t.Error("silence is proven, and the pause is not known")
	}
}

// A proof from before a pause was stored is not valid any more when the pause is answered.
func TestPauseOutlastsProofs(t *testing.T) {
	w := newWorldWithStreams(t)
	ping(t, w.jetStream(), w.subjects, web)
	c := pauser(w)
	l := listen(w, w.connect(), func(c *ActivityLogConfig) { c.Interval = time.Hour })
	l.sees(t)
	check(t, l.Prove(context.Background()))
	l.mu.Lock()
	l.proven = time.Now()
	l.mu.Unlock()
	_, err := c.Pause(context.Background(), all, Sender{})
	check(t, err)
	if l.isProven() {
		t.Error("the pause is answered, and a proof from before it is still valid")
	}
}

// While the stream is read again from its start, no old order counts: not even for a moment is it as if a server were not paused.
func TestPausesAreReadAgain(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	ctx := context.Background()
	for _, paused := range []string{"true", "false", "true"} {
		_, err := js.Publish(ctx, w.subjects.Pause(web), []byte(`{"since":"2026-01-02T03:04:05Z","paused":`+paused+`}`))
		check(t, err)
	}
	l := listen(w, w.connect())
	eventually(t, "the replay", func() bool { return l.Counts().Replayed })
	l.stop()
	var again atomic.Int64
	order := l.ActivityLog.pauses.handle
	l.ActivityLog.pauses.handle = func(m *nats.Msg, p place) {
		order(m, p)
		again.Add(1)
		if l.paused(web) == "" {
			t.Errorf("order %d, read again, has ended the pause", p.stream)
		}
	}
	run(t, l.Run)
	eventually(t, "the second reading", func() bool { return again.Load() >= 3 })
	check(t, js.DeleteStream(ctx, w.subjects.pauseStream()))
	check(t, w.ensure())
	_, err := js.Publish(ctx, w.subjects.Pause(files), []byte(`{"since":"2026-01-02T03:04:05Z","paused":true}`))
	check(t, err)
	eventually(t, "an order in the new stream", func() bool { return l.paused(files) != "" })
	if _, err = js.Publish(ctx, w.subjects.Pause(files), []byte(`{"since":"2026-01-02T03:04:05Z","paused":false}`)); err != nil {
		t.Error(err)
	}
	eventually(t, "the end of it, though its sequence is lower", func() bool { return l.paused(files) == "" })
}

// The loss of orders is blindness: a pause may be among them. What is known is kept.
func TestLostPauses(t *testing.T) {
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
		w := newWorldWithStreams(t)
		js := w.jetStream()
		ping(t, js, w.subjects, web)
		c := pauser(w)
		l := listen(w, w.connect())
		l.sees(t)
		_, err := c.Pause(context.Background(), web, Sender{})
		check(t, err)
		check(t, l.Prove(context.Background()))
		before := time.Now()
		check(t, lose(js, w.subjects.pauseStream()))
		eventually(t, what+": a new birth", func() bool { return !l.tracker.Sight(time.Now()).Born.Before(before) })
		if l.paused(web) == "" {
			t.Errorf("%s: the pause that was known has ended", what)
		}
		l.stop()
		second := listen(w, w.connect()) // which has not seen it happen
		second.sees(t)
		if born := second.tracker.Sight(time.Now()).Born; born.Before(before) {
			t.Errorf("%s: a later daemon takes it to be born %s, before the loss at %s", what, born, before)
		}
	}
}

// JetStream acknowledges what it stores on any reply subject, whatever its sender may publish to. Such a message neither pauses nor
// resumes, and does not make an order forgotten.
func TestAcknowledgementIsNoPause(t *testing.T) {
	w := newWorldWithStreams(t)
	c, nc := pauser(w), w.connect()
	ctx := context.Background()
	_, err := c.Pause(ctx, web, Sender{})
	check(t, err)
	l := listen(w, w.connect())
	for _, scope := range []scaler.ID{web, files, all} {
		check(t, nc.PublishRequest(w.subjects.Activity(web), w.subjects.Pause(scope), nil))
	}
	for _, text := range []string{``, `{}`, `{"paused":false}`, `{"since":"2026-01-02T03:04:05Z"}`, `{"paused":null,"since":"2026-01-02T03:04:05Z"}`, `{"paused":true,"since":"now"}`, `x`} {
		check(t, nc.Publish(w.subjects.Pause(web), []byte(text)))
		check(t, nc.Publish(w.subjects.Pause(all), []byte(text)))
	}
	check(t, nc.Publish("cortex.mcp.pause.everything", []byte(`{"paused":true,"since":"2026-01-02T03:04:05Z"}`)))
	eventually(t, "18 messages that make no sense", func() bool { return l.Counts().Malformed >= 18 }) // more when they are read again
	second := listen(w, w.connect())
	eventually(t, "the replay", func() bool { return second.Counts().Replayed })
	for _, l := range []*listener{l, second} {
		if l.paused(web) != "this server" || l.paused(files) != "" {
			t.Errorf("paused are %q and %q", l.paused(web), l.paused(files))
		}
	}
}

// A stream that is full of orders takes no more, which its sender is told; but it hides no ping, so nobody is blind for it.
func TestFullStreamOfPauses(t *testing.T) {
	subjects, err := NewSubjects(DefaultPrefix)
	check(t, err)
	wants := StreamOptions{Subjects: subjects, Replicas: 1}.pauses()
	info := &jetstream.StreamInfo{Config: wants, State: jetstream.StreamState{Msgs: uint64(wants.MaxMsgs)}}
	check(t, (&reader{wants: wants}).usable(info))
}

// There is no pause of a server that is not there; but one that is gone can be resumed, or it would be paused when it comes back.
func TestPauseOfUnknown(t *testing.T) {
	w := newWorldWithStreams(t)
	c := pauser(w)
	ctx := context.Background()
	gone := scaler.ID{Namespace: "team-a", Name: "gone"}
	for _, change := range []func(context.Context, scaler.ID, Sender) (PauseAnswer, error){c.Pause, c.Resume} {
		if _, err := change(ctx, gone, Sender{}); codeOf(err) != 404 {
			t.Errorf("got %v, want unknown", err)
		}
		if _, err := change(ctx, scaler.ID{Name: "web"}, Sender{}); !errors.Is(err, scaler.ErrInvalid) {
			t.Errorf("got %v, want invalid", err)
		}
	}
	_, err := w.jetStream().Publish(ctx, w.subjects.Pause(gone), []byte(`{"paused":true,"since":"2026-01-02T03:04:05Z"}`))
	check(t, err)
	if a, err := c.Resume(ctx, gone, Sender{}); err != nil || a.Paused {
		t.Errorf("got %+v %v", a, err)
	}
}

// A pause that can't be stored is an error to its sender.
func TestPauseWithoutStream(t *testing.T) {
	w := newWorldWithStreams(t)
	c := pauser(w)
	check(t, w.jetStream().DeleteStream(context.Background(), w.subjects.pauseStream()))
	for _, scope := range []scaler.ID{all, teamA, web} {
		if _, err := c.Pause(context.Background(), scope, Sender{}); codeOf(err) != 503 || !strings.Contains(err.Error(), "nothing was done") {
			t.Errorf("got %v", err)
		}
	}
}
