package activitylog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// A lease is live until its end. It can be renewed, shortened and ended. Unreadable messages are
// counted.
func TestLeases(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	c, err := client.New(nc, w.Subjects)
	natstest.Check(t, err)
	ctx := context.Background()
	l := start(w, w.Connect())
	tracker := l.config.Tracker
	for _, lease := range []struct {
		holder string
		ttl    time.Duration
	}{{"gw", time.Hour}, {"gw", 2 * time.Hour}, {"session-7", time.Minute}} {
		natstest.Check(t, c.Lease(ctx, lease.holder, web, lease.ttl))
		wait.For(t, "the lease of "+lease.holder, l.seen)
	}
	live := tracker.Leases(web, time.Now())
	if len(live) != 2 || !tracker.Of(web).LeaseUntil.After(time.Now().Add(119*time.Minute)) {
		t.Errorf("got %+v", live)
	}
	for i, payload := range []string{"", "{}", `{"ttl":"25h"}`, `{"ttl":"-1s"}`, `{"ttl":5}`, "x"} {
		natstest.Check(t, nc.Publish(w.Subjects.Lease(fmt.Sprint("bad", i), files), []byte(payload)))
		wait.For(t, "an unreadable lease", l.seen)
	}
	natstest.Check(t, nc.Publish("cortex.mcp.lease.gw.Team.web", []byte(`{"ttl":"5m"}`)))
	natstest.Check(t, nc.Publish("cortex.mcp.activity.team-a", nil))
	wait.Until(t, "8 malformed messages", func() bool { return l.Counts().Malformed >= 8 })
	natstest.Check(t, c.Lease(ctx, "gw", web, 0))
	wait.Until(t, "the end of a lease", func() bool {
		live := tracker.Leases(web, time.Now())
		return len(live) == 1 && live[0].Holder == "session-7"
	})
	natstest.Check(t, c.Lease(ctx, "session-7", web, time.Millisecond))
	wait.Until(t, "the expiry of a lease", func() bool { return !l.leased(web) })

	again := start(w, w.Connect())
	again.waitReplayed(t)
	if again.leased(web) || again.config.Tracker.Of(web).LeaseUntil.IsZero() {
		t.Errorf("after a replay: got %+v", again.config.Tracker.Of(web))
	}
	for _, err := range []error{
		c.Lease(ctx, "a.b", web, 0), c.Lease(ctx, "gw", scaler.ID{}, 0), c.Lease(ctx, "gw", web, 25*time.Hour),
	} {
		if err == nil {
			t.Error("the client sends a lease that makes no sense")
		}
	}
}

// An unreadable lease has replaced in the log the message before it, which may be in force for as
// long as any lease can. So everybody who reads the log counts it as the longest lease, before and
// after a restart, until its holder sends another.
func TestUnreadableLease(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	c, err := client.New(nc, w.Subjects)
	natstest.Check(t, err)
	ctx := context.Background()
	natstest.Check(t, c.Lease(ctx, "gw", web, time.Hour))
	first := start(w, w.Connect())
	wait.For(t, "the lease", first.seen)
	natstest.Check(t, nc.Publish(w.Subjects.Lease("gw", web), []byte(`{"ttl":5}`)))
	// The stream of pings sends its acknowledgement to the subject of a lease.
	natstest.Check(t, nc.PublishRequest(w.Subjects.Activity(web), w.Subjects.Lease("gw", files), nil))
	wait.Until(t, "two unreadable leases", func() bool { return first.Counts().Malformed >= 2 && first.leased(files) })
	sent := time.Now()
	first.stop()
	w.Shutdown()
	w.Start()
	second := start(w, w.Connect())
	second.waitComplete(t)
	for _, l := range []*testLog{first, second} {
		for _, id := range []scaler.ID{web, files} {
			until := l.config.Tracker.Of(id).LeaseUntil
			if until.Before(sent.Add(wire.MaxTTL-time.Minute)) || until.After(sent.Add(wire.MaxTTL)) {
				t.Errorf("%s is leased until %s, want for %s", id, until, wire.MaxTTL)
			}
		}
	}
	c, err = client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	natstest.Check(t, c.Lease(ctx, "gw", web, 0))
	wait.Until(t, "the end of the lease", func() bool { return !second.leased(web) })
}

// A stream may have forgotten leases that were in force until a while ago. How long ago follows
// from the age at which it forgets, and from how long a lease can last.
func TestForgottenUntil(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name string
		age  time.Duration
		last uint64
		want time.Time
	}{
		{"as the daemon makes it", stream.LeasesKept, 9, now.Add(-7 * day)},
		{"kept for no longer than a lease lasts", wire.MaxTTL, 9, now},
		{"never a lease", wire.MaxTTL, 0, time.Time{}},
		{"kept for ever", 0, 9, time.Time{}},
	} {
		info := &jetstream.StreamInfo{
			TimeStamp: now, Config: jetstream.StreamConfig{MaxAge: row.age}, State: jetstream.StreamState{LastSeq: row.last},
		}
		if got := forgottenUntil(info); !got.Equal(row.want) {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// A daemon that starts can't know which leases the stream has forgotten. For it the log is complete
// only since the last of them may have ended.
func TestForgottenLeases(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ctx := context.Background()
	log, err := New(w.Connect(), testConfig(w))
	natstest.Check(t, err)
	config := w.Info(log.leases.wants.Name).Config
	config.MaxAge = wire.MaxTTL - time.Hour // so that it may have forgotten a lease that ends in an hour
	log.leases.wants.MaxAge = config.MaxAge
	_, err = w.JetStream().UpdateStream(ctx, config)
	natstest.Check(t, err)
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	natstest.Check(t, c.Lease(ctx, "gw", web, time.Minute))
	ping(t, w.JetStream(), w.Subjects, web)
	want := time.Now().Add(time.Hour)
	wait.Run(t, log.Run)
	wait.Until(t, "the replay", func() bool { return log.Counts().Replayed })
	since := log.config.Tracker.Coverage(time.Now()).CompleteSince
	if since.Before(want) || since.After(want.Add(time.Minute)) {
		t.Errorf("complete since %s, want %s", since, want)
	}
}
