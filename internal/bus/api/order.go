package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// order checks a command, puts it on the command stream, and waits for what becomes of it: first for the leader,
// which applies it, then for the server, on the cache of this replica. A wait holds no place of its endpoint; the
// API's waits bound it.
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
	if reply == "" { // nobody waits
		_, err := a.put(ctx, command.Request(subject, r.Data(), "", 0), r, c)
		return err
	}
	w := &waiting{Command: c, request: r, until: time.Now().Add(c.Wait)}
	var inbox string
	inbox, w.result, w.forget = a.replies.Expect()
	stored, err := a.put(ctx, command.Request(subject, r.Data(), inbox, c.Wait), r, c)
	if err == nil && !stored.Duplicate && a.waits.begin(c.Server.Namespace) {
		w.sequence = stored.Sequence
		if a.begin(func() { a.wait(w) }) {
			return nil
		}
		a.waits.end(c.Server.Namespace)
		err = errEnds
	}
	w.forget()
	switch {
	case err != nil:
		return err
	case stored.Duplicate:
		summary := answer.Summary(a.config.Servers.View(server))
		return a.answer(r, wire.Answer{
			Server: &summary, Command: &wire.CommandRef{Sequence: stored.Sequence, Duplicate: true},
		}, nil)
	}
	return fmt.Errorf("%w: the command for %s is stored, but too many wait already to say what becomes of it: ask for the server's status", answer.ErrBusy, c.Server)
}

// errEnds is that of a request which waits for the leader at a replica that ends.
var errEnds = fmt.Errorf("%w: the command is stored, but the replica that took the request ends: "+
	"the command may be applied or rejected, ask for the server's status", scaler.ErrUnsure)

// put puts a command on the command stream.
func (a *API) put(ctx context.Context, m *nats.Msg, r micro.Request, c scaler.Command) (*jetstream.PubAck, error) {
	if id := r.Headers().Get(nats.MsgIdHdr); id != "" {
		// The stream knows ids by themselves: the same id for another server, or of another sender, would count as sent.
		m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s.%s.%s %s", c.Verb, c.Server.Namespace, c.Server.Name, id))
	}
	stored, err := a.js.PublishMsg(ctx, m)
	switch {
	case timedOut(err):
		return nil, fmt.Errorf("%w: the command stream does not answer: the command may be applied or not, "+
			"ask for the server's status", scaler.ErrUnsure)
	case err != nil:
		return nil, fmt.Errorf("%w: the command stream does not take commands now, nothing was done: try again: %w",
			answer.ErrUnavailable, err)
	}
	return stored, nil
}

// timedOut reports whether a message may or may not have been stored.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}
