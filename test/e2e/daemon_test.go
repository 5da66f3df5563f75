package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// daemon is one running process of the program.
type daemon struct {
	t       *testing.T
	process *exec.Cmd
	log     *wait.Buffer
	http    string // the address of /readyz and /metrics
	ended   chan struct{}
}

var (
	// idle are flags with which an unused server sleeps after some seconds.
	idle = slices.Clip([]string{
		"--idle-after", "3s", "--schedule", "@every 1s", "--settle", "0s", "--min-awake", "0s",
	})
	// alone are flags of a daemon that is killed and started again: the next one does not wait for
	// its lease.
	alone = slices.Clip(slices.Concat(idle, []string{"--leader-elect=false"}))
	// obedient are flags of such a daemon that only does what it is ordered to.
	obedient = slices.Clip([]string{"--leader-elect=false", "--settle", "0s"})
)

// run starts the daemon with more flags, and returns when it is ready. It ends with the test, which
// fails if it ends badly.
func (w *world) run(flags ...string) *daemon {
	w.t.Helper()
	d := w.start(flags...)
	w.t.Cleanup(d.stop)
	wait.Eventually(w.t, "the daemon is ready", func() error {
		code, body, err := d.get("/readyz")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%d %s %w", code, body, err)
		}
		return nil
	})
	return d
}

// start starts the daemon with more flags, and returns when it serves /readyz.
func (w *world) start(flags ...string) *daemon {
	w.t.Helper()
	args := append([]string{
		"run", "--kubeconfig", w.kubeconfig, "--nats", w.nats.ClientURL(), "--namespaces", w.namespace,
		"--lease-namespace", w.namespace, "--lease-duration", "10s", "--listen", "127.0.0.1:0", "--log-level", "debug",
	}, flags...)
	d := &daemon{
		t: w.t, process: exec.Command(cmp.Or(w.program, program), args...), log: &wait.Buffer{}, ended: make(chan struct{}),
	}
	d.process.Stderr = d.log
	d.process.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	natstest.Check(w.t, d.process.Start())
	go func() { _ = d.process.Wait(); close(d.ended) }()
	w.daemon = d
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the log of the daemon with process %d:\n%s", d.process.Process.Pid, d.log)
		}
	})
	wait.Until(w.t, "the daemon serves health", func() bool {
		d.http = d.logged("serving health and metrics", "address")
		return d.http != ""
	})
	return d
}

// stop asks the daemon to end, as Kubernetes does, and expects that it ends well. Once it has ended
// nothing happens.
func (d *daemon) stop() {
	d.t.Helper()
	select {
	case <-d.ended:
		return
	default:
	}
	_ = d.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
		if code := d.process.ProcessState.ExitCode(); code != 0 {
			d.t.Errorf("the daemon ended with %d", code)
		}
	case <-time.After(wait.Patience):
		_ = d.process.Process.Signal(syscall.SIGQUIT) // it logs what it is doing
		<-d.ended
		d.t.Error("the daemon does not end")
	}
}

// kill ends the daemon without a chance to finish anything.
func (d *daemon) kill() {
	_ = d.process.Process.Kill()
	<-d.ended
}

// get asks the daemon over HTTP.
func (d *daemon) get(path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.http+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// logged returns a value of the first log line with a message, empty when there is none.
func (d *daemon) logged(message, key string) string {
	for line := range strings.Lines(d.log.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			return fmt.Sprint(entry[key])
		}
	}
	return ""
}

// metric is an error unless a line is in the metrics.
func (d *daemon) metric(line string) error {
	_, body, err := d.get("/metrics")
	if err == nil && !strings.Contains(body, "\n"+line+"\n") {
		err = fmt.Errorf("no line %q", line)
	}
	return err
}

// leads is an error unless the daemon leads.
func (d *daemon) leads() error { return d.metric("idle_scaler_leader 1") }

// counts returns a metric of the daemon by its labels.
func (d *daemon) counts(name string) map[string]int {
	d.t.Helper()
	_, body, err := d.get("/metrics")
	natstest.Check(d.t, err)
	return parseCounts(body, name)
}

// parseCounts reads a metric by its labels from what Prometheus would.
func parseCounts(text, name string) map[string]int {
	counts := make(map[string]int)
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		end := strings.LastIndexByte(rest, ' ')
		if !ok || end < 0 || end > 0 && rest[0] != '{' {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(rest[end:]), 64); err == nil {
			counts[rest[:end]] = int(n)
		}
	}
	return counts
}

// twoDaemons starts two, and returns the one that leads and the other.
func (w *world) twoDaemons(flags ...string) (leads, follows *daemon) {
	w.t.Helper()
	one, two := w.run(flags...), w.run(flags...)
	wait.Eventually(w.t, "one of the two leads", func() error {
		switch {
		case one.leads() == nil:
			leads, follows = one, two
		case two.leads() == nil:
			leads, follows = two, one
		default:
			return errors.New("none does")
		}
		return nil
	})
	return leads, follows
}
