package bus

import (
	"context"
	"strings"
	"testing"

	"idle-scaler/scaler"
)

// NATS closes, for good, the connection of whoever sends it a line of more than 4096 bytes. Nothing that a sender writes makes the daemon do that:
// neither where to answer, nor a server or a verb that can't be; and the next command is applied and answered.
func TestNobodyMakesLinesTooLong(t *testing.T) {
	w := newWorldWithStreams(t)
	js, sender, nc := w.jetStream(), w.connect(), w.connect()
	d, _ := lead(w, nc)
	events, err := NewEvents(nc, w.subjects, "here")
	check(t, err)
	answered := func(got given, e scaler.Event) {
		t.Helper()
		e.ID, e.Server = got.Stamp.Time.String(), got.Server
		check(t, events.Publish(context.Background(), e))
		got.finish(scaler.Outcome{Event: e, Err: got.err})
		check(t, nc.Flush())
	}
	send(t, js, w.subjects.Command(scaler.Start, web), ``, replyHeader, "_INBOX."+strings.Repeat("a", 5000))
	answered(receive(t, "the command with a long inbox", d.given), scaler.Event{Type: scaler.Woken})
	for _, subject := range []string{
		"cortex.mcp.command.start.team-a." + strings.Repeat("a", 4050),
		"cortex.mcp.command.start.team-a" + strings.Repeat(".a", 2025),
		"cortex.mcp.command.start." + strings.Repeat("a", 4050) + ".web",
		"cortex.mcp.command." + strings.Repeat("a", 4050) + ".team-a.web",
	} {
		check(t, sender.Publish(subject, nil))
		got := receive(t, "a command with a long subject", d.given)
		if line := string(got.Verb) + got.Server.String(); got.err == nil || len(line) > 400 {
			t.Errorf("%.40s: %d bytes of it are told, as %v", subject, len(line), got.err)
		}
		answered(got, scaler.Event{Type: scaler.Rejected})
	}
	inbox, err := sender.SubscribeSync(sender.NewInbox())
	check(t, err)
	send(t, js, w.subjects.Command(scaler.Start, web), ``, replyHeader, inbox.Subject)
	answered(receive(t, "a command in order", d.given), scaler.Event{Type: scaler.Woken})
	if m, err := inbox.NextMsg(patiently); err != nil || len(m.Data) == 0 {
		t.Errorf("answered %v, %v", m, err)
	}
	eventually(t, "the end of all", func() bool { return w.left() == 0 })
}

// What is no inbox, or too long for one, is answered to nowhere.
func TestAnswerable(t *testing.T) {
	long := "_INBOX." + strings.Repeat("a", maxInbox-len("_INBOX."))
	for _, reply := range []string{"_INBOX.a", "_INBOX_team-a.b.c", long} {
		if got := answerable(reply); got != reply {
			t.Errorf("%.40s: got %.40q", reply, got)
		}
	}
	for _, reply := range []string{"", "elsewhere", "_INBOX.", "_INBOX..a", "_INBOX.*", "_INBOX.>", "_INBOX.a b", "_INBOX.a\r\nPUB", long + "a"} {
		if got := answerable(reply); got != "" {
			t.Errorf("%.40q: got %.40q", reply, got)
		}
	}
}

// A connection that is closed for good is noticed, with why; one that is lost comes back, and our own end is none.
func TestConnectionClosedForGood(t *testing.T) {
	w := newWorld(t)
	nc := w.connect()
	ended := make(chan error, 1)
	go func() { ended <- Watch(context.Background(), nc) }()
	w.server.Shutdown()
	eventually(t, "the loss", func() bool { return !nc.IsConnected() })
	w.begin()
	eventually(t, "the return", nc.IsConnected)
	if len(ended) > 0 {
		t.Fatalf("a lost connection is closed for good: %v", <-ended)
	}
	check(t, nc.Publish(strings.Repeat("a", 5000), nil))
	for range 2 { // also when it is asked later
		if err := receive(t, "word of the end", ended); err == nil || !strings.Contains(strings.ToLower(err.Error()), "maximum control line exceeded") {
			t.Errorf("got %v", err)
		}
		ended <- Watch(context.Background(), nc)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	check(t, Watch(ctx, w.connect()))
}
