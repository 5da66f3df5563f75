package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var web, files = natstest.Web, natstest.Files

var slept = scaler.Event{
	ID: "uid-17", Type: scaler.Slept, Server: files, At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	From: 2, Cause: policy.CauseIdle, Actor: "ann", Command: "7", Reason: "tea", Text: "unused for 30m",
	Idle: 30 * time.Minute, Took: 1500 * time.Millisecond, Asleep: time.Hour,
}

// watch returns a channel of the events of a namespace from now on.
func watch(w *natstest.Server, namespace string) <-chan scaler.Event {
	w.T.Helper()
	nc := w.Connect()
	c, err := client.New(nc, w.Subjects)
	natstest.Check(w.T, err)
	got := make(chan scaler.Event, 10)
	wait.Run(w.T, func(ctx context.Context) error {
		return c.Watch(ctx, namespace, func(e wire.Event) error { got <- FromWire(e); return nil })
	})
	wait.Until(w.T, "the watch", func() bool { return nc.NumSubscriptions() > 0 && nc.Flush() == nil })
	return got
}

// An event is a CloudEvent with all that the domain's event has. The stream keeps one copy of it,
// however often it is published.
func TestEventIsPublishedOnce(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ctx := context.Background()
	events, err := NewPublisher(w.Connect(), w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(t, err)
	got := watch(w, "team-b")
	for range 3 {
		natstest.Check(t, events.Publish(ctx, slept))
	}
	if e := wait.For(t, "the event", got); e != slept {
		t.Errorf("got %+v, want %+v", e, slept)
	}
	if state := w.Info(stream.Events.Name(w.Subjects)).State; state.Msgs != 1 {
		t.Errorf("the stream has %d", state.Msgs)
	}
	m, err := w.Stream(stream.Events.Name(w.Subjects)).GetMsg(ctx, 1)
	natstest.Check(t, err)
	var body map[string]any
	natstest.Check(t, json.Unmarshal(m.Data, &body))
	data := body["data"].(map[string]any)
	delete(body, "data")
	if want := map[string]any{
		"specversion": "1.0", "id": "uid-17", "type": "io.idle-scaler.slept",
		"source": "/idle-scaler/here", "subject": "team-b/files.v2",
		"time": "2026-01-02T03:04:05.000006Z", "datacontenttype": "application/json",
	}; !maps.Equal(body, want) {
		t.Errorf("got %v, want %v", body, want)
	}
	if want := map[string]any{
		"from": 2.0, "to": 0.0, "cause": "idle", "actor": "ann", "command": "7", "reason": "tea",
		"text": "unused for 30m", "idle": "30m0s", "took": "1.5s", "asleep": "1h0m0s",
	}; !maps.Equal(data, want) {
		t.Errorf("got %v, want %v", data, want)
	}
	kind := m.Header.Get("Content-Type")
	if m.Subject != "cortex.mcp.event.slept.team-b.files.v2" || kind != "application/cloudevents+json" {
		t.Errorf("got %s %v", m.Subject, m.Header)
	}
}

// A message that is no event, or is about another server, ends no watch: anybody can put an
// acknowledgement of JetStream on the subject of an event.
func TestWatchSkipsWhatIsNoEvent(t *testing.T) {
	w := natstest.NewWithStreams(t)
	events, err := NewPublisher(w.Connect(), w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(t, err)
	got := watch(w, "team-b")
	nc, subject := w.Connect(), w.Subjects.Event("slept", files)
	natstest.Check(t, nc.PublishRequest(w.Subjects.Activity(web), subject, nil))
	wait.Until(t, "the acknowledgement", func() bool { return w.Info(stream.Events.Name(w.Subjects)).State.Msgs == 1 })
	forged, err := wire.EncodeEvent(ToWire(scaler.Event{ID: "x", Type: scaler.Woken, Server: web}), "/elsewhere")
	natstest.Check(t, err)
	for _, payload := range [][]byte{nil, []byte("x"), forged} {
		natstest.Check(t, nc.Publish(subject, payload))
	}
	natstest.Check(t, nc.Flush())
	natstest.Check(t, events.Publish(context.Background(), slept))
	if e := wait.For(t, "the event", got); e != slept {
		t.Errorf("got %+v, want %+v", e, slept)
	}
}

// A new leader learns which events the stream has: the last of each server and type.
func TestKnownEvents(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ctx := context.Background()
	events, err := NewPublisher(w.Connect(), w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(t, err)
	known, err := events.Known(ctx)
	if err != nil || len(known) > 0 {
		t.Errorf("an empty stream: got %v %v", known, err)
	}
	for _, e := range []scaler.Event{
		{ID: "a-1", Type: scaler.Slept, Server: web},
		{ID: "a-2", Type: scaler.Woken, Server: web},
		{ID: "a-3", Type: scaler.Slept, Server: web},
		{ID: "b-1", Type: scaler.Slept, Server: files},
		{ID: "c-1", Type: scaler.Rejected, Text: "of nobody"},
		{ID: "d\nfailed: ä ", Type: scaler.Failed, Server: files},
	} {
		natstest.Check(t, events.Publish(ctx, e))
	}
	known, err = events.Known(ctx)
	want := map[string]bool{"a-2": true, "a-3": true, "b-1": true, "c-1": true, "d failed: ä": true}
	if err != nil || !maps.Equal(known, want) {
		t.Errorf("got %v %v, want %v", known, err, want)
	}
	natstest.Check(t, w.Stream(stream.Events.Name(w.Subjects)).Purge(ctx))
	if known, err = events.Known(ctx); err != nil || len(known) > 0 {
		t.Errorf("a purged stream: got %v %v", known, err)
	}
}

// An event that the stream has not stored is an error, so the daemon publishes it again.
func TestEventIsNotLost(t *testing.T) {
	w := natstest.New(t)
	events, err := NewPublisher(w.Connect(), w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(t, err)
	if err := events.Publish(context.Background(), slept); err == nil {
		t.Error("it is published without a stream")
	}
	if _, err := events.Known(context.Background()); err == nil {
		t.Error("nothing is known without a stream, and that is no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := events.Publish(ctx, slept); err == nil {
		t.Error("it is published after the end")
	}
}

// A deleted stream of events is made again as it was, whether anybody watches the events or not. It
// has the next events. Until then they do not count as published.
func TestEventStreamIsMadeAgain(t *testing.T) {
	for _, watched := range []bool{false, true} {
		t.Run(fmt.Sprintf("watched %v", watched), func(t *testing.T) {
			w := natstest.NewWithStreams(t)
			var made atomic.Int32
			events, err := NewPublisher(w.Connect(), w.Subjects, "here",
				func(context.Context) error { made.Add(1); return w.Ensure(context.Background()) })
			natstest.Check(t, err)
			natstest.Check(t, events.Publish(context.Background(), slept))
			before := w.Info(stream.Events.Name(w.Subjects))
			natstest.Check(t, w.JetStream().DeleteStream(context.Background(), before.Config.Name))
			if watched {
				nc := w.Connect()
				_, err := nc.SubscribeSync(w.Subjects.Events(wire.ID{}))
				natstest.Check(t, err)
				natstest.Check(t, nc.Flush())
			}
			const workers = 20
			ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
			var all sync.WaitGroup
			for i := range workers {
				all.Go(func() {
					e := slept
					e.ID = fmt.Sprint(i)
					for events.Publish(ctx, e) != nil && ctx.Err() == nil {
					}
				})
			}
			all.Wait()
			cancel()
			after := w.Info(before.Config.Name)
			if after.State.Msgs != workers || !reflect.DeepEqual(after.Config, before.Config) || made.Load() != 1 {
				t.Errorf("watched %v: made %d times, with %d events, as %+v, want %+v",
					watched, made.Load(), after.State.Msgs, after.Config, before.Config)
			}
		})
	}
}

// While the stream does not answer, one event waits for it. The other workers of the leader have
// servers to wake, and must not wait for a timeout. When the stream answers again, all events are
// published.
func TestASilentStreamHoldsUpOne(t *testing.T) {
	w := natstest.New(t)
	_, err := w.Connect().SubscribeSync(w.Subjects.Events(wire.ID{})) // or "no responders" comes at once
	natstest.Check(t, err)
	events, err := NewPublisher(w.Connect(), w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(t, err)
	publish := func(n int) error {
		e := slept
		e.ID = fmt.Sprint("uid-", n)
		return events.Publish(context.Background(), e)
	}
	wait.Until(t, "the silence to be known", func() bool { _ = publish(0); return events.silent.Load() })
	waits := make(chan error, 1)
	go func() { waits <- publish(1) }()
	wait.Until(t, "the one that waits", func() bool {
		if events.probing.TryLock() {
			events.probing.Unlock()
			return false
		}
		return true
	})
	for n := range 10 {
		if err := publish(n); !errors.Is(err, errSilent) {
			t.Errorf("got %v, want that another waits", err)
		}
	}
	wait.For(t, "its end", waits)
	natstest.Check(t, w.Ensure(context.Background()))
	wait.Until(t, "the stream to answer", func() bool { return publish(0) == nil })
	for n := range 10 {
		natstest.Check(t, publish(n))
	}
}
