package bus

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// Every message is counted that NATS has dropped because it was handled too slowly, also after its subscription is gone; and the first is logged.
func TestDropsAreCounted(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	drops := new(Drops)
	nc, err := Connect(Options{URLs: []string{w.server.URL()}, Drops: drops}, slog.New(slog.NewTextHandler(&log, nil)))
	check(t, err)
	if n := drops.Count(); n != 0 {
		t.Errorf("%d dropped before anything was sent", n)
	}
	begun, proceed := make(chan struct{}, 10), make(chan struct{})
	sub, err := nc.Subscribe("slow", func(*nats.Msg) { begun <- struct{}{}; <-proceed })
	check(t, err)
	check(t, sub.SetPendingLimits(2, -1)) // the one that is handled counts
	send := func(n int) {
		for range n {
			check(t, nc.Publish("slow", nil))
		}
		check(t, nc.Flush())
	}
	send(1)
	receive(t, "the message that is handled", begun)
	send(5) // one waits
	eventually(t, "four drops", func() bool { return drops.Count() == 4 })
	send(3) // of these nats.go says nothing more
	eventually(t, "seven drops", func() bool { return drops.Count() == 7 })
	check(t, sub.Unsubscribe())
	for range 2 {
		if n := drops.Count(); n != 7 {
			t.Errorf("%d dropped once the subscription is gone, want 7", n)
		}
	}
	close(proceed)
	nc.Close()
	if n := strings.Count(log.String(), "messages were dropped"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
}
