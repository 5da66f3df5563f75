package api

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// order checks a command, puts it on the command stream, and waits: first for the leader, which
// applies it, then for the server, on the cache of this replica. A wait takes no place of the
// endpoint: a.waits bounds it.
func (a *API) order(ctx context.Context, r request) error {
	subject, inbox := a.config.Subjects.CommandFor(r.Subject), wire.Inbox(r.Reply)
	c, err := command.Read(a.config.Subjects, subject, r.Data, inbox != "")
	if err != nil {
		return err
	}
	server, err := a.config.Orders.Check(ctx, c)
	if err != nil {
		return err
	}
	w := &waiting{Command: c, request: r, until: time.Now().Add(c.Wait), forget: func() {}}
	reply := ""
	if inbox != "" {
		reply, w.result, w.forget = a.replies.Expect()
	}
	m := command.Request(subject, r.Data, reply, c.Wait)
	if id := r.Header.Get(nats.MsgIdHdr); id != "" {
		// The stream compares nothing but ids. Without the rest, the same id for another server, or
		// of another sender, would count as sent.
		m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s.%s.%s %s", c.Verb, c.Server.Namespace, c.Server.Name, id))
	}
	stored, err := a.publish(ctx, stream.Commands, m, "it may be applied or not, ask for the server's status")
	switch {
	case err != nil || inbox == "": // nobody waits
	case stored.Duplicate:
		summary, ref := a.summary(server), &wire.CommandRef{Sequence: stored.Sequence, Duplicate: true}
		err = a.answer(r, wire.Answer{Server: &summary, Command: ref}, nil)
	case !a.waits.Take(c.Server.Namespace):
		err = fmt.Errorf("%w: the command for %s is stored, but too many requests wait already: "+
			"ask for the server's status", answer.ErrBusy, c.Server)
	default:
		w.sequence = stored.Sequence
		if a.begin(func() { a.wait(w) }) {
			return nil
		}
		a.waits.Return(c.Server.Namespace)
		err = errEnds
	}
	w.forget()
	return err
}

// errEnds is the error of a request that waits for the leader when its replica ends.
var errEnds = fmt.Errorf("%w: the command is stored, but the replica that took the request ends: "+
	"the command may be applied or rejected, ask for the server's status", scaler.ErrUnsure)
