package command

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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

// A client that is away for a moment is not gone: it has to be away for several probes in a row.
func TestAClientThatComesBackStays(t *testing.T) {
	w := natstest.New(t)
	a := newAudience(w.Connect(), time.Hour) // the test looks
	look := func(times int) {
		for range times {
			a.look(context.Background(), func(*inbox) bool { return true })
		}
	}
	client := w.Connect()
	here := func() (away func()) {
		sub, err := client.SubscribeSync("_INBOX.client.*")
		natstest.Check(t, err)
		natstest.Check(t, client.Flush())
		return func() { natstest.Check(t, sub.Unsubscribe()); natstest.Check(t, client.Flush()) }
	}
	is := func(left <-chan struct{}, gone bool, what string) {
		t.Helper()
		select {
		case <-left:
			if !gone {
				t.Errorf("%s: it is taken for gone", what)
			}
		default:
			if gone {
				t.Errorf("%s: it is not found gone", what)
			}
		}
	}
	left, leave := a.enter("_INBOX.client.1")
	look(2 * leftAfter)
	is(left, false, "not here yet, as after NATS was restarted")
	for range 3 {
		away := here()
		look(1)
		away()
		look(leftAfter - 1)
		is(left, false, "away for a moment")
	}
	look(1)
	is(left, true, "away for long")

	here()
	again, leaveAgain := a.enter("_INBOX.client.2")
	leave()
	look(1)
	is(again, false, "here again")
	leaveAgain()
	if len(a.inboxes) > 0 {
		t.Error("who waits no more is looked for")
	}
}

// The request of a client that is looked for goes on as if nothing had happened.
func TestAClientIsNotDisturbed(t *testing.T) {
	w := natstest.New(t)
	nc, server := w.Connect(), w.Connect()
	a := newAudience(w.Connect(), time.Hour)
	_, err := server.Subscribe("slow", func(m *nats.Msg) {
		left, leave := a.enter(m.Reply)
		before := nc.Stats().InMsgs
		for range 2 * leftAfter {
			a.look(context.Background(), func(*inbox) bool { return true })
		}
		leave()
		select {
		case <-left:
			t.Error("it is taken for gone")
		default:
		}
		wait.Until(t, "it gets all probes", func() bool { return nc.Stats().InMsgs == before+2*leftAfter })
		natstest.Check(t, m.Respond([]byte("done")))
	})
	natstest.Check(t, err)
	natstest.Check(t, server.Flush())
	if m, err := nc.Request("slow", nil, wait.Patience); err != nil || string(m.Data) != "done" {
		t.Errorf("answered %v, %v", m, err)
	}
}

// A client that is there for a moment only is found at once, or it could not be found gone later.
func TestANewClientIsFoundAtOnce(t *testing.T) {
	w := natstest.New(t)
	a := newAudience(w.Connect(), time.Hour)
	wait.Run(t, func(ctx context.Context) error { a.run(ctx); return nil })
	for range 3 {
		nc, reply := requester(w)
		a.enter(reply)
		wait.Until(t, "it is found", func() bool { return nc.Stats().InMsgs == 2 }) // the first was to its request
	}
}
