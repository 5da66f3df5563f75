package api

import (
	"context"
	"errors"
	"testing"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
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

// codeOf is the code of an answer that is an error, or 0.
func codeOf(err error) int {
	if answer := (*wire.Error)(nil); errors.As(err, &answer) {
		return answer.Code
	}
	return 0
}

func newClient(w *natstest.Server) *client.Client {
	w.T.Helper()
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(w.T, err)
	return c
}

// unfinished is how many commands are on the stream.
func unfinished(w *natstest.Server) uint64 {
	return w.Info(stream.Commands.Name(w.Subjects)).State.Msgs
}
