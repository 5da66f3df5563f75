package natsconn_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/natsconn"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// When Close returns, every published message is sent, and every handler has returned.
func TestClose(t *testing.T) {
	w := natstest.New(t)
	listener := w.Connect()
	got := make(chan string, 1)
	_, err := listener.Subscribe("x", func(m *nats.Msg) { got <- string(m.Data) })
	natstest.Check(t, err)
	natstest.Check(t, listener.Flush())
	nc := w.Connect()
	natstest.Check(t, nc.Publish("x", []byte("last words")))
	natstest.Check(t, natsconn.Close(context.Background(), nc))
	if !nc.IsClosed() {
		t.Error("it is not closed")
	}
	natstest.Check(t, natsconn.Close(context.Background(), nc))
	wait.For(t, "what was published", got)
	w.Shutdown()
	wait.Until(t, "the loss of the connection", func() bool { return !listener.IsConnected() })
	natstest.Check(t, natsconn.Close(context.Background(), listener))
	if !listener.IsClosed() {
		t.Error("it is not closed")
	}
}

// Connect refuses options that can't work, and shows no password.
func TestConnectErrors(t *testing.T) {
	for name, o := range map[string]natsconn.Options{
		"no url":       {},
		"unreadable":   {URLs: []string{"nats://ann:secret@%zz"}},
		"nobody there": {URLs: []string{"nats://ann:secret@127.0.0.1:1"}},
		"half a pair":  {URLs: []string{"nats://127.0.0.1:1"}, CertFile: "x"},
		"no seed":      {URLs: []string{"nats://127.0.0.1:1"}, NKeyFile: "/nowhere"},
		"no NATS":      {URLs: []string{"http://ann:secret@127.0.0.1:1"}},
		"no host":      {URLs: []string{"nats://127.0.0.1:1,nats://ann:secret@"}},
		"inbox":        {URLs: []string{"nats://127.0.0.1:1"}, InboxPrefix: "mine"},
	} {
		_, err := natsconn.Connect(o, natstest.Quiet)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Watch reports a connection that is closed for good, and why. It does not report a lost
// connection, which comes back, nor the end of ctx.
func TestConnectionClosedForGood(t *testing.T) {
	w := natstest.New(t)
	nc := w.Connect()
	ended := make(chan error, 1)
	go func() { ended <- natsconn.Watch(context.Background(), nc) }()
	w.Shutdown()
	wait.Until(t, "the loss", func() bool { return !nc.IsConnected() })
	w.Start()
	wait.Until(t, "the return", nc.IsConnected)
	if len(ended) > 0 {
		t.Fatalf("a lost connection is closed for good: %v", <-ended)
	}
	natstest.Check(t, nc.Publish(strings.Repeat("a", 5000), nil))
	for range 2 { // also when Watch is called after the end
		err := wait.For(t, "the end of the connection", ended)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "maximum control line exceeded") {
			t.Errorf("got %v", err)
		}
		ended <- natsconn.Watch(context.Background(), nc)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	natstest.Check(t, natsconn.Watch(ctx, w.Connect()))
}
