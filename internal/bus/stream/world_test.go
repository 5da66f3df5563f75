package stream

import (
	"context"
	"testing"

	"idle-scaler/internal/wire"
	"idle-scaler/test/natstest"
)

var (
	web   = wire.ID{Namespace: "team-a", Name: "web"}
	files = wire.ID{Namespace: "team-b", Name: "files.v2"}
)

// newWorld is a NATS server without streams.
func newWorld(t testing.TB) *natstest.Server { return natstest.New(t) }

func options(w *natstest.Server) Options {
	return Options{Subjects: w.Subjects, Owner: "here", Replicas: 1}
}

// ensure makes the streams as cluster "here" does.
func ensure(w *natstest.Server) error {
	nc := w.Connect()
	defer nc.Close()
	return Ensure(context.Background(), nc, options(w), natstest.Quiet)
}
