package api

import (
	"errors"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/test/natstest"
)

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
