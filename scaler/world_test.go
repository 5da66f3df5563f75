package scaler

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// The fakes of this file stand for the cluster, its pods and the bus. They do what the real ones do in a compare-and-set world;
// what the real ones do beyond that is tested on the real servers, in internal and test/e2e.

// fakeCluster is Cache, Cluster and Endpoints at once: a map of Deployments with versions. Its replicas get ready at once
// unless slow is set.
type fakeCluster struct {
	mu       sync.Mutex
	servers  map[ID]*Server
	watchers map[chan struct{}]bool
	version  int
	slow     bool
	reads    int
	writes   []*Server
	onWrite  func(*Server) error // says how the next writes go; ErrUnsure is returned after the write is done
}

func newCluster(servers ...*Server) *fakeCluster {
	c := &fakeCluster{servers: map[ID]*Server{}, watchers: map[chan struct{}]bool{}}
	for _, s := range servers {
		c.put(*s)
	}
	return c
}

// put is anybody's write.
func (c *fakeCluster) put(s Server) *Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store(s)
}

// remove deletes a Deployment.
func (c *fakeCluster) remove(id ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.servers, id)
}

func (c *fakeCluster) store(s Server) *Server {
	c.version++
	s.UID, s.Version = "uid-"+s.ID.Name, strconv.Itoa(c.version)
	if old := c.servers[s.ID]; old == nil || old.Replicas != s.Replicas {
		s.Generation++
	}
	if !c.slow {
		s.Observed, s.Ready, s.Updated, s.Total = s.Generation, s.Replicas, s.Replicas, s.Replicas
	}
	c.servers[s.ID] = &s
	for w := range c.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	return &s
}

func (c *fakeCluster) Synced() bool { return true }

func (c *fakeCluster) Get(id ID) (*Server, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.servers[id]
	return s, ok
}

func (c *fakeCluster) All(yield func(*Server) bool) {
	c.mu.Lock()
	var all []*Server
	for _, s := range c.servers {
		all = append(all, s)
	}
	c.mu.Unlock()
	for _, s := range all {
		if !yield(s) {
			return
		}
	}
}

func (c *fakeCluster) Watch(ID) (<-chan struct{}, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := make(chan struct{}, 1)
	c.watchers[w] = true
	return w, func() { c.mu.Lock(); defer c.mu.Unlock(); delete(c.watchers, w) }
}

func (c *fakeCluster) Fresh(_ context.Context, id ID) (*Server, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if s, ok := c.servers[id]; ok {
		return s, nil
	}
	return nil, ErrUnknown
}

func (c *fakeCluster) Write(_ context.Context, server *Server, replicas int, mark Mark) (*Server, error) {
	if c.onWrite != nil {
		if err := c.onWrite(server); err == ErrUnsure { //nolint:errorlint // the fake's own
			defer c.put(written(server, replicas, mark))
			return nil, err
		} else if err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.servers[server.ID]; now == nil {
		return nil, ErrUnknown
	} else if now.Version != server.Version {
		return nil, ErrConflict
	}
	s := c.store(written(server, replicas, mark))
	c.writes = append(c.writes, s)
	return s, nil
}

func written(server *Server, replicas int, mark Mark) Server {
	s := *server
	if s.Replicas != replicas {
		s.Writer, s.Ours = "idle-scaler", true
	}
	s.Replicas, s.Mark = replicas, mark
	return s
}

func (c *fakeCluster) Endpoints(*Server) []Endpoint { return nil }

// fakePods diagnose what they are told, and count the kills.
type fakePods struct {
	diagnoses chan Diagnosis
	killed    []ID
}

func (p *fakePods) Diagnose(context.Context, *Server) <-chan Diagnosis { return p.diagnoses }
func (p *fakePods) Kill(_ context.Context, s *Server) error {
	p.killed = append(p.killed, s.ID)
	return nil
}

// fakeBus is Events and ActivityLog: it keeps what was published, and can be away.
type fakeBus struct {
	mu    sync.Mutex
	away  error
	kept  []Event
	known map[string]bool
	prove func() // what happens while the log is asked
}

func (b *fakeBus) Publish(_ context.Context, e Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away == nil {
		b.kept = append(b.kept, e)
	}
	return b.away
}
func (b *fakeBus) Known(context.Context) (map[string]bool, error) { return b.known, nil }

func (b *fakeBus) Prove(context.Context) error {
	if b.prove != nil {
		b.prove()
	}
	return b.away
}

func (b *fakeBus) types() (types []EventType) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.kept {
		types = append(types, e.Type)
	}
	return types
}

type noMeter struct{ panics int }

func (*noMeter) Event(Event)                {}
func (*noMeter) Wake(string, time.Duration) {}
func (*noMeter) Swept(Sweep)                {}
func (m *noMeter) Panic()                   { m.panics++ }

// world is a Scaler that leads, in a bubble of synctest, with the fakes around it.
type world struct {
	*Scaler
	t       *testing.T
	cluster *fakeCluster
	pods    *fakePods
	bus     *fakeBus
	meter   *noMeter
	tracker *activity.Tracker
	end     func() // ends the term and waits for it
}

const idleAfter = 30 * time.Minute

var alpha = ID{Namespace: "team-a", Name: "alpha"}

// running is a server named alpha, an hour old and never used.
func running(replicas int) func() *Server {
	return func() *Server {
		return &Server{
			ID: alpha, Replicas: replicas, Created: time.Now().Add(-time.Hour),
			Settings: policy.Defaults(idleAfter), Writer: "kubectl",
		}
	}
}

// asleep is alpha with 3 replicas after the daemon put it to sleep a minute ago.
func asleep(because policy.Because) func() *Server {
	return func() *Server {
		s := running(0)()
		s.Mark = Mark{Restore: 3, Because: because, Asleep: time.Now().Add(-time.Minute)}
		s.Writer, s.Ours = "idle-scaler", true
		return s
	}
}

// lead runs the test in a bubble where a Scaler leads and the log has been heard for two idle-afters.
func lead(t *testing.T, test func(w *world), servers ...func() *Server) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, servers...)
		w.tracker.Hear(activity.Log{Born: time.Now().Add(-2 * idleAfter)}, time.Now().Add(-time.Hour))
		w.begin(func() bool { return true })
		test(w)
		w.end()
	})
}

func newWorld(t *testing.T, servers ...func() *Server) *world {
	w := &world{t: t, cluster: newCluster(), pods: &fakePods{diagnoses: make(chan Diagnosis, 1)}, bus: &fakeBus{}, meter: &noMeter{}, tracker: activity.NewTracker(2 * time.Minute)}
	for _, s := range servers {
		w.cluster.put(*s())
	}
	w.Scaler = New(DefaultConfig(), w.tracker, World{
		Cache: w.cluster, Cluster: w.cluster, Pods: w.pods, Endpoints: w.cluster, Log: w.bus, Events: w.bus, Meter: w.meter,
		Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	return w
}

// begin begins a term with a sweep once an hour: tests sweep when they want to.
func (w *world) begin(leads func() bool) {
	schedule, err := policy.ParseSchedule("@every 1h")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Lead(ctx, schedule, leads) }()
	synctest.Wait()
	w.end = func() { cancel(); <-ended }
}

// do submits a command and returns its outcome, nil if it was not finished within a day.
func (w *world) do(c Command) *Outcome {
	w.t.Helper()
	if c.Server == (ID{}) {
		c.Server = alpha
	}
	if c.Stamp.IsZero() {
		c.Stamp = w.stamp()
	}
	outcomes := make(chan Outcome, 1)
	w.Submit(w.t.Context(), c, func(o Outcome) { outcomes <- o })
	select {
	case o := <-outcomes:
		return &o
	case <-time.After(24 * time.Hour):
		return nil
	}
}

var sequence atomic.Uint64

// stamp is the place of the next message of the stream.
func (w *world) stamp() activity.Stamp {
	return activity.Stamp{Sequence: sequence.Add(1), Time: time.Now()}
}

func (w *world) alpha() *Server { s, _ := w.cluster.Get(alpha); return s }

func (w *world) sweep() Sweep {
	w.t.Helper()
	sweep, err := w.Sweep(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return sweep
}

func (w *world) ping() { w.tracker.Ping(alpha, w.stamp()); w.Consider(alpha); synctest.Wait() }

func (w *world) expectReplicas(want int) {
	w.t.Helper()
	synctest.Wait()
	if got := w.alpha().Replicas; got != want {
		w.t.Fatalf("alpha has %d replicas, want %d", got, want)
	}
}
