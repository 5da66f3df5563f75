package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"idle-scaler/internal/natsconn"
)

// While NATS and Kubernetes are away the daemon is alive, reports what is missing, and ends on
// request. A failing liveness probe would restart it for nothing, at longer and longer intervals.
func TestAliveWithoutAnything(t *testing.T) {
	kubeconfig := writeFile(t, `{apiVersion: v1, kind: Config, current-context: c,
contexts: [{name: c, context: {cluster: k, user: u}}],
clusters: [{name: k, cluster: {server: "http://127.0.0.1:1"}}], users: [{name: u, user: {}}]}`)
	var c Config
	var cmd cobra.Command
	l := c.layers(&cmd)
	flags := []string{"--nats", nowhere, "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0"}
	if err := cmd.ParseFlags(flags); err != nil {
		t.Fatal(err)
	}
	s, err := c.load(l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	read, write := io.Pipe()
	go func() { ended <- serve(ctx, &c, s, slog.New(slog.NewJSONHandler(write, nil))) }()
	address := make(chan string, 1)
	go func() {
		for lines := json.NewDecoder(read); ; { // until the end, or the daemon could not log
			var line struct{ Msg, Address string }
			if lines.Decode(&line) != nil {
				return
			}
			if line.Msg == "serving health and metrics" {
				address <- line.Address
			}
		}
	}()
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		body, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(body)
	}
	select {
	case at := <-address:
		if code, body := get(at + "/healthz"); code != http.StatusOK {
			t.Errorf("/healthz: %d %s", code, body)
		}
		code, body := get(at + "/readyz")
		for _, missing := range []string{
			"deployments: not read yet", "settings and autoscalers: the namespaces have not been read",
			"nats: not connected", "activity log: not replayed yet", "requests: not answered yet",
		} {
			if code != http.StatusServiceUnavailable || !strings.Contains(body, missing) {
				t.Errorf("/readyz: %d %s, want %q", code, body, missing)
			}
		}
		code, body = get(at + "/metrics")
		for _, line := range []string{
			`idle_scaler_drops_total{what="kubernetes-event"} 0`,
			`idle_scaler_drops_total{what="nats-message"} 0`,
			`idle_scaler_blind 1`,
		} {
			if code != http.StatusOK || !strings.Contains(body, line+"\n") {
				t.Errorf("/metrics: %d, no line %s", code, line)
			}
		}
	case err := <-ended:
		t.Fatalf("the daemon ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("nobody serves health")
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the daemon does not end")
	}
	_ = write.Close()
}

// A daemon that is asked to end while it makes its streams ends without an error. Exit code 1 would
// look like a problem with the streams.
func TestEndWhileTheStreamsAreLookedAt(t *testing.T) {
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{startNATS(t)}, Name: "test"}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, stop := context.WithCancel(t.Context())
	err = ensureOnce(ctx, nc, func(ctx context.Context) error {
		stop()
		return fmt.Errorf("stream CORTEX_MCP_COMMANDS: %w", ctx.Err())
	}, quiet)
	if err != nil {
		t.Error(err)
	}
}

// A replica without either of its connections is not ready: it needs one for pings and the other
// for commands.
func TestReadyOnBothConnections(t *testing.T) {
	url := startNATS(t)
	connect := func() *nats.Conn {
		nc, err := natsconn.Connect(natsconn.Options{URLs: []string{url}, Name: "test"}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	lost := connect()
	lost.Close()
	for _, row := range []struct {
		pings, commands *nats.Conn
		want            string
	}{{connect(), connect(), ""}, {lost, connect(), "not connected"}, {connect(), lost, "not connected"}} {
		for _, c := range checks(nil, row.pings, row.commands, nil, nil) {
			if c.Name == "nats" && c.Missing() != row.want {
				t.Errorf("says %q, want %q", c.Missing(), row.want)
			}
		}
	}
}
