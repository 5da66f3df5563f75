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

// newTeam returns a client with the permissions of a team in deploy/nats, and the URL of its
// server. The server has the daemon's streams, and nobody who answers anything but a status.
func newTeam(t *testing.T) (*Client, string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{
			{Username: "daemon", Password: "x"},
			{Username: "team", Password: "x", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{
					"cortex.mcp.command.*.team-a.>", "cortex.mcp.activity.team-a.>", "cortex.mcp.lease.*.team-a.>",
					"cortex.mcp.api.*.team-a", "cortex.mcp.api.*.team-a.>",
				}},
				Subscribe: &server.SubjectPermission{Allow: []string{"cortex.mcp.event.*.team-a.>", "_INBOX.team.>"}},
			}},
		},
	})
	natstest.Check(t, err)
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(wait.Patience) {
		t.Fatal("the server does not start")
	}
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	daemon := connect(t, natsconn.Options{URLs: []string{s.ClientURL()}, User: "daemon"})
	options := stream.Options{Subjects: subjects, Owner: "here", Replicas: 1}
	natstest.Check(t, stream.Ensure(t.Context(), daemon, options, natstest.Quiet))
	_, err = daemon.Subscribe("cortex.mcp.api.>", func(m *nats.Msg) {
		if strings.HasPrefix(m.Subject, "cortex.mcp.api.status") {
			_ = m.Respond([]byte(`{"name":"web"}`))
		}
	})
	natstest.Check(t, errors.Join(err, daemon.Flush()))
	return teamClient(t, s.ClientURL(), "_INBOX.team"), s.ClientURL()
}

func connect(t *testing.T, o natsconn.Options) *nats.Conn {
	t.Helper()
	o.Name, o.Password = o.User, "x"
	nc, err := natsconn.Connect(o, natstest.Quiet)
	natstest.Check(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func teamClient(t *testing.T, url, inbox string) *Client {
	t.Helper()
	nc := connect(t, natsconn.Options{URLs: []string{url}, User: "team", InboxPrefix: inbox})
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	c, err := New(nc, subjects)
	natstest.Check(t, err)
	return c
}

// A request that NATS denies ends at once, with an error that says whom to ask. Other requests of
// the client go on.
func TestNotPermitted(t *testing.T) {
	c, url := newTeam(t)
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	permitted := make(chan error, 1)
	go func() { // nobody answers it
		_, err := c.Start(ctx, web, time.Minute, wire.Sender{})
		permitted <- err
	}()
	natstest.Check(t, c.Ping(ctx, web))
	natstest.Check(t, c.Lease(ctx, "gw", web, time.Hour))
	_, err := c.Status(ctx, web)
	natstest.Check(t, err)
	noInbox := func() *Client { return teamClient(t, url, "") }
	by := wire.Sender{}
	for name, do := range map[string]func() error{
		`"cortex.mcp.activity.team-b.files.v2"`:   func() error { return c.Ping(ctx, web, files) },
		`"cortex.mcp.lease.gw.team-b.files.v2"`:   func() error { return c.Lease(ctx, "gw", files, time.Hour) },
		`"cortex.mcp.lease.\"\\.team-b.files.v2"`: func() error { return c.Lease(ctx, `"\`, files, time.Hour) },
		`"cortex.mcp.api.status.team-b.files.v2"`: func() error { _, err := c.Status(ctx, files); return err },
		`"cortex.mcp.api.stop.team-b.files.v2"`:   func() error { _, err := c.Stop(ctx, files, false, by); return err },
		`"cortex.mcp.api.pause"`:                  func() error { _, err := c.Pause(ctx, wire.ID{}, by); return err },
		`"cortex.mcp.api.list"`:                   func() error { _, err := c.List(ctx, "", ""); return err },
		`"cortex.mcp.event.>"`:                    func() error { return c.Watch(ctx, "", nil) },
		"inbox prefix":                            func() error { _, err := noInbox().Status(ctx, web); return err },
		"--nats-inbox-prefix":                     func() error { return noInbox().Ping(ctx, web) },
	} {
		began := time.Now()
		err := do()
		if !errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), "deploy/nats") {
			t.Errorf("%s: got %v", name, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: waited %s for the answer", name, took)
		}
	}
	select {
	case err := <-permitted:
		t.Errorf("the denial of another request ended it: %v", err)
	default:
	}
	cancel()
	if err := wait.For(t, "the end of the command", permitted); !errors.Is(err, ErrInterrupted) {
		t.Errorf("got %v", err)
	}
}

// A ping or a lease that no stream takes is lost, so it is an error that says what is missing.
func TestNoStreamTakesIt(t *testing.T) {
	w := natstest.New(t)
	c := newClient(w)
	sends := map[string]func() error{
		"a ping":  func() error { return c.Ping(t.Context(), web, files) },
		"a lease": func() error { return c.Lease(t.Context(), "gw", web, time.Hour) },
	}
	for name, send := range sends {
		if err := send(); !errors.Is(err, ErrNoStream) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w.Shutdown()
	wait.Until(t, "the loss of the connection", func() bool { return !c.nc.IsConnected() })
	for name, send := range sends {
		if err := send(); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s without NATS: got %v", name, err)
		}
	}
}

// When the stream of pings is full or missing, the error says that, and not that NATS is away.
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
	noStream := c.Ping(t.Context(), web)
	for want, got := range map[string]error{
		"team-b/files.v2: the stream does not take it: maximum messages":    full,
		"team-a/web: no stream, but something else answers on this subject": noStream,
	} {
		if got == nil || !strings.HasPrefix(got.Error(), want) || errors.Is(got, ErrUnreachable) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// When Ping returns, the stream has the pings. One impossible name keeps all of them from being
// sent.
func TestClientPings(t *testing.T) {
	w := natstest.NewWithStreams(t)
	c, err := New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	natstest.Check(t, c.Ping(context.Background(), web, files))
	if n := w.Info(stream.Activity.Name(w.Subjects)).State.Msgs; n != 2 {
		t.Errorf("when Ping returned, the stream had %d", n)
	}
	if err := c.Ping(context.Background(), web, wire.ID{Namespace: "a", Name: "*"}); err == nil {
		t.Error("a ping of an impossible name is no error")
	}
	if n := w.Info(stream.Activity.Name(w.Subjects)).State.LastSeq; n != 2 {
		t.Errorf("the stream got %d pings, want only the first 2", n)
	}
	c.nc.Close()
	if err := c.Ping(context.Background(), web); err == nil {
		t.Error("a ping without NATS is no error")
	}
}
