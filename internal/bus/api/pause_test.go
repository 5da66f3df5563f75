package api

import (
	"context"
	"errors"
	"strings"
	"testing"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
)

// A server that does not exist can't be paused. One that was paused and is gone can be resumed:
// otherwise it would be paused when it comes back.
func TestPauseOfUnknown(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web}, &scaler.Server{ID: files})
	c := newClient(w)
	ctx := context.Background()
	gone := scaler.ID{Namespace: "team-a", Name: "gone"}
	for _, change := range []func(context.Context, scaler.ID, wire.Sender) (wire.PauseAnswer, error){c.Pause, c.Resume} {
		if _, err := change(ctx, gone, wire.Sender{}); codeOf(err) != 404 {
			t.Errorf("got %v, want unknown", err)
		}
		if _, err := change(ctx, scaler.ID{Name: "web"}, wire.Sender{}); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("got %v, want invalid", err)
		}
	}
	_, err := w.JetStream().Publish(ctx, w.Subjects.Pause(gone), []byte(`{"paused":true,"since":"2026-01-02T03:04:05Z"}`))
	natstest.Check(t, err)
	if a, err := c.Resume(ctx, gone, wire.Sender{}); err != nil || a.Paused {
		t.Errorf("got %+v %v", a, err)
	}
}

// A pause that can't be stored is an error to its sender.
func TestPauseWithoutStream(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web}, &scaler.Server{ID: files})
	c := newClient(w)
	natstest.Check(t, w.JetStream().DeleteStream(context.Background(), stream.Pauses.Name(w.Subjects)))
	for _, scope := range []scaler.ID{{}, {Namespace: web.Namespace}, web} {
		_, err := c.Pause(context.Background(), scope, wire.Sender{})
		if codeOf(err) != 503 || !strings.Contains(err.Error(), "nothing was done") {
			t.Errorf("got %v", err)
		}
	}
}
