package event

import (
	"context"
	"testing"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
)

var (
	web   = scaler.ID{Namespace: "team-a", Name: "web"}
	files = scaler.ID{Namespace: "team-b", Name: "files.v2"}
)

// newWorld is a NATS server with the streams of cluster "here".
func newWorld(t testing.TB) *natstest.Server {
	t.Helper()
	w := natstest.New(t)
	natstest.Check(t, ensure(w))
	return w
}

func ensure(w *natstest.Server) error {
	nc := w.Connect()
	defer nc.Close()
	options := stream.Options{Subjects: w.Subjects, Owner: "here", Replicas: 1}
	return stream.Ensure(context.Background(), nc, options, natstest.Quiet)
}
