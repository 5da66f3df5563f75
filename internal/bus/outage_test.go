package bus

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/scaler"
)

// An order that is caught by an outage while it is checked is not stored when NATS is back: minutes later, with a new time and a new deadline, it would win
// against what was ordered after it, and its sender was told nothing, or that nothing was done.
func TestOrdersCaughtByAnOutageAreNotStored(t *testing.T) {
	w := newWorldWithStreams(t)
	nc, sender := w.connect(), w.connect()
	hold := make(chan struct{})
	api, _ := serveReplica(w, nc, &replica{servers: []*scaler.Server{{ID: web}}, hold: hold})
	for _, verb := range []string{"stop", "pause"} {
		check(t, sender.PublishRequest(w.subjects.Request(verb, web), sender.NewInbox(), nil))
	}
	eventually(t, "both orders", func() bool { return len(api.slots) == 1 && len(api.pauses) == 1 })
	w.server.Shutdown()
	eventually(t, "the outage", func() bool { return !nc.IsConnected() })
	close(hold)
	eventually(t, "the end of both orders", func() bool { return api.errors["stop"].Load() == 1 && api.errors["pause-server"].Load() == 1 })
	w.begin()
	eventually(t, "the end of the outage", nc.IsConnected)
	check(t, nc.Flush())
	for _, stream := range []string{w.subjects.commandStream(), w.subjects.pauseStream()} {
		if n := w.info(stream).State.LastSeq; n > 0 {
			t.Errorf("stream %s has %d", stream, n)
		}
	}
}

// What can't be sent is an error at once, and not sent later: each who sends tries again by himself, if it still makes sense then.
func TestNothingIsSentLater(t *testing.T) {
	w := newWorldWithStreams(t)
	nc := w.connect()
	events, err := NewEvents(nc, w.subjects, "here")
	check(t, err)
	client, err := NewClient(nc, w.subjects)
	check(t, err)
	w.server.Shutdown()
	eventually(t, "the outage", func() bool { return !nc.IsConnected() })
	ctx := context.Background()
	if err := events.Publish(ctx, slept); !errors.Is(err, errDisconnected) { // nor tried: of what can't be sent the library keeps something each time
		t.Errorf("an event: got %v", err)
	}
	for what, err := range map[string]error{
		"an answer": respond(nc, nats.NewInbox(), Answer{}, nil), "a ping": client.Ping(ctx, web),
	} {
		if !errors.Is(err, errDisconnected) && !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	w.begin()
	eventually(t, "the end of the outage", nc.IsConnected)
	check(t, nc.Flush())
	for _, stream := range []string{w.subjects.eventStream(), w.subjects.activityStream()} {
		if n := w.info(stream).State.LastSeq; n > 0 {
			t.Errorf("stream %s has %d", stream, n)
		}
	}
	check(t, events.Publish(ctx, slept))
}
