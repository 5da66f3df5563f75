package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"idle-scaler/scaler"
)

var slept = scaler.Event{
	ID: "uid-17", Type: scaler.Slept, Server: files, At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), From: 2, Cause: scaler.CauseIdle,
	Actor: "ann", Command: "7", Reason: "tea", Text: "unused for 30m", Idle: 30 * time.Minute, Took: 1500 * time.Millisecond, Asleep: time.Hour,
}

// watch returns a channel of the events of a namespace from now on.
func (w *world) watch(namespace string) <-chan scaler.Event {
	w.t.Helper()
	client, err := NewClient(w.connect(), w.subjects)
	check(w.t, err)
	got := make(chan scaler.Event, 10)
	run(w.t, func(ctx context.Context) error {
		return client.Watch(ctx, namespace, func(e scaler.Event) error { got <- e; return nil })
	})
	eventually(w.t, "the watch", func() bool { return client.nc.NumSubscriptions() > 0 && client.nc.Flush() == nil })
	return got
}

// An event is a CloudEvent that says everything the domain has said, and is kept once however often it is published.
func TestEventIsPublishedOnce(t *testing.T) {
	w := newWorldWithStreams(t)
	ctx := context.Background()
	events, err := NewEvents(w.connect(), w.subjects, "here")
	check(t, err)
	got := w.watch("team-b")
	for range 3 {
		check(t, events.Publish(ctx, slept))
	}
	if e := receive(t, "the event", got); e != slept {
		t.Errorf("got %+v, want %+v", e, slept)
	}
	if state := w.info(w.subjects.eventStream()).State; state.Msgs != 1 {
		t.Errorf("the stream has %d", state.Msgs)
	}
	m, err := mustStream(t, w.jetStream(), w.subjects.eventStream()).GetMsg(ctx, 1)
	check(t, err)
	var body map[string]any
	check(t, json.Unmarshal(m.Data, &body))
	data := body["data"].(map[string]any)
	delete(body, "data")
	if want := map[string]any{
		"specversion": "1.0", "id": "uid-17", "type": "io.idle-scaler.slept", "source": "/idle-scaler/here", "subject": "team-b/files.v2",
		"time": "2026-01-02T03:04:05.000006Z", "datacontenttype": "application/json",
	}; !maps.Equal(body, want) {
		t.Errorf("got %v, want %v", body, want)
	}
	if want := map[string]any{
		"from": 2.0, "to": 0.0, "cause": "idle", "actor": "ann", "command": "7", "reason": "tea", "text": "unused for 30m", "idle": "30m0s", "took": "1.5s", "asleep": "1h0m0s",
	}; !maps.Equal(data, want) {
		t.Errorf("got %v, want %v", data, want)
	}
	if m.Subject != "cortex.mcp.event.slept.team-b.files.v2" || m.Header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("got %s %v", m.Subject, m.Header)
	}
}

// What is no event, or is that of another server, ends no watch: anybody can let JetStream acknowledge something on the subject of an event.
func TestWatchSkipsWhatIsNoEvent(t *testing.T) {
	w := newWorldWithStreams(t)
	events, err := NewEvents(w.connect(), w.subjects, "here")
	check(t, err)
	got := w.watch("team-b")
	nc, subject := w.connect(), w.subjects.Event(scaler.Slept, files)
	check(t, nc.PublishRequest(w.subjects.Activity(web), subject, nil))
	eventually(t, "the acknowledgement", func() bool { return w.info(w.subjects.eventStream()).State.Msgs == 1 })
	forged, err := encodeEvent(scaler.Event{ID: "x", Type: scaler.Woken, Server: web}, "/elsewhere")
	check(t, err)
	for _, payload := range [][]byte{nil, []byte("x"), forged} {
		check(t, nc.Publish(subject, payload))
	}
	check(t, nc.Flush())
	check(t, events.Publish(context.Background(), slept))
	if e := receive(t, "the event", got); e != slept {
		t.Errorf("got %+v, want %+v", e, slept)
	}
}

// A new leader learns which events the stream has, and only the last of each server and type is needed for that.
func TestKnownEvents(t *testing.T) {
	w := newWorldWithStreams(t)
	ctx := context.Background()
	events, err := NewEvents(w.connect(), w.subjects, "here")
	check(t, err)
	known, err := events.Known(ctx)
	if err != nil || len(known) > 0 {
		t.Errorf("of an empty stream: got %v %v", known, err)
	}
	for _, e := range []scaler.Event{
		{ID: "a-1", Type: scaler.Slept, Server: web},
		{ID: "a-2", Type: scaler.Woken, Server: web},
		{ID: "a-3", Type: scaler.Slept, Server: web},
		{ID: "b-1", Type: scaler.Slept, Server: files},
		{ID: "c-1", Type: scaler.Rejected, Text: "of nobody"},
		{ID: "d\nfailed: ä ", Type: scaler.Failed, Server: files},
	} {
		check(t, events.Publish(ctx, e))
	}
	known, err = events.Known(ctx)
	want := map[string]bool{"a-2": true, "a-3": true, "b-1": true, "c-1": true, "d failed: ä": true}
	if err != nil || !maps.Equal(known, want) {
		t.Errorf("got %v %v, want %v", known, err, want)
	}
	check(t, mustStream(t, w.jetStream(), w.subjects.eventStream()).Purge(ctx))
	if known, err = events.Known(ctx); err != nil || len(known) > 0 {
		t.Errorf("of a purged stream: got %v %v", known, err)
	}
}

// What the stream does not have is an error, so that it is published again.
func TestEventIsNotLost(t *testing.T) {
	w := newWorld(t)
	events, err := NewEvents(w.connect(), w.subjects, "here")
	check(t, err)
	if err := events.Publish(context.Background(), slept); err == nil {
		t.Error("it is published without a stream")
	}
	if _, err := events.Known(context.Background()); err == nil {
		t.Error("nothing is known without a stream, and it is not said")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := events.Publish(ctx, slept); err == nil {
		t.Error("it is published after the end")
	}
}

// A stream of events that was deleted is made again as it was, whether anybody watches the events or not, and has what happened next; until then that is not
// taken for told.
func TestEventStreamIsMadeAgain(t *testing.T) {
	for _, watched := range []bool{false, true} {
		w := newWorldWithStreams(t)
		var made atomic.Int32
		events, err := NewEvents(w.connect(), w.subjects, "here")
		check(t, err)
		events.Ensure = func(context.Context) error { made.Add(1); return w.ensure() }
		check(t, events.Publish(context.Background(), slept))
		before := w.info(w.subjects.eventStream())
		check(t, w.jetStream().DeleteStream(context.Background(), before.Config.Name))
		if watched {
			nc := w.connect()
			_, err := nc.SubscribeSync(w.subjects.event + ">")
			check(t, err)
			check(t, nc.Flush())
		}
		const lanes = 20
		ctx, cancel := context.WithTimeout(context.Background(), patiently)
		var all sync.WaitGroup
		for i := range lanes {
			all.Go(func() {
				e := slept
				e.ID = fmt.Sprint(i)
				for events.Publish(ctx, e) != nil && ctx.Err() == nil {
				}
			})
		}
		all.Wait()
		cancel()
		after := w.info(before.Config.Name)
		if after.State.Msgs != lanes || !reflect.DeepEqual(after.Config, before.Config) || made.Load() != 1 {
			t.Errorf("watched %v: made %d times, with %d events, as %+v, want %+v", watched, made.Load(), after.State.Msgs, after.Config, before.Config)
		}
	}
}

// What is not an event is an error, not a panic.
func TestDecodeEventErrors(t *testing.T) {
	for _, payload := range []string{"", "x", "{}", `{"specversion":"1.0","id":"x","type":"t","source":"s","data":[1]}`, `{"specversion":"9"}`} {
		if e, err := DecodeEvent([]byte(payload)); err == nil {
			t.Errorf("%s: got %+v", payload, e)
		}
	}
}

// Pings are in the log when Ping returns; of those with one among them that makes no sense none is sent.
func TestClientPings(t *testing.T) {
	w := newWorldWithStreams(t)
	client, err := NewClient(w.connect(), w.subjects)
	check(t, err)
	check(t, client.Ping(context.Background(), web, files))
	if n := w.info(w.subjects.activityStream()).State.Msgs; n != 2 {
		t.Errorf("when Ping has returned the log holds %d", n)
	}
	if err := client.Ping(context.Background(), web, scaler.ID{Namespace: "a", Name: "*"}); err == nil {
		t.Error("a ping to nobody is sent")
	}
	if n := w.info(w.subjects.activityStream()).State.LastSeq; n != 2 {
		t.Errorf("%d pings are sent, though one of them makes no sense", n)
	}
	client.nc.Close()
	if err := client.Ping(context.Background(), web); err == nil {
		t.Error("a ping without NATS is no error")
	}
}
