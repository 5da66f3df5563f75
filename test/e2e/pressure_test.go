package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/wire"
)

// inFlight is how many commands the daemon takes at once.
const inFlight = 4096

// Thousands of commands that were published while no daemon ran are worked off in order, each once; the last of each server decides. The
// daemon takes no more than 4096 at once, and so its memory stays bounded.
func TestManyCommandsWhileTheDaemonIsDown(t *testing.T) {
	const growth = 320 << 20 // allowed to a daemon with the race detector, whose memory grows by half of that
	b := newBench(t)
	servers := b.deployMany(50)
	h := b.history()
	d := b.run(solo...) // makes the streams, and shows how much a daemon needs that has nothing to do
	idle, err := d.value("process_resident_memory_bytes")
	if err != nil {
		t.Fatal(err)
	}
	b.kill()
	log := b.orderMany(servers, 4500, 0)
	d = b.run(solo...)
	var most float64
	log.workedOff(func() {
		now, _ := d.value("process_resident_memory_bytes") // on a busy machine some looks fail
		most = max(most, now)
	})
	t.Logf("memory grew from %.0f to %.0f MiB", idle/(1<<20), most/(1<<20))
	if most == 0 || most > idle+growth {
		t.Errorf("the daemon had %.0f MiB, and has %.0f without work", most/(1<<20), idle/(1<<20))
	}
	log.came(h)
}

var (
	backlogCommands = flag.Int("backlog.commands", 10_000, "how many commands wait for the daemon in TestBacklog: up to 100,000, which the stream holds")
	backlogBytes    = flag.Int("backlog.bytes", 16<<10, "how large each eighth of them is")
)

// What the command stream holds when it is full is worked off by the daemon as it is shipped, in memory that has a bound: it depends on how
// many commands are taken at once, not on how many or how large those are that wait.
func TestBacklog(t *testing.T) {
	const most = 300 << 20
	b := newBenchOn(t, cluster{kubeconfig, kube})         // not beside others: it keeps the API server busy
	b.program = filepath.Join(t.TempDir(), "idle-scaler") // without the race detector
	if out, err := exec.Command("go", "build", "-o", b.program, "idle-scaler/cmd/idle-scaler").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	servers := b.deployMany(300)
	h := b.history()
	flags := append(solo, "--command-max-age", "2h", "--log-level", "info")
	b.run(flags...) // makes the streams
	b.stop()
	log := b.orderMany(servers, *backlogCommands, *backlogBytes)
	d := b.run(flags...)
	log.workedOff(func() {})
	got := d.peak(t)
	t.Logf("the daemon had up to %d MiB", got>>20)
	if got > most {
		t.Errorf("want at most %d MiB", most>>20)
	}
	if strings.Contains(d.log.String(), "disconnected from NATS") {
		t.Error("NATS could not send as fast as it wanted, and cut the daemon off")
	}
	log.came(h)
}

// peak is the most memory that the daemon had at once.
func (d *daemon) peak(t *testing.T) (bytes int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	if _, err := fmt.Sscanf(after, "%d kB", &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}

// deployMany makes servers with one replica, in which only the writes matter.
func (b *bench) deployMany(n int) (names []string) {
	b.t.Helper()
	for i := range n {
		names = append(names, fmt.Sprintf("server-%d", i))
		b.deploy(names[i], paused)
	}
	return names
}

// backlog is what was ordered while no daemon ran.
type backlog struct {
	*bench
	commands int
	ids      map[string][]string // of the commands to each server, in order
	final    map[string]int32    // the replicas that each server has after the last of them
}

// orderMany publishes commands at random; one of eight has a payload of so many bytes, if it is not longer anyway.
func (b *bench) orderMany(servers []string, commands, bytes int) backlog {
	b.t.Helper()
	js, err := jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(128))
	if err != nil {
		b.t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	log := backlog{b, commands, make(map[string][]string), make(map[string]int32)}
	restore := make(map[string]int32)
	for _, server := range servers {
		log.final[server] = 1
	}
	final := log.final
	for i := range commands {
		server, id := servers[random.IntN(len(servers))], fmt.Sprintf("order-%d", i+1)
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
		log.ids[server] = append(log.ids[server], id)
		payload := fmt.Appendf(nil, `{"id":%q%s}`, id, text)
		if i%8 == 0 {
			payload = append(payload, strings.Repeat(" ", max(0, bytes-len(payload)))...)
		}
		if _, err := js.PublishAsync(fmt.Sprintf("cortex.mcp.command.%s.%s.%s", verb, b.namespace, server), payload, jetstream.WithStallWait(patience)); err != nil {
			b.t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		b.t.Fatal("the commands can't be stored")
	}
	if err := b.holds(commandStream, uint64(commands)); err != nil {
		b.t.Fatal(err)
	}
	return log
}

// workedOff waits until no command is left, and calls look meanwhile.
func (l backlog) workedOff(look func()) {
	l.t.Helper()
	js, err := jetstream.New(l.nc)
	if err != nil {
		l.t.Fatal(err)
	}
	began, pending, left := time.Now(), 0, uint64(l.commands)
	for progress := began; left > 0; time.Sleep(100 * time.Millisecond) { // between two looks
		look()
		stream, err := js.Stream(l.t.Context(), commandStream)
		if err != nil {
			l.t.Fatal(err)
		}
		for consumer := range stream.ListConsumers(l.t.Context()).Info() {
			pending = max(pending, consumer.NumAckPending)
		}
		if now := stream.CachedInfo().State.Msgs; now < left {
			left, progress = now, time.Now()
		}
		if time.Since(progress) > patience {
			l.t.Fatalf("%d commands are left after %s", left, time.Since(began))
		}
	}
	took := time.Since(began)
	l.t.Logf("%d commands took %s, %.0f a second; %d were unfinished at once", l.commands, took.Round(time.Millisecond), float64(l.commands)/took.Seconds(), pending)
	if pending == 0 || pending > inFlight {
		l.t.Errorf("%d commands were unfinished at once, want up to %d", pending, inFlight)
	}
}

// came expects that each was applied, in order, and that the servers are as the last of them wants.
func (l backlog) came(h *history) {
	l.t.Helper()
	for server, ids := range l.ids {
		h.await(server, ids)
		if err := l.staysAt(server, l.final[server])(); err != nil {
			l.t.Errorf("%v, want %d", err, l.final[server])
		}
	}
}

// A thousand requests that wait at once are all answered when their servers get ready, and nothing of them is left in the daemon.
func TestAThousandRequestsWaitAtOnce(t *testing.T) {
	const servers, requests, batch = 50, 1000, 200
	b := newBench(t)
	name := func(i int) string { return fmt.Sprintf("server-%d", i%servers) }
	for i := range servers {
		b.deploy(name(i), replicas(0), image("fail/ready")) // ready when the test says so, which is once all wait
	}
	h := b.history()
	d := b.run(append(solo, "--max-wait", "10m")...)
	b.deploy("other")
	if _, err := b.Stop(t.Context(), b.id("other"), false, wire.Sender{}); err != nil { // a request has whatever serves requests running
		t.Fatal(err)
	}
	before, err := d.value("go_goroutines")
	if err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	var calls []*call
	for len(calls) < requests { // some at a time, or the last wait for longer than a client does until they are taken
		for range batch {
			i := len(calls)
			calls = append(calls, later(func() (wire.Answer, error) {
				return b.Start(t.Context(), b.id(name(i)), 9*time.Minute, wire.Sender{ID: fmt.Sprintf("order-%d", i)})
			}))
		}
		within(t, 5*time.Minute, "all are applied", func() error {
			applied := 0
			for i := range servers {
				ids, err := h.of(name(i))
				if err != nil {
					return err
				}
				applied += len(ids)
			}
			if applied != len(calls) {
				return fmt.Errorf("%d of %d are", applied, len(calls))
			}
			return nil
		})
	}
	within(t, 5*time.Minute, "all wait", func() error {
		if now, err := d.value("go_goroutines"); err != nil || now < before+requests {
			return fmt.Errorf("there are %.0f goroutines, %w", now, err)
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
	within(t, 5*time.Minute, "the daemon is as it was", func() error {
		if now, err := d.value("go_goroutines"); err != nil || now > before+25 { // connections, mostly
			return fmt.Errorf("it has %.0f goroutines, and had %.0f, %w", now, before, err)
		}
		return nil
	})
	if err := b.holds(commandStream, 0); err != nil {
		t.Error(err)
	}
}

// value returns one of the metrics of the daemon.
func (d *daemon) value(name string) (float64, error) {
	_, body, err := d.get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(text), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}
