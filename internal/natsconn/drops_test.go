package natsconn_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/natsconn"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// Drops counts every message that was dropped because its handler was too slow, also after the
// subscription has ended. The first drop is logged.
func TestDropsAreCounted(t *testing.T) {
	w := natstest.New(t)
	var log bytes.Buffer
	drops := new(natsconn.Drops)
	logger := slog.New(slog.NewTextHandler(&log, nil))
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{w.URL()}, Drops: drops}, logger)
	natstest.Check(t, err)
	if n := drops.Count(); n != 0 {
		t.Errorf("%d dropped before anything was sent", n)
	}
	begun, proceed := make(chan struct{}, 10), make(chan struct{})
	sub, err := nc.Subscribe("slow", func(*nats.Msg) { begun <- struct{}{}; <-proceed })
	natstest.Check(t, err)
	natstest.Check(t, sub.SetPendingLimits(2, -1)) // the one that is handled counts
	send := func(n int) {
		for range n {
			natstest.Check(t, nc.Publish("slow", nil))
		}
		natstest.Check(t, nc.Flush())
	}
	send(1)
	wait.For(t, "the message that is handled", begun)
	send(5) // one waits
	wait.Until(t, "four drops", func() bool { return drops.Count() == 4 })
	send(3) // nats.go reports none of these
	wait.Until(t, "seven drops", func() bool { return drops.Count() == 7 })
	natstest.Check(t, sub.Unsubscribe())
	for range 2 {
		if n := drops.Count(); n != 7 {
			t.Errorf("%d dropped once the subscription is gone, want 7", n)
		}
	}
	close(proceed)
	nc.Close()
	if n := strings.Count(log.String(), "messages were dropped"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, &log)
	}
}
