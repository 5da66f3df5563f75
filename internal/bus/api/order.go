package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// order checks a command and puts it on the command stream, with where to answer and until when the
// sender waits.
func (a *API) order(ctx context.Context, r micro.Request) error {
	subject, reply := a.config.Subjects.CommandFor(r.Subject()), wire.Inbox(r.Reply())
	c, err := command.Read(a.config.Subjects, subject, r.Data(), reply != "")
	if err != nil {
		return err
	}
	server, err := a.config.Servers.Check(ctx, c)
	if err != nil {
		return err
	}
	m := command.Request(subject, r.Data(), reply, c.Wait)
	if id := r.Headers().Get(nats.MsgIdHdr); id != "" {
		// The stream knows ids by themselves: the same id for another server, or of another sender,
		// would count as sent.
		m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s.%s.%s %s", c.Verb, c.Server.Namespace, c.Server.Name, id))
	}
	stored, err := a.js.PublishMsg(ctx, m)
	switch {
	case timedOut(err):
		return fmt.Errorf("%w: the command stream does not answer: the command may be applied or not, ask for the server's status", scaler.ErrUnsure)
	case err != nil:
		return fmt.Errorf("%w: the command stream does not take commands now, nothing was done: try again: %w", answer.ErrUnavailable, err)
	case stored.Duplicate && reply != "":
		summary := answer.Summary(a.config.Servers.View(server))
		return a.answer(r, wire.Answer{
			Server: &summary, Command: &wire.CommandRef{Sequence: stored.Sequence, Duplicate: true},
		}, nil)
	}
	return nil
}

// timedOut reports whether a message may or may not have been stored.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}
