package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var web, files = natstest.Web, natstest.Files

func newClient(w *natstest.Server) *Client {
	w.T.Helper()
	c, err := New(w.Connect(), w.Subjects)
	natstest.Check(w.T, err)
	return c
}

// newTeam returns a client with the rights of a team in deploy/nats, and the URL of its server, on
// which there are streams and no daemon.
func newTeam(t *testing.T) (*Client, string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "daemon", Password: "x"}, {Username: "team", Password: "x", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{
				"cortex.mcp.command.*.team-a.>", "cortex.mcp.activity.team-a.>", "cortex.mcp.lease.*.team-a.>", "cortex.mcp.api.*.team-a", "cortex.mcp.api.*.team-a.>",
			}},
			Subscribe: &server.SubjectPermission{Allow: []string{"cortex.mcp.event.*.team-a.>", "_INBOX.team.>"}},
		}}},
	})
	natstest.Check(t, err)
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(wait.Patience) {
		t.Fatal("the server does not start")
	}
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	daemon, err := natsconn.Connect(natsconn.Options{URLs: []string{s.ClientURL()}, User: "daemon", Password: "x", Name: "daemon"}, natstest.Quiet)
	natstest.Check(t, err)
	t.Cleanup(daemon.Close)
	natstest.Check(t, stream.Ensure(t.Context(), daemon, stream.Options{Subjects: subjects, Owner: "here", Replicas: 1}, natstest.Quiet))
	_, err = daemon.Subscribe("cortex.mcp.api.>", func(m *nats.Msg) {
		if strings.HasPrefix(m.Subject, "cortex.mcp.api.status") {
			_ = m.Respond([]byte(`{"name":"web"}`))
		}
	})
	natstest.Check(t, errors.Join(err, daemon.Flush()))
	return teamClient(t, s.ClientURL(), "_INBOX.team"), s.ClientURL()
}

func teamClient(t *testing.T, url, inbox string) *Client {
	t.Helper()
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{url}, User: "team", Password: "x", Name: "team", InboxPrefix: inbox}, natstest.Quiet)
	natstest.Check(t, err)
	t.Cleanup(nc.Close)
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	c, err := New(nc, subjects)
	natstest.Check(t, err)
	return c
}

// A client that NATS refuses a permission learns that at once, and whom to ask. What it is permitted goes on.
func TestNotPermitted(t *testing.T) {
	c, url := newTeam(t)
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	waiting := make(chan error, 1)
	go func() { // of a command that nobody answers
		_, err := c.Start(ctx, web, time.Minute, wire.Sender{})
		waiting <- err
	}()
	natstest.Check(t, c.Ping(ctx, web))
	natstest.Check(t, c.Lease(ctx, "gw", web, time.Hour))
	_, err := c.Status(ctx, web)
	natstest.Check(t, err)
	deaf := func() *Client { return teamClient(t, url, "") }
	for name, do := range map[string]func() error{
		`"cortex.mcp.activity.team-b.files.v2"`:   func() error { return c.Ping(ctx, web, files) },
		`"cortex.mcp.lease.gw.team-b.files.v2"`:   func() error { return c.Lease(ctx, "gw", files, time.Hour) },
		`"cortex.mcp.lease.\"\\.team-b.files.v2"`: func() error { return c.Lease(ctx, `"\`, files, time.Hour) },
		`"cortex.mcp.api.status.team-b.files.v2"`: func() error { _, err := c.Status(ctx, files); return err },
		`"cortex.mcp.api.stop.team-b.files.v2"`:   func() error { _, err := c.Stop(ctx, files, false, wire.Sender{}); return err },
		`"cortex.mcp.api.pause"`:                  func() error { _, err := c.Pause(ctx, wire.ID{}, wire.Sender{}); return err },
		`"cortex.mcp.api.list"`:                   func() error { _, err := c.List(ctx, "", ""); return err },
		`"cortex.mcp.event.>"`:                    func() error { return c.Watch(ctx, "", nil) },
		"inbox prefix":                            func() error { _, err := deaf().Status(ctx, web); return err },
		"--nats-inbox-prefix":                     func() error { return deaf().Ping(ctx, web) },
	} {
		began := time.Now()
		if err := do(); !errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "deploy/nats") {
			t.Errorf("%s: got %v", name, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: it was waited for the answer for %s", name, took)
		}
	}
	select {
	case err := <-waiting:
		t.Errorf("another's refusal has ended what is permitted: %v", err)
	default:
	}
	cancel()
	if err := wait.For(t, "the end of the command", waiting); !errors.Is(err, ErrInterrupted) {
		t.Errorf("got %v", err)
	}
}

// A ping, or a lease, that no stream takes is lost: who sends it is told so, and what is missing.
func TestNoStreamTakesIt(t *testing.T) {
	w := natstest.New(t)
	c := newClient(w)
	for name, do := range map[string]func() error{
		"a ping":  func() error { return c.Ping(t.Context(), web, files) },
		"a lease": func() error { return c.Lease(t.Context(), "gw", web, time.Hour) },
	} {
		if err := do(); !errors.Is(err, ErrNoStream) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w.Shutdown()
	wait.Until(t, "the loss of the connection", func() bool { return !c.nc.IsConnected() })
	for name, err := range map[string]error{"a ping": c.Ping(t.Context(), web), "a lease": c.Lease(t.Context(), "gw", web, time.Hour)} {
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s without NATS: got %v", name, err)
		}
	}
}

// If no stream takes a ping, or the stream is full, the error says that, and not that NATS is away.
func TestPingIsNotTaken(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c, js := newClient(w), w.JetStream()
	natstest.Check(t, c.Ping(t.Context(), web))
	config := w.Info(stream.Activity.Name(w.Subjects)).Config
	config.MaxMsgs = 1
	_, err := js.UpdateStream(t.Context(), config)
	natstest.Check(t, err)
	full := c.Ping(t.Context(), files)
	natstest.Check(t, js.DeleteStream(t.Context(), config.Name))
	_, err = c.nc.Subscribe(w.Subjects.Activity(web), func(m *nats.Msg) { _ = m.Respond([]byte("thanks")) })
	natstest.Check(t, err)
	foreign := c.Ping(t.Context(), web)
	for want, got := range map[string]error{"team-b/files.v2: the stream does not take it: maximum messages": full, "team-a/web: no stream, but something else answers on this subject": foreign} {
		if got == nil || !strings.HasPrefix(got.Error(), want) || errors.Is(got, ErrUnreachable) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// Pings are in the log when Ping returns; of those with one among them that makes no sense none is
// sent.
func TestClientPings(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c, err := New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	natstest.Check(t, c.Ping(context.Background(), web, files))
	if n := w.Info(stream.Activity.Name(w.Subjects)).State.Msgs; n != 2 {
		t.Errorf("when Ping has returned the log holds %d", n)
	}
	if err := c.Ping(context.Background(), web, wire.ID{Namespace: "a", Name: "*"}); err == nil {
		t.Error("a ping to nobody is sent")
	}
	if n := w.Info(stream.Activity.Name(w.Subjects)).State.LastSeq; n != 2 {
		t.Errorf("%d pings are sent, though one of them makes no sense", n)
	}
	c.nc.Close()
	if err := c.Ping(context.Background(), web); err == nil {
		t.Error("a ping without NATS is no error")
	}
}
