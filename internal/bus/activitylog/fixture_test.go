package activitylog

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var web, files = natstest.Web, natstest.Files

// testConfig returns the Config of a Log with a Tracker that needs no time to settle.
func testConfig(w *natstest.Server) Config {
	return Config{
		Subjects: w.Subjects, Ensure: w.Ensure,
		Tracker: activity.NewTracker(0), Clock: new(activity.Clock), Pauses: scaler.NewPauses(),
		Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: natstest.Quiet,
	}
}

// impatient lets a proof that must fail do so soon. One that must succeed has many tries.
func impatient(c *Config) { c.Patience = 300 * time.Millisecond }

// testLog is a Log under test.
type testLog struct {
	*Log
	seen    chan activity.ID // by OnActivity
	blocks  atomic.Bool      // OnActivity waits for release
	blocked chan struct{}    // has an element for each call that waits
	release chan struct{}
	stop    func()
}

// start runs a Log, as a daemon does when it starts.
func start(w *natstest.Server, nc *nats.Conn, change ...func(*Config)) *testLog {
	w.T.Helper()
	config := testConfig(w)
	for _, c := range change {
		c(&config)
	}
	log, err := New(nc, config)
	natstest.Check(w.T, err)
	l := &testLog{
		Log: log, seen: make(chan activity.ID, 1000), blocked: make(chan struct{}, 10), release: make(chan struct{}),
	}
	l.OnActivity = func(id activity.ID) {
		if l.blocks.Load() {
			l.blocked <- struct{}{}
			<-l.release
			return
		}
		l.seen <- id
	}
	l.stop = wait.Run(w.T, l.Run)
	return l
}

func (l *testLog) coverage() activity.Coverage { return l.config.Tracker.Coverage(time.Now()) }

func (l *testLog) last(id scaler.ID) activity.Stamp { return l.config.Tracker.Of(id).Last }

func (l *testLog) leased(id scaler.ID) bool { return l.config.Tracker.Of(id).Leased(time.Now()) }

func (l *testLog) paused(id scaler.ID) string { return l.config.Pauses.Of(id).Scope }

func (l *testLog) waitReplayed(t testing.TB) {
	t.Helper()
	wait.Until(t, "the replay", func() bool { return l.Counts().Replayed })
}

func (l *testLog) waitComplete(t testing.TB) {
	t.Helper()
	wait.Until(t, "a log that is not blind", func() bool { return l.coverage().Blind == "" })
}

func (l *testLog) waitBlind(t testing.TB, why string) {
	t.Helper()
	wait.Until(t, "a log that is blind because of "+why, func() bool { return strings.Contains(l.coverage().Blind, why) })
}

func (l *testLog) waitProof(t testing.TB) {
	t.Helper()
	wait.Until(t, "a proof", func() bool { return l.Prove(context.Background()) == nil })
}

// expireProof makes the next call of Prove ask NATS.
func (l *testLog) expireProof() (proven time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proven = time.Now().Add(-time.Hour)
	return l.proven
}

func ping(t testing.TB, js jetstream.JetStream, subjects wire.Subjects, ids ...scaler.ID) {
	t.Helper()
	for _, id := range ids {
		_, err := js.Publish(context.Background(), subjects.Activity(id), nil)
		natstest.Check(t, err)
	}
}
