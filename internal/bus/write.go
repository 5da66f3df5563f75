package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/scaler"
)

// patience is how long a command that somebody waits for may take to be applied, at least.
const patience = 30 * time.Second

// write checks a command and puts it on the command stream, with where to answer and until when the sender waits.
func (a *API) write(ctx context.Context, r micro.Request) error {
	verb, rest := a.config.Subjects.split(r.Subject())
	subject := a.config.Subjects.command + verb + "." + rest
	reply := answerable(r.Reply())
	c, err := a.config.Subjects.parseCommand(subject, r.Data(), reply != "")
	if err != nil {
		return err
	}
	server, err := a.config.Servers.Check(ctx, c)
	if err != nil {
		return err
	}
	m := nats.NewMsg(subject)
	m.Data = r.Data()
	if reply != "" {
		m.Header.Set(replyHeader, reply)
		m.Header.Set(deadlineHeader, max(c.Wait, patience).String())
	}
	if id := r.Headers().Get(nats.MsgIdHdr); id != "" {
		// The stream knows ids by themselves: the same id for another server, or of another sender, would count as sent.
		m.Header.Set(nats.MsgIdHdr, verb+"."+rest+" "+id)
	}
	stored, err := a.js.PublishMsg(ctx, m)
	switch {
	case timedOut(err):
		return fmt.Errorf("%w: the command stream does not answer: the command may be applied or not, ask for the server's status", scaler.ErrUnsure)
	case err != nil:
		return fmt.Errorf("%w: the command stream does not take commands now, nothing was done: try again: %w", errUnavailable, err)
	case stored.Duplicate && reply != "":
		summary := summarize(a.config.Servers.View(server))
		return a.answer(r, Answer{Server: &summary, Command: &CommandRef{Sequence: stored.Sequence, Duplicate: true}}, nil)
	}
	return nil
}

// timedOut reports whether a message may or may not have been stored.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}
