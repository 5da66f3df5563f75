package command_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// requester returns a connection that hears answers as the client libraries do, and a reply subject
// of it.
func requester(w *natstest.Server, options ...nats.Option) (nc *nats.Conn, reply string) {
	w.T.Helper()
	nc, err := nats.Connect(w.URL(), append(options, nats.MaxReconnects(-1))...)
	natstest.Check(w.T, err)
	w.T.Cleanup(nc.Close)
	if _, err := nc.Request("nobody", nil, wait.Patience); !errors.Is(err, nats.ErrNoResponders) { // with the first request it subscribes
		w.T.Fatal(err)
	}
	return nc, nc.NewRespInbox()
}

// stays expects that a client is not taken for gone, for much longer than it would take.
func stays(t *testing.T, what string, left <-chan struct{}) {
	t.Helper()
	select {
	case <-left:
		t.Errorf("%s: it is taken for gone", what)
	case <-time.After(10 * command.LeftAfter * leader.Probe):
	}
}

// Who waits for an answer and goes is found gone, once his connection is closed, and nobody else.
func TestAClientThatGoesFreesItsWaiters(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	d, _ := leader.Lead(w, w.Connect())
	start := w.Subjects.Command(wire.VerbStart, web)
	waiter := func(reply string) leader.Given {
		send(t, js, start, `{"wait":"5m"}`, command.ReplyHeader, reply)
		return wait.For(t, "the command", d.Given)
	}
	going, reply := requester(w)
	goes := []leader.Given{waiter(reply), waiter(going.NewRespInbox())}
	staying, reply := requester(w, nats.CustomInboxPrefix("_INBOX.team-a"))
	stay := waiter(reply)
	alone, err := staying.SubscribeSync(staying.NewInbox()) // an inbox for one answer, beside others with the same prefix
	natstest.Check(t, err)
	lonely := waiter(alone.Subject)
	bare, err := going.SubscribeSync("_INBOX.one")
	natstest.Check(t, err)
	barely := waiter(bare.Subject)
	stays(t, "while it is there", goes[0].Left)

	going.Close()
	for _, g := range goes {
		wait.For(t, "that it is gone", g.Left)
		if g.Ctx.Err() != nil {
			t.Error("the session has ended")
		}
		g.Finish(scaler.Outcome{Err: scaler.ErrNotInTime, Event: scaler.Event{Type: scaler.Woken}})
	}
	wait.Until(t, "the acknowledgements", func() bool { return left(w) == 3 })
	stays(t, "with an inbox prefix", stay.Left)
	stays(t, "with an inbox for one answer", lonely.Left)
	stays(t, "that has only its word for an inbox", barely.Left)

	staying.Close()
	wait.For(t, "that it is gone", stay.Left)
	stays(t, "who was never found", lonely.Left)

	// Who has his answer is not looked for any more, nor is who waits for a moment only, or for
	// nothing.
	last, reply := requester(w)
	got := waiter(reply)
	probed := func(than uint64) func() bool { return func() bool { return last.Stats().InMsgs > than } }
	wait.Until(t, "it is looked for", probed(last.Stats().InMsgs))
	got.Finish(scaler.Outcome{Server: &scaler.Server{ID: web}})
	wait.Until(t, "the answer", func() bool { return left(w) == 3 })
	natstest.Check(t, last.Flush())
	before := last.Stats().InMsgs
	time.Sleep(5 * leader.Probe)
	if probed(before + 1)() { // one may have been under way
		t.Error("it is looked for after its answer")
	}
	for _, payload := range []string{`{"wait":"0s"}`, `{"wait":"40ms"}`} {
		send(t, js, start, payload, command.ReplyHeader, reply)
		if got := wait.For(t, "the command", d.Given); got.Left != nil {
			t.Errorf("%s: it is looked for", payload)
		}
	}
}
