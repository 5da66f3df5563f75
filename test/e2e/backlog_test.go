package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var (
	backlogCommands = flag.Int("backlog.commands", 5000, "how many commands wait in TestBacklog, at most 100,000")
	backlogBytes    = flag.Int("backlog.bytes", 16<<10, "how large each eighth of them is")
)

// inFlight is how many commands the daemon takes at once.
const inFlight = 4096

// The daemon as it is shipped works off whatever the command stream holds, each command once and in
// order, in memory that has a bound: the bound depends on how many commands the daemon takes at
// once, not on how many wait, or how large they are.
func TestBacklog(t *testing.T) {
	const most = 300 << 20
	w := newWorldOn(t, cluster{kubeconfig, kube})         // not beside others: it keeps the API server busy
	w.program = filepath.Join(t.TempDir(), "idle-scaler") // without the race detector
	natstest.Check(t, build(w.program))
	var servers []string
	for i := range 300 {
		servers = append(servers, fmt.Sprintf("server-%d", i))
		w.deploy(servers[i], paused)
	}
	h := w.history()
	flags := append(obedient, "--command-max-age", "2h", "--log-level", "info")
	w.run(flags...) // makes the streams
	w.stop()
	ids, final := w.publishMany(servers, *backlogCommands, *backlogBytes)
	d := w.run(flags...)
	w.awaitWorkedOff(*backlogCommands)
	got := d.peak()
	t.Logf("the daemon had up to %d MiB", got>>20)
	if got > most {
		t.Errorf("want at most %d MiB", most>>20)
	}
	if strings.Contains(d.log.String(), "disconnected from NATS") {
		t.Error("NATS could not send as fast as it wanted, and cut the daemon off")
	}
	for server, ids := range ids {
		h.await(server, ids)
		if err := w.wants(final[server], server); err != nil {
			t.Errorf("%v, want %d", err, final[server])
		}
	}
}

// publishMany publishes commands at random; one of eight has a payload of so many bytes, if it is
// not longer anyway. It returns the ids of those to each server, and with how many replicas it
// ends.
func (w *world) publishMany(servers []string, commands, bytes int) (ids map[string][]string, final map[string]int32) {
	w.t.Helper()
	js, err := jetstream.New(w.nc, jetstream.WithPublishAsyncMaxPending(128))
	natstest.Check(w.t, err)
	random := rand.New(rand.NewPCG(1, 2))
	ids, final = make(map[string][]string), make(map[string]int32)
	restore := make(map[string]int32)
	for _, server := range servers {
		final[server] = 1
	}
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
		ids[server] = append(ids[server], id)
		payload := fmt.Appendf(nil, `{"id":%q%s}`, id, text)
		if i%8 == 0 {
			payload = append(payload, strings.Repeat(" ", max(0, bytes-len(payload)))...)
		}
		subject := fmt.Sprintf("cortex.mcp.command.%s.%s.%s", verb, w.namespace, server)
		_, err := js.PublishAsync(subject, payload, jetstream.WithStallWait(wait.Patience))
		natstest.Check(w.t, err)
	}
	wait.For(w.t, "the commands to be stored", js.PublishAsyncComplete())
	natstest.Check(w.t, w.holds(commandStream, uint64(commands)))
	return ids, final
}

// awaitWorkedOff waits until none of the commands is left, and expects that not too many were taken
// at once.
func (w *world) awaitWorkedOff(commands int) {
	w.t.Helper()
	began, pending, left := time.Now(), 0, uint64(commands)
	for progress := began; left > 0; time.Sleep(100 * time.Millisecond) { // between two looks
		stream, err := w.stream(commandStream)
		natstest.Check(w.t, err)
		for consumer := range stream.ListConsumers(w.t.Context()).Info() {
			pending = max(pending, consumer.NumAckPending)
		}
		if now := stream.CachedInfo().State.Msgs; now < left {
			left, progress = now, time.Now()
		}
		if time.Since(progress) > wait.Patience {
			w.t.Fatalf("%d commands are left after %s", left, time.Since(began))
		}
	}
	took := time.Since(began)
	w.t.Logf("%d commands took %s, %.0f a second; %d were unfinished at once",
		commands, took.Round(time.Millisecond), float64(commands)/took.Seconds(), pending)
	if pending == 0 || pending > inFlight {
		w.t.Errorf("%d commands were unfinished at once, want up to %d", pending, inFlight)
	}
}

// peak is the most memory that the daemon had at once.
func (d *daemon) peak() (bytes int) {
	d.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.process.Process.Pid))
	natstest.Check(d.t, err)
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	_, err = fmt.Sscanf(after, "%d kB", &bytes)
	natstest.Check(d.t, err)
	return bytes << 10
}
