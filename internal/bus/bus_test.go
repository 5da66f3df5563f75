package bus

import (
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/scaler"
)

// The tests run against the real NATS server, each against its own.

var (
	web   = scaler.ID{Namespace: "team-a", Name: "web"}
	files = scaler.ID{Namespace: "team-b", Name: "files.v2"}
	quiet = slog.New(slog.DiscardHandler)
)

// patiently is how long a test waits for what must happen. It is never waited for what does.
const patiently = time.Minute

// world is a NATS server of one test, which can be ended and begun again.
type world struct {
	t        testing.TB
	dir      string
	port     int
	server   *Embedded
	subjects Subjects
}

func newWorld(t testing.TB) *world {
	t.Helper()
	subjects, err := NewSubjects(DefaultPrefix)
	check(t, err)
	w := &world{t: t, dir: t.TempDir(), subjects: subjects}
	w.begin()
	u, err := url.Parse(w.server.URL())
	check(t, err)
	w.port, err = strconv.Atoi(u.Port())
	check(t, err)
	t.Cleanup(func() { w.server.Shutdown() })
	return w
}

// newWorldWithStreams is newWorld, with the streams of cluster "here".
func newWorldWithStreams(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	check(t, w.ensure())
	return w
}

func (w *world) begin() {
	w.t.Helper()
	var err error
	w.server, err = StartEmbedded(w.dir, w.port, quiet)
	check(w.t, err)
}

func (w *world) connect() *nats.Conn {
	w.t.Helper()
	nc, err := Connect(Options{URLs: []string{w.server.URL()}, Name: w.t.Name()}, quiet)
	check(w.t, err)
	w.t.Cleanup(nc.Close)
	return nc
}

func (w *world) jetStream() jetstream.JetStream {
	w.t.Helper()
	js, err := jetstream.New(w.connect())
	check(w.t, err)
	return js
}

func (w *world) options() StreamOptions {
	return StreamOptions{Subjects: w.subjects, Owner: "here", Replicas: 1}
}

func (w *world) ensure() error {
	nc := w.connect()
	defer nc.Close()
	return EnsureStreams(context.Background(), nc, w.options(), quiet)
}

func (w *world) info(stream string) *jetstream.StreamInfo {
	w.t.Helper()
	s, err := w.jetStream().Stream(context.Background(), stream)
	check(w.t, err)
	return s.CachedInfo()
}

// run runs something until the test, or stop, ends it.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			check(t, err)
		case <-time.After(patiently):
			t.Error("Run does not return")
		}
	}
	t.Cleanup(stop)
	return stop
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patiently); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patiently, what)
		}
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patiently):
		t.Fatalf("not within %s: %s", patiently, what)
		panic("unreachable")
	}
}
