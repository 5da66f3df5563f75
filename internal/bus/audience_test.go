package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/scaler"
)

const probeEvery = 20 * time.Millisecond // that of lead

// requester returns a connection that hears answers as the client libraries do, and a reply subject of it.
func (w *world) requester(options ...nats.Option) (nc *nats.Conn, reply string) {
	w.t.Helper()
	nc, err := nats.Connect(w.server.URL(), append(options, nats.MaxReconnects(-1))...)
	check(w.t, err)
	w.t.Cleanup(nc.Close)
	if _, err := nc.Request("nobody", nil, patiently); !errors.Is(err, nats.ErrNoResponders) { // with the first request it subscribes
		w.t.Fatal(err)
	}
	return nc, nc.NewRespInbox()
}

// stays expects that a client is not taken for gone, for much longer than it would take.
func stays(t *testing.T, what string, left <-chan struct{}) {
	t.Helper()
	select {
	case <-left:
		t.Errorf("%s: it is taken for gone", what)
	case <-time.After(10 * leftAfter * probeEvery):
	}
}

// Who waits for an answer and goes is found gone, once his connection is closed, and nobody else.
func TestAClientThatGoesFreesItsWaiters(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	d, _ := lead(w, w.connect())
	start := w.subjects.Command(scaler.Start, web)
	wait := func(reply string) given {
		send(t, js, start, `{"wait":"5m"}`, replyHeader, reply)
		return receive(t, "the command", d.given)
	}
	going, reply := w.requester()
	goes := []given{wait(reply), wait(going.NewRespInbox())}
	staying, reply := w.requester(nats.CustomInboxPrefix("_INBOX.team-a"))
	stay := wait(reply)
	alone, err := staying.SubscribeSync(staying.NewInbox()) // an inbox for one answer, beside others with the same prefix
	check(t, err)
	lonely := wait(alone.Subject)
	bare, err := going.SubscribeSync("_INBOX.one")
	check(t, err)
	barely := wait(bare.Subject)
	stays(t, "while it is there", goes[0].Left)

	going.Close()
	for _, g := range goes {
		receive(t, "that it is gone", g.Left)
		if g.ctx.Err() != nil {
			t.Error("the session has ended")
		}
		g.finish(scaler.Outcome{Err: scaler.ErrNotInTime, Event: scaler.Event{Type: scaler.Woken}})
	}
	eventually(t, "the acknowledgements", func() bool { return w.left() == 3 })
	stays(t, "with an inbox prefix", stay.Left)
	stays(t, "with an inbox for one answer", lonely.Left)
	stays(t, "that has only its word for an inbox", barely.Left)

	staying.Close()
	receive(t, "that it is gone", stay.Left)
	stays(t, "who was never found", lonely.Left)

	// Who has his answer is not looked for any more, nor is who waits for a moment only, or for nothing.
	last, reply := w.requester()
	got := wait(reply)
	probed := func(than uint64) func() bool { return func() bool { return last.Stats().InMsgs > than } }
	eventually(t, "it is looked for", probed(last.Stats().InMsgs))
	got.finish(scaler.Outcome{Server: &scaler.Server{ID: web}})
	eventually(t, "the answer", func() bool { return w.left() == 3 })
	check(t, last.Flush())
	before := last.Stats().InMsgs
	time.Sleep(5 * probeEvery)
	if probed(before + 1)() { // one may have been under way
		t.Error("it is looked for after its answer")
	}
	for _, payload := range []string{`{"wait":"0s"}`, `{"wait":"40ms"}`} {
		send(t, js, start, payload, replyHeader, reply)
		if got := receive(t, "the command", d.given); got.Left != nil {
			t.Errorf("%s: it is looked for", payload)
		}
	}
}

// A client that is away for a moment is not gone: it has to be away for several probes in a row.
func TestAClientThatComesBackStays(t *testing.T) {
	w := newWorld(t)
	a := newAudience(w.connect(), time.Hour) // the test looks
	look := func(times int) {
		for range times {
			a.look(context.Background(), func(*inbox) bool { return true })
		}
	}
	client := w.connect()
	here := func() (away func()) {
		sub, err := client.SubscribeSync("_INBOX.client.*")
		check(t, err)
		check(t, client.Flush())
		return func() { check(t, sub.Unsubscribe()); check(t, client.Flush()) }
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
	w := newWorld(t)
	nc, server := w.connect(), w.connect()
	a := newAudience(w.connect(), time.Hour)
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
		eventually(t, "it gets all probes", func() bool { return nc.Stats().InMsgs == before+2*leftAfter })
		check(t, m.Respond([]byte("done")))
	})
	check(t, err)
	check(t, server.Flush())
	if m, err := nc.Request("slow", nil, patiently); err != nil || string(m.Data) != "done" {
		t.Errorf("answered %v, %v", m, err)
	}
}

// A client that is there for a moment only is found at once, or it could not be found gone later.
func TestANewClientIsFoundAtOnce(t *testing.T) {
	w := newWorld(t)
	a := newAudience(w.connect(), time.Hour)
	run(t, func(ctx context.Context) error { a.run(ctx); return nil })
	for range 3 {
		nc, reply := w.requester()
		a.enter(reply)
		eventually(t, "it is found", func() bool { return nc.Stats().InMsgs == 2 }) // the first was to its request
	}
}
