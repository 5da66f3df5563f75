package api

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/test/natstest"
)

// codeOf returns the code of an answer that is an error, or 0.
func codeOf(err error) int {
	if answer, ok := errors.AsType[*wire.Error](err); ok {
		return answer.Code
	}
	return 0
}

// refused reports whether an answer is an error with this code and text.
func refused(answer *nats.Msg, code, text string) bool {
	return answer.Header.Get(micro.ErrorCodeHeader) == code &&
		strings.Contains(answer.Header.Get(micro.ErrorHeader), text)
}

func newClient(w *natstest.Server) *client.Client {
	w.T.Helper()
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(w.T, err)
	return c
}

// unfinished returns how many commands are on the stream.
func unfinished(w *natstest.Server) uint64 {
	return w.Info(stream.Commands.Name(w.Subjects)).State.Msgs
}
