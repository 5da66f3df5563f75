package command_test

import (
	"context"
	"strings"
	"testing"

	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// NATS closes a connection for good when it sends a line of more than 4096 bytes. No sender can
// make the daemon send one: neither by the subject of its answer, nor by an impossible server or
// verb. The next command is applied and answered.
func TestNobodyMakesLinesTooLong(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js, sender, nc := w.JetStream(), w.Connect(), w.Connect()
	d, _ := leader.Lead(w, nc)
	events, err := event.NewPublisher(nc, w.Subjects, "here", func(context.Context) error { return nil })
	natstest.Check(t, err)
	finish := func(got leader.Given, e scaler.Event) {
		t.Helper()
		e.ID, e.Server = got.Stamp.Time.String(), got.Server
		natstest.Check(t, events.Publish(context.Background(), e))
		got.Finish(scaler.Outcome{Event: e, Err: got.Err})
		natstest.Check(t, nc.Flush())
	}
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``, command.ReplyHeader, "_INBOX."+strings.Repeat("a", 5000))
	finish(wait.For(t, "the command with a long inbox", d.Given), scaler.Event{Type: scaler.Woken})
	for _, subject := range []string{
		"cortex.mcp.command.start.team-a." + strings.Repeat("a", 4050),
		"cortex.mcp.command.start.team-a" + strings.Repeat(".a", 2025),
		"cortex.mcp.command.start." + strings.Repeat("a", 4050) + ".web",
		"cortex.mcp.command." + strings.Repeat("a", 4050) + ".team-a.web",
	} {
		natstest.Check(t, sender.Publish(subject, nil))
		got := wait.For(t, "a command with a long subject", d.Given)
		if line := string(got.Verb) + got.Server.String(); got.Err == nil || len(line) > 400 {
			t.Errorf("%.40s: the event holds %d bytes of it, with %v", subject, len(line), got.Err)
		}
		finish(got, scaler.Event{Type: scaler.Rejected})
	}
	inbox, err := sender.SubscribeSync(sender.NewInbox())
	natstest.Check(t, err)
	send(t, js, w.Subjects.Command(wire.VerbStart, web), ``, command.ReplyHeader, inbox.Subject)
	finish(wait.For(t, "a command that makes sense", d.Given), scaler.Event{Type: scaler.Woken})
	if m, err := inbox.NextMsg(wait.Patience); err != nil || len(m.Data) == 0 {
		t.Errorf("got the answer %v, %v", m, err)
	}
	wait.Until(t, "all acknowledgements", func() bool { return left(w) == 0 })
}
