package scaler

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// world is a Scaler that leads, in a bubble of synctest, with the fakes around it.
type world struct {
	*Scaler
	t       *testing.T
	cluster *fakeCluster
	pods    *fakePods
	bus     *fakeBus
	meter   *noMeter
	tracker *activity.Tracker
	clock   *activity.Clock
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

// named is the same server by another name.
func named(name string, server func() *Server) func() *Server {
	return with(server, func(s *Server) { s.ID.Name = name })
}

// with is the same server with a change.
func with(server func() *Server, change func(*Server)) func() *Server {
	return func() *Server {
		s := server()
		change(s)
		return s
	}
}

// set is the same server with annotations: a key, its value, and so on.
func set(server func() *Server, pairs ...string) func() *Server {
	written := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		written[pairs[i]] = pairs[i+1]
	}
	return with(server, func(s *Server) {
		s.Settings, s.Sources, s.Bad = policy.Parse(policy.Layer{Source: policy.FromServer, Written: written})
	})
}

// lead runs the test in a bubble where a Scaler leads and the log has been complete for two
// idle-afters.
func lead(t *testing.T, test func(w *world), servers ...func() *Server) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, servers...)
		w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-2 * idleAfter)}, time.Now().Add(-time.Hour))
		w.begin(func() bool { return true })
		defer func() { w.end() }() // also when the test fails: what goes on in a bubble would hide why
		test(w)
	})
}

func newWorld(t *testing.T, servers ...func() *Server) *world {
	w := &world{
		t: t, cluster: newCluster(), pods: &fakePods{diagnoses: make(chan Diagnosis, 1)}, bus: &fakeBus{}, meter: &noMeter{},
		tracker: activity.NewTracker(2 * time.Minute), clock: new(activity.Clock),
	}
	for _, s := range servers {
		w.cluster.put(*s())
	}
	w.Scaler = New(DefaultConfig(), w.tracker, World{
		Cache: w.cluster, Cluster: w.cluster, Pods: w.pods, Endpoints: w.cluster, Log: w.bus, Events: w.bus,
		Pauses: NewPauses(), Meter: w.meter, Now: w.clock.Now, Logger: slog.New(slog.DiscardHandler),
	})
	w.cluster.onChange = w.Enqueue
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

// do submits a command, waits for the server as a replica that took the request does, and returns
// the outcome; nil if the command was not finished within a day.
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
		if s := o.Server; o.Err == nil && c.Wait > 0 && s.Wanted() {
			ctx, cancel := context.WithTimeout(w.t.Context(), c.Wait)
			defer cancel()
			o.Server, o.Err = w.Await(ctx, Applied{s.ID, s.UID, s.Version, c.Verb == Scale, c.Wait},
				func(*Server) string { return w.last(Progress).Text })
		}
		return &o
	case <-time.After(24 * time.Hour):
		return nil
	}
}

// request does a command beside the test, as a replica that took a request.
func (w *world) request(c Command) <-chan Outcome {
	outcome := make(chan Outcome, 1)
	go func() {
		if o := w.do(c); o != nil {
			outcome <- *o
		}
	}()
	synctest.Wait()
	return outcome
}

var sequence atomic.Uint64

// stamp is the place of the next message of the stream.
func (w *world) stamp() activity.Stamp {
	return activity.Stamp{Sequence: sequence.Add(1), Time: w.now()}
}

// Submit submits a command that was taken when its stamp says.
func (w *world) Submit(ctx context.Context, c Command, finish func(Outcome)) {
	if c.Taken.IsZero() {
		c.Taken = c.Stamp.Time
	}
	w.Scaler.Submit(ctx, c, finish)
}

func (w *world) alpha() *Server { return w.server("alpha") }

func (w *world) server(name string) *Server {
	s, _ := w.cluster.Get(ID{Namespace: "team-a", Name: name})
	return s
}

// change is somebody's change of a server.
func (w *world) change(name string, change func(*Server)) {
	s := *w.server(name)
	change(&s)
	w.cluster.put(s)
	synctest.Wait()
}

// getReady makes a server as ready as is wanted, for a cluster that is slow.
func (w *world) getReady(name string) {
	w.change(name, func(s *Server) {
		s.Observed, s.Ready, s.Updated, s.Total = s.Generation, s.Replicas, s.Replicas, s.Replicas
	})
}

func (w *world) sweep() Sweep {
	w.t.Helper()
	sweep, err := w.Sweep()
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return sweep
}

func (w *world) ping() { w.pingTo("alpha") }

func (w *world) pingTo(name string) {
	id := ID{Namespace: "team-a", Name: name}
	w.tracker.Ping(id, w.stamp())
	w.Enqueue(id)
	synctest.Wait()
}

// lease leases alpha from now on; a ttl of 0 ends that.
func (w *world) lease(ttl time.Duration) {
	w.tracker.Lease(alpha, "gateway", time.Now(), ttl)
	w.Enqueue(alpha)
	synctest.Wait()
}

func (w *world) expectReplicas(want int) {
	w.t.Helper()
	w.expect("alpha", want)
}

func (w *world) expect(name string, want int) {
	w.t.Helper()
	synctest.Wait()
	if got := w.server(name).Replicas; got != want {
		w.t.Fatalf("%s has %d replicas, want %d", name, got, want)
	}
}

// expectPublished compares the types of all events so far, except ready, which may come between any
// others.
func (w *world) expectPublished(want ...EventType) {
	w.t.Helper()
	synctest.Wait()
	got := slices.DeleteFunc(w.bus.types(), func(kind EventType) bool { return kind == Ready })
	if !slices.Equal(got, want) {
		w.t.Fatalf("published %v, want %v", got, want)
	}
}

// last is the last event of a type.
func (w *world) last(kind EventType) Event {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	for _, e := range slices.Backward(w.bus.kept) {
		if e.Type == kind {
			return e
		}
	}
	return Event{}
}

// nextLeader ends the term and begins another, of a process that knows what the stream has.
func (w *world) nextLeader() {
	w.end()
	w.bus.mu.Lock()
	type subject struct {
		server ID
		kind   EventType
	}
	last := map[subject]string{}
	for _, e := range w.bus.kept {
		last[subject{e.Server, e.Type}] = e.ID
	}
	w.bus.known = map[string]bool{}
	for _, id := range last {
		w.bus.known[id] = true
	}
	w.bus.mu.Unlock()
	w.begin(func() bool { return true })
}
