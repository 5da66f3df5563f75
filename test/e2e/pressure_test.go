package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus"
)

// Thousands of commands that were published while no daemon ran are worked off in order, each once; the last of each server decides. The
// daemon takes no more than 4096 at once, and so its memory stays bounded.
func TestManyCommandsWhileTheDaemonIsDown(t *testing.T) {
	const (
		servers  = 50
		commands = 4500
		inFlight = 4096
		growth   = 320 << 20 // allowed to a daemon with the race detector, whose memory grows by half of that
	)
	b := newBench(t)
	name := func(i int) string { return fmt.Sprintf("server-%d", i) }
	for i := range servers {
		b.deploy(name(i), paused)
	}
	h := b.history()
	d := b.run(solo...) // makes the streams, and shows how much a daemon needs that has nothing to do
	idle := d.value(t, "process_resident_memory_bytes")
	b.kill()

	js, err := jetstream.New(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	want := make(map[string][]string)
	final := make(map[string]int32)
	restore := make(map[string]int32)
	for i := range servers {
		final[name(i)] = 1
	}
	for i := range commands {
		server, id := name(random.IntN(servers)), fmt.Sprintf("order-%d", i+1)
		verb, text := "scale", ""
		switch n := random.Int32N(10); {
		case n > 0:
			text = fmt.Sprintf(`,"replicas":%d`, n)
			final[server], restore[server] = n, 0
		case i%2 == 0:
			verb = "stop"
			if final[server] > 0 {
				restore[server] = final[server]
			}
			final[server] = 0
		default:
			verb = "start"
			if final[server] == 0 {
				final[server] = restore[server]
			}
		}
		want[server] = append(want[server], id)
		_, err := js.PublishAsync(fmt.Sprintf("cortex.mcp.command.%s.%s.%s", verb, b.namespace, server),
			fmt.Appendf(nil, `{"id":%q%s}`, id, text))
		if err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatal("the commands can't be stored")
	}
	if err := b.holds(commandStream, commands); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	d = b.run(solo...)
	var most float64
	pending := 0
	for {
		most = max(most, d.value(t, "process_resident_memory_bytes"))
		stream, err := js.Stream(t.Context(), commandStream)
		if err != nil {
			t.Fatal(err)
		}
		for consumer := range stream.ListConsumers(t.Context()).Info() {
			pending = max(pending, consumer.NumAckPending)
		}
		if stream.CachedInfo().State.Msgs == 0 {
			break
		}
		if time.Since(began) > 3*patience {
			t.Fatalf("%d commands are left after %s", stream.CachedInfo().State.Msgs, time.Since(began))
		}
		time.Sleep(100 * time.Millisecond) // between two looks
	}
	t.Logf("%d commands took %s; memory grew from %.0f to %.0f MiB, %d were unfinished at once", commands,
		time.Since(began).Round(time.Millisecond), idle/(1<<20), most/(1<<20), pending)
	if pending == 0 || pending > inFlight {
		t.Errorf("%d commands were unfinished at once, want up to %d", pending, inFlight)
	}
	if most > idle+growth {
		t.Errorf("the daemon had %.0f MiB, and has %.0f without work", most/(1<<20), idle/(1<<20))
	}
	for server, ids := range want {
		h.await(server, ids)
		if err := b.staysAt(server, final[server])(); err != nil {
			t.Errorf("%v, want %d", err, final[server])
		}
	}
}

// A thousand requests that wait at once are all answered when their servers get ready, and nothing of them is left in the daemon.
func TestAThousandRequestsWaitAtOnce(t *testing.T) {
	const servers, requests = 50, 1000
	b := newBench(t)
	name := func(i int) string { return fmt.Sprintf("server-%d", i%servers) }
	for i := range servers {
		b.deploy(name(i), replicas(0), image("fail/ready")) // ready when the test says so, which is once all wait
	}
	h := b.history()
	d := b.run(solo...)
	if _, err := b.status(name(0)); err != nil {
		t.Fatal(err)
	}
	before := d.value(t, "go_goroutines")

	began := time.Now()
	var calls []*call
	for i := range requests {
		calls = append(calls, later(func() (bus.Answer, error) {
			return b.Start(t.Context(), b.id(name(i)), 4*time.Minute, bus.Sender{ID: fmt.Sprintf("order-%d", i)})
		}))
	}
	eventually(t, "all are applied", func() error {
		applied := 0
		for i := range servers {
			ids, err := h.of(name(i))
			if err != nil {
				return err
			}
			applied += len(ids)
		}
		if applied != requests {
			return fmt.Errorf("%d are", applied)
		}
		return nil
	})
	eventually(t, "all wait", func() error {
		if now := d.value(t, "go_goroutines"); now < before+requests {
			return fmt.Errorf("there are %.0f goroutines", now)
		}
		return nil
	})
	waited := time.Since(began)
	for i, c := range calls {
		select {
		case <-c.done:
			t.Fatalf("request %d is answered already: %+v, %v", i, c.answer, c.err)
		default:
		}
	}
	for i := range servers {
		b.makeReady(name(i), 1)
	}
	for i, c := range calls {
		if a, err := c.end(t); err != nil || a.Server.ReadyReplicas != 1 || a.Server.Name != name(i) {
			t.Errorf("request %d is answered %+v, %v", i, a, err)
		}
	}
	t.Logf("all waited after %s, and were answered after %s", waited.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	eventually(t, "the daemon is as it was", func() error {
		if now := d.value(t, "go_goroutines"); now > before+25 { // connections, mostly
			return fmt.Errorf("it has %.0f goroutines, and had %.0f", now, before)
		}
		return nil
	})
	if err := b.holds(commandStream, 0); err != nil {
		t.Error(err)
	}
}

// value returns one of the metrics of the daemon.
func (d *daemon) value(t *testing.T, name string) float64 {
	t.Helper()
	_, body, err := d.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
