// Package natstest gives each test a real NATS server of its own.
package natstest

import (
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/embedded"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
)

// Quiet is a logger that says nothing.
var Quiet = slog.New(slog.DiscardHandler)

// Server is the NATS server of one test, which can be stopped and started again on the same port
// with the same streams.
type Server struct {
	*embedded.Server
	Subjects wire.Subjects // with the default prefix

	T    testing.TB
	Port int
	dir  string
}

// New starts a server. The end of the test ends it. Tests with servers of their own mostly wait:
// they run in parallel.
func New(t testing.TB) *Server {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	Check(t, err)
	s := &Server{Subjects: subjects, T: t, dir: t.TempDir()}
	s.Start()
	u, err := url.Parse(s.URL())
	Check(t, err)
	s.Port, err = strconv.Atoi(u.Port())
	Check(t, err)
	t.Cleanup(func() { s.Shutdown() })
	return s
}

// Start starts the server again after Shutdown.
func (s *Server) Start() {
	s.T.Helper()
	var err error
	s.Server, err = embedded.Start(s.dir, s.Port, Quiet)
	Check(s.T, err)
}

// Connect opens a connection as the daemon does.
func (s *Server) Connect() *nats.Conn {
	s.T.Helper()
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{s.URL()}, Name: s.T.Name()}, Quiet)
	Check(s.T, err)
	s.T.Cleanup(nc.Close)
	return nc
}

// JetStream returns a JetStream of a new connection.
func (s *Server) JetStream() jetstream.JetStream {
	s.T.Helper()
	js, err := jetstream.New(s.Connect())
	Check(s.T, err)
	return js
}

// Stream returns a stream, which must exist.
func (s *Server) Stream(name string) jetstream.Stream {
	s.T.Helper()
	found, err := s.JetStream().Stream(context.Background(), name)
	Check(s.T, err)
	return found
}

// Info returns the state and the configuration of a stream, which must exist.
func (s *Server) Info(name string) *jetstream.StreamInfo {
	s.T.Helper()
	return s.Stream(name).CachedInfo()
}

// Web and Files are servers of two teams. A name may contain dots.
var (
	Web   = wire.ID{Namespace: "team-a", Name: "web"}
	Files = wire.ID{Namespace: "team-b", Name: "files.v2"}
)

// NewWithStreams is New with the streams of cluster "here".
func NewWithStreams(t testing.TB) *Server {
	t.Helper()
	s := New(t)
	Check(t, s.Ensure(context.Background()))
	return s
}

// Options are those of the streams of cluster "here".
func (s *Server) Options() stream.Options {
	return stream.Options{Subjects: s.Subjects, Owner: "here", Replicas: 1}
}

// Ensure makes the streams of cluster "here", as its daemon does.
func (s *Server) Ensure(ctx context.Context) error {
	nc := s.Connect()
	defer nc.Close()
	return stream.Ensure(ctx, nc, s.Options(), Quiet)
}

// Check fails the test if there is an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
