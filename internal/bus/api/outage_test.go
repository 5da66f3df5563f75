package api

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// An order that an outage catches while it is checked is not stored when NATS is back. Minutes
// later, with a new time and a new deadline, it would win against newer orders, although its sender
// got no answer, or one that nothing was done.
func TestOrdersCaughtByAnOutageAreNotStored(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc, sender := w.Connect(), w.Connect()
	blocked := make(chan struct{})
	api, _ := serveReplica(w, nc, &replica{servers: []*scaler.Server{{ID: web}}, blocked: blocked})
	for _, verb := range []string{"stop", "pause"} {
		natstest.Check(t, sender.PublishRequest(w.Subjects.Request(verb, web), sender.NewInbox(), nil))
	}
	wait.Until(t, "both orders", func() bool { return len(api.slots) == 1 && len(api.pauses) == 1 })
	w.Shutdown()
	wait.Until(t, "the outage", func() bool { return !nc.IsConnected() })
	close(blocked)
	wait.Until(t, "the end of both orders", func() bool {
		return api.errors["stop"].Load() == 1 && api.errors["pause-server"].Load() == 1
	})
	w.Start()
	wait.Until(t, "the end of the outage", nc.IsConnected)
	natstest.Check(t, nc.Flush())
	for _, stream := range []string{stream.Commands.Name(w.Subjects), stream.Pauses.Name(w.Subjects)} {
		if n := w.Info(stream).State.LastSeq; n > 0 {
			t.Errorf("stream %s has %d", stream, n)
		}
	}
}

var slept = scaler.Event{ID: "uid-17", Type: scaler.Slept, Server: files, At: time.Now()}

// A message that can't be sent is an error at once, and is not sent later. Its sender tries again
// if it still wants that.
func TestNothingIsSentLater(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	events, err := event.NewPublisher(nc, w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(t, err)
	c, err := client.New(nc, w.Subjects)
	natstest.Check(t, err)
	w.Shutdown()
	wait.Until(t, "the outage", func() bool { return !nc.IsConnected() })
	ctx := context.Background()
	// It is not even tried: the library keeps something of each message that it can't send.
	if err := events.Publish(ctx, slept); !errors.Is(err, natsconn.ErrDisconnected) {
		t.Errorf("an event: got %v", err)
	}
	for what, err := range map[string]error{
		"an answer": answer.Send(nc, nats.NewInbox(), wire.Answer{}, nil), "a ping": c.Ping(ctx, web),
	} {
		if !errors.Is(err, natsconn.ErrDisconnected) && !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	w.Start()
	wait.Until(t, "the end of the outage", nc.IsConnected)
	natstest.Check(t, nc.Flush())
	for _, stream := range []string{stream.Events.Name(w.Subjects), stream.Activity.Name(w.Subjects)} {
		if n := w.Info(stream).State.LastSeq; n > 0 {
			t.Errorf("stream %s has %d", stream, n)
		}
	}
	natstest.Check(t, events.Publish(ctx, slept))
}
