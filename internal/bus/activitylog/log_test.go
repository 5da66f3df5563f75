package activitylog

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/natsconn"
	"idle-scaler/scaler"
	"idle-scaler/test/clocktest"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// The Tracker is a cache of the log. After a restart of daemon and NATS it knows the same, with the
// sequences and the stamps of the stream.
func TestPingsAreReplayed(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	first := start(w, w.Connect())
	for _, id := range []scaler.ID{web, files, web} {
		ping(t, js, w.Subjects, id)
		wait.For(t, "a live ping", first.seen)
	}
	first.waitComplete(t)
	natstest.Check(t, first.Prove(context.Background()))
	before := first.last(web)
	m, err := w.Stream(stream.Activity.Name(w.Subjects)).GetMsg(context.Background(), 3)
	if err != nil || before.Sequence != 3 || !before.Time.Equal(m.Time) {
		t.Errorf("got %v, want the stream's %v %v", before, m, err)
	}
	first.stop()
	w.Shutdown()
	w.Start()

	second := start(w, w.Connect())
	second.waitComplete(t)
	if got := second.last(web); !got.Equal(before) {
		t.Errorf("got %v, want %v", got, before)
	}
	if got := second.last(files).Sequence; got != 2 {
		t.Errorf("got %d, want 2", got)
	}
	if c := second.Counts(); c.Pings < 2 || !c.Replayed || c.Skew != 0 { // a second reading counts again
		t.Errorf("got %+v", c)
	}
}

// Nobody can end or stall the reading of the log: a publisher can't make a ping look like a message
// of the NATS server itself.
func TestPingsThatLookLikeTheServer(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	l := start(w, w.Connect())
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		m := nats.NewMsg(w.Subjects.Activity(web))
		m.Header.Set("Status", status)
		m.Header.Set("Description", "Consumer Deleted")
		_, err := js.PublishMsg(context.Background(), m)
		natstest.Check(t, err)
		wait.For(t, "the ping with status "+status, l.seen)
	}
	l.waitComplete(t)
	natstest.Check(t, l.Prove(context.Background()))
}

// A log that never held a ping proves nothing. The first ping ends that.
func TestEmptyLogIsBlind(t *testing.T) {
	w := natstest.NewWithStreams(t)
	l := start(w, w.Connect())
	l.waitBlind(t, "never held a ping")
	natstest.Check(t, l.Prove(context.Background()))
	ping(t, w.JetStream(), w.Subjects, web)
	l.waitComplete(t)
}

// While NATS is away the log is blind, and that time is not idle time. Afterwards the log stays
// blind for the settle time, and the Tracker knows the pings that were sent meanwhile.
func TestDisconnected(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	const settle = time.Hour
	l := start(w, w.Connect(), func(c *Config) { c.Tracker = activity.NewTracker(settle) })
	blindness := func() string { return l.config.Tracker.Coverage(time.Now().Add(settle)).Blind } // after it has settled
	wait.Until(t, "the log to be complete", func() bool { return blindness() == "" })
	since := time.Now()
	w.Shutdown()
	wait.Until(t, "blindness", func() bool { return blindness() != "" })
	wait.Until(t, "the loss of the connection", func() bool { return !l.nc.IsConnected() })
	if err := l.Prove(context.Background()); err == nil {
		t.Error("silence is proven without NATS")
	}
	time.Sleep(100 * time.Millisecond) // NATS is away for at least this long
	w.Start()
	ping(t, w.JetStream(), w.Subjects, files)
	l.waitBlind(t, "again only since a moment ago")
	wait.Until(t, "the ping that was sent meanwhile", func() bool { return l.last(files).Sequence == 2 })
	wait.Until(t, "the log to be complete again", func() bool { return blindness() == "" })
	now := time.Now()
	if idle := l.coverage().Idle(since, now); idle > now.Sub(since)-100*time.Millisecond {
		t.Errorf("idle for %s of %s, though NATS was away for more than 100ms", idle, now.Sub(since))
	}
}

// The next proof notices a connection that leads nowhere, long before TCP or NATS would.
func TestBlackHole(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	proxy, nc := newProxy(t, w.URL())
	l := start(w, nc, impatient)
	l.waitComplete(t)
	proxy.hole.Store(true)
	l.waitBlind(t, "deadline exceeded")
	if err := l.Prove(context.Background()); err == nil {
		t.Error("silence is proven over a connection that leads nowhere")
	}
	proxy.hole.Store(false)
	l.waitComplete(t)
}

// On a NATS cluster the leader of each stream stamps by its own clock. The clock of the log is that
// of the pings. A lease is shifted to it when it comes. The log warns once while the two differ.
func TestStreamsWithClocksThatDiffer(t *testing.T) {
	w := natstest.NewWithStreams(t)
	proxy, nc := newProxy(t, w.URL())
	var logged wait.Buffer
	l := start(w, nc, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	ping(t, w.JetStream(), w.Subjects, web)
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	l.waitComplete(t)
	leases, pings := stream.Leases.Name(w.Subjects), stream.Activity.Name(w.Subjects)
	for _, row := range []struct {
		name     string
		clock    *wrongClock
		skew     time.Duration // of the clock of the log
		lasts    time.Duration // a lease of 20m that the right clock stamps, by the clock of this process
		warnings int
	}{
		{"all clocks are right", nil, 0, 20 * time.Minute, 0},
		{"leases behind", &wrongClock{leases, 5 * time.Minute}, 0, 25 * time.Minute, 1},
		{"leases ahead", &wrongClock{leases, -5 * time.Minute}, 0, 15 * time.Minute, 1},
		{"all clocks are right again", nil, 0, 20 * time.Minute, 1},
		{"pings ahead", &wrongClock{pings, -5 * time.Minute}, -5 * time.Minute, 25 * time.Minute, 2},
	} {
		proxy.clock.Store(row.clock)
		wait.Until(t, row.name, func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.skewed == (row.clock != nil) && l.config.Clock.Skew().Round(time.Minute) == row.skew &&
				l.leases.clockShift().Round(time.Minute) == row.lasts-20*time.Minute &&
				strings.Count(logged.String(), "the clocks of the NATS servers differ") == row.warnings
		})
		holder, began := strings.ReplaceAll(row.name, " ", "-"), time.Now()
		natstest.Check(t, c.Lease(context.Background(), holder, web, 20*time.Minute))
		wait.Until(t, row.name+": a lease for "+row.lasts.String(), func() bool {
			for _, lease := range l.config.Tracker.Leases(web, l.config.Clock.Now()) {
				if lease.Holder == holder {
					return lease.Until.Sub(began).Round(time.Minute) == row.lasts
				}
			}
			return false
		})
	}
}

// Nothing is proven while the Tracker does not know everything in the log, whatever was proven
// before.
func TestProveWhileBehind(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	l := start(w, w.Connect(), impatient)
	l.waitProof(t)
	l.blocks.Store(true)
	ping(t, w.JetStream(), w.Subjects, web, files)
	wait.For(t, "the ping that blocks", l.blocked)
	l.waitBlind(t, errBehind.Error())
	if err := l.Prove(context.Background()); err == nil {
		t.Error("silence is proven, though two pings are not known")
	}
	l.blocks.Store(false)
	close(l.release)
	l.waitComplete(t)
	l.waitProof(t)
	if l.last(files).Sequence != 3 {
		t.Error("silence is proven, though a ping is not known")
	}
}

// A proof ends when somebody sets the wall clock, or the machine was suspended. The clock of NATS
// is measured again before silence proves anything.
func TestProofEndsWhenTheClockIsSet(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web)
	l := start(w, w.Connect(), func(c *Config) { c.Interval = time.Hour })
	l.waitComplete(t)
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		natstest.Check(t, l.Prove(context.Background()))
		l.mu.Lock()
		l.proven = clocktest.Stepped(l.proven, -by)
		l.mu.Unlock()
		now := time.Now() // as if the machine had been suspended since the last measurement:
		l.config.Clock.Measured(now.Add(-time.Hour), now, now)
		natstest.Check(t, l.Prove(context.Background()))
		if skew := l.config.Clock.Skew(); skew.Abs() > time.Second {
			t.Errorf("set by %s: the clock of NATS seems to be %s behind", by, skew)
		}
	}
}

// A reader replaces a consumer that was deleted.
func TestConsumerIsDeleted(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web)
	l := start(w, w.Connect())
	l.waitComplete(t)
	stream := w.Stream(stream.Activity.Name(w.Subjects))
	for name := range stream.ConsumerNames(context.Background()).Name() {
		natstest.Check(t, stream.DeleteConsumer(context.Background(), name))
	}
	ping(t, js, w.Subjects, files)
	wait.Until(t, "the ping after it", func() bool { return l.last(files).Sequence == 2 })
	l.waitComplete(t)
}

// The log is complete although its last message was deleted before any consumer delivered it.
func TestLastMessageIsDeleted(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	natstest.Check(t, w.Stream(stream.Activity.Name(w.Subjects)).DeleteMsg(context.Background(), 2))
	l := start(w, w.Connect())
	l.waitComplete(t)
	natstest.Check(t, l.Prove(context.Background()))
	ping(t, js, w.Subjects, files)
	wait.Until(t, "the ping after it", func() bool { return l.last(files).Sequence == 3 })
	l.waitComplete(t)
}

// A log that somebody has changed so that it forgets too early proves nothing from that moment on.
func TestChangedLogIsBlind(t *testing.T) {
	w := natstest.New(t)
	js := w.JetStream()
	config := w.Options().Config(stream.Activity)
	_, err := js.CreateStream(context.Background(), config)
	natstest.Check(t, err)
	natstest.Check(t, w.Ensure(context.Background()))
	ping(t, js, w.Subjects, web, files, scaler.ID{Namespace: "team-c", Name: "third"})
	l := start(w, w.Connect())
	l.waitComplete(t)
	config = w.Info(config.Name).Config
	config.MaxMsgs = 3
	_, err = js.UpdateStream(context.Background(), config)
	natstest.Check(t, err)
	l.waitBlind(t, "max_msgs")
}

// A proof does not count when the log was lost while it was under way, because it read the log
// before.
func TestLossDuringProof(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	l := start(w, w.Connect(), func(c *Config) { c.Interval, c.Patience = time.Hour, time.Minute })
	l.waitComplete(t)
	l.blocks.Store(true)
	ping(t, w.JetStream(), w.Subjects, web)
	wait.For(t, "the ping that blocks", l.blocked)
	proven := l.expireProof()
	result := make(chan error, 1)
	go func() { result <- l.Prove(context.Background()) }()
	wait.Until(t, "a proof that waits for the ping", func() bool {
		l.pings.mu.Lock()
		defer l.pings.mu.Unlock()
		return l.pings.awaited == 2
	})
	l.lose(natsconn.ErrDisconnected)
	close(l.release)
	if err := wait.For(t, "its result", result); err == nil || l.coverage().Blind == "" {
		t.Errorf("got %v, blind %q", err, l.coverage().Blind)
	}
	// The log may have been lost at any time since the last proof.
	if want := proven.UTC().Format(time.RFC3339); !strings.Contains(l.coverage().Blind, want) {
		t.Errorf("blind %q, want since %s", l.coverage().Blind, want)
	}
}

// Callers at the same time share one proof, so a sweep of thousands of servers costs a few
// requests.
func TestProveIsShared(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	nc := w.Connect()
	l := start(w, nc, func(c *Config) { c.Interval, c.Patience = time.Hour, wait.Patience })
	l.waitReplayed(t)
	var asked atomic.Int64
	_, err := nc.Subscribe("$JS.API.STREAM.INFO.>", func(*nats.Msg) { asked.Add(1) })
	natstest.Check(t, err)
	natstest.Check(t, nc.Flush())
	l.expireProof()
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() { natstest.Check(t, l.Prove(context.Background())) })
	}
	all.Wait()
	if n := asked.Load(); n == 0 || n > 6 {
		t.Errorf("1000 proofs asked %d times, want 3: once for each stream", n)
	}
}
