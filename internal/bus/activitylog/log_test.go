package activitylog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/clocktest"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var web, files = natstest.Web, natstest.Files

// listener is a Log under test, with its tracker.
type listener struct {
	*Log
	tracker *activity.Tracker
	clock   *activity.Clock
	pauses  *scaler.Pauses
	heard   chan activity.ID
	blocks  atomic.Bool   // what is heard waits for hold
	held    chan struct{} // one for each that waits
	hold    chan struct{}
	stop    func()
}

// listen begins to read the log of a world, as a daemon that has just started would.
func listen(w *natstest.Server, nc *nats.Conn, change ...func(*Config)) *listener {
	w.T.Helper()
	l := &listener{
		tracker: activity.NewTracker(0), clock: new(activity.Clock), pauses: scaler.NewPauses(), heard: make(chan activity.ID, 1000),
		held: make(chan struct{}, 10), hold: make(chan struct{}),
	}
	config := Config{
		Subjects: w.Subjects, Tracker: l.tracker, Clock: l.clock, Pauses: l.pauses,
		Ensure:   w.Ensure,
		Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: natstest.Quiet,
	}
	for _, c := range change {
		c(&config)
	}
	var err error
	l.Log, err = New(nc, config)
	natstest.Check(w.T, err)
	l.OnActivity = func(id activity.ID) {
		if l.blocks.Load() {
			l.held <- struct{}{}
			<-l.hold
			return
		}
		l.heard <- id
	}
	l.stop = wait.Run(w.T, l.Run)
	return l
}

func (l *listener) blind() string { return l.tracker.Coverage(time.Now()).Blind }

func (l *listener) sees(t testing.TB) {
	t.Helper()
	wait.Until(t, "sight", func() bool { return l.blind() == "" })
}

func (l *listener) isBlind(t testing.TB, why string) {
	t.Helper()
	wait.Until(t, "blindness because of "+why, func() bool { return strings.Contains(l.blind(), why) })
}

func ping(t testing.TB, js jetstream.JetStream, subjects wire.Subjects, ids ...scaler.ID) {
	t.Helper()
	for _, id := range ids {
		_, err := js.Publish(context.Background(), subjects.Activity(id), nil)
		natstest.Check(t, err)
	}
}

// The tracker is a cache of the log: after a restart of daemon and NATS it knows the same, with the
// stream's sequences and timestamps.
func TestPingsAreReplayed(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	first := listen(w, w.Connect())
	for _, id := range []scaler.ID{web, files, web} {
		ping(t, js, w.Subjects, id)
		wait.For(t, "a live ping", first.heard)
	}
	first.sees(t)
	natstest.Check(t, first.Prove(context.Background()))
	before := first.tracker.Of(web).Last
	if m, err := w.Stream(stream.Activity.Name(w.Subjects)).GetMsg(context.Background(), 3); err != nil || before.Sequence != 3 || !before.Time.Equal(m.Time) {
		t.Errorf("got %v, want the stream's %v %v", before, m, err)
	}
	first.stop()
	w.Shutdown()
	w.Start()

	second := listen(w, w.Connect())
	second.sees(t)
	if got := second.tracker.Of(web).Last; !got.Equal(before) {
		t.Errorf("got %v, want %v", got, before)
	}
	if got := second.tracker.Of(files).Last.Sequence; got != 2 {
		t.Errorf("got %d, want 2", got)
	}
	if c := second.Counts(); c.Pings < 2 || !c.Replayed || c.Skew != 0 { // more when it is read again
		t.Errorf("got %+v", c)
	}
}

// Nobody can end or stall the reading of the log: what a publisher writes into a ping does not make
// it a word of the server.
func TestPingsThatLookLikeTheServer(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	l := listen(w, w.Connect())
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		m := nats.NewMsg(w.Subjects.Activity(web))
		m.Header.Set("Status", status)
		m.Header.Set("Description", "Consumer Deleted")
		_, err := js.PublishMsg(context.Background(), m)
		natstest.Check(t, err)
		wait.For(t, "the ping with status "+status, l.heard)
	}
	l.sees(t)
	natstest.Check(t, l.Prove(context.Background()))
}

// A log that never held any ping proves nothing; the first one ends that.
func TestEmptyLogIsBlind(t *testing.T) {
	w := natstest.NewWithStreams(t)
	l := listen(w, w.Connect())
	l.isBlind(t, "never held a ping")
	natstest.Check(t, l.Prove(context.Background()))
	ping(t, w.JetStream(), w.Subjects, web)
	l.sees(t)
}

// While NATS is away the log is blind, and that time is not idle time. After it has returned a
// settle time passes, then it is not; and what was sent meanwhile is known.
func TestDisconnected(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	const settle = 3 * time.Second
	l := listen(w, w.Connect(), func(c *Config) { c.Tracker = activity.NewTracker(settle) })
	l.tracker = l.config.Tracker
	l.sees(t)
	since := time.Now()
	w.Shutdown()
	wait.Until(t, "blindness", func() bool { return l.blind() != "" })
	wait.Until(t, "the loss of the connection", func() bool { return !l.nc.IsConnected() })
	if err := l.Prove(context.Background()); err == nil {
		t.Error("silence is proven without NATS")
	}
	time.Sleep(100 * time.Millisecond) // it is away for at least this long
	w.Start()
	ping(t, w.JetStream(), w.Subjects, files)
	l.isBlind(t, "again only since a moment ago")
	wait.Until(t, "the ping that was sent meanwhile", func() bool { return l.tracker.Of(files).Last.Sequence == 2 })
	l.sees(t)
	now := time.Now()
	if idle := l.tracker.Coverage(now).Idle(since, now); idle > now.Sub(since)-100*time.Millisecond {
		t.Errorf("idle for %s of %s, though NATS was away for more than 100ms", idle, now.Sub(since))
	}
}

// A connection that leads nowhere is noticed by the next look, long before TCP or NATS would.
func TestBlackHole(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	proxy := newProxy(t, w.URL())
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{proxy.url}}, natstest.Quiet)
	natstest.Check(t, err)
	t.Cleanup(nc.Close)
	l := listen(w, nc)
	l.sees(t)
	proxy.hole.Store(true)
	l.isBlind(t, "deadline exceeded")
	if err := l.Prove(context.Background()); err == nil {
		t.Error("silence is proven over a connection that leads nowhere")
	}
	proxy.hole.Store(false)
	l.sees(t)
}

// proxy forwards one way and back, or holds everything up.
type proxy struct {
	url   string
	hole  atomic.Bool
	clock atomic.Pointer[wrongClock] // if it is set
}

// wrongClock is one by which a stream says what time it is.
type wrongClock struct {
	stream string
	behind time.Duration
}

var stamped = regexp.MustCompile(`"ts":"[^"]+"`)

// tells puts the clock's time where the state of its stream has that of the server, in as many
// bytes.
func (c *wrongClock) tells(said []byte) []byte {
	if c == nil || !bytes.Contains(said, []byte(`"name":"`+c.stream+`"`)) {
		return said
	}
	return stamped.ReplaceAllFunc(said, func(ts []byte) []byte {
		text := strings.Trim(strings.TrimPrefix(string(ts), `"ts":`), `"`)
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return ts
		}
		day, fraction, _ := strings.Cut(text, ".")
		return []byte(`"ts":"` + at.Add(-c.behind).Format(time.RFC3339[:len(day)]) + "." + fraction + `"`)
	})
}

func newProxy(t *testing.T, to string) *proxy {
	in, err := net.Listen("tcp", "127.0.0.1:0")
	natstest.Check(t, err)
	t.Cleanup(func() { in.Close() })
	p := &proxy{url: "nats://" + in.Addr().String()}
	forward := func(from, to net.Conn) {
		buffer := make([]byte, 4096)
		for n, err := 0, error(nil); err == nil; n, err = from.Read(buffer) {
			for p.hole.Load() {
				time.Sleep(time.Millisecond)
			}
			if _, err := to.Write(p.clock.Load().tells(buffer[:n])); err != nil {
				return
			}
		}
		_ = to.(io.Closer).Close()
	}
	go func() {
		for {
			near, err := in.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(to, "nats://"))
			if err != nil {
				return
			}
			go forward(near, far)
			go forward(far, near)
		}
	}()
	return p
}

// On a NATS cluster each stream is stamped by the clock of its leader. The clock of the log is that of the
// pings; a lease is shifted to it when it comes. That the two differ is said once.
func TestStreamsWithClocksThatDiffer(t *testing.T) {
	w := natstest.NewWithStreams(t)
	proxy := newProxy(t, w.URL())
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{proxy.url}}, natstest.Quiet)
	natstest.Check(t, err)
	t.Cleanup(nc.Close)
	var said wait.Buffer
	l := listen(w, nc, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
	ping(t, w.JetStream(), w.Subjects, web)
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	l.sees(t)
	leases, pings := stream.Leases.Name(w.Subjects), stream.Activity.Name(w.Subjects)
	for i, row := range []struct {
		clock *wrongClock
		skew  time.Duration // of the clock of the log, afterwards
		want  time.Duration // how long a lease of 20 minutes that is stamped by the right clock lasts by that of this process
		says  int
	}{
		{nil, 0, 20 * time.Minute, 0},
		{&wrongClock{leases, 5 * time.Minute}, 0, 25 * time.Minute, 1},
		{&wrongClock{leases, -5 * time.Minute}, 0, 15 * time.Minute, 1},
		{nil, 0, 20 * time.Minute, 1},
		{&wrongClock{pings, -5 * time.Minute}, -5 * time.Minute, 25 * time.Minute, 2},
	} {
		proxy.clock.Store(row.clock)
		wait.Until(t, fmt.Sprintf("the clocks of %+v, told %d times", row.clock, row.says), func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.apart == (row.clock != nil) && l.clock.Skew().Round(time.Minute) == row.skew &&
				strings.Count(said.String(), "the clocks of the NATS servers differ") == row.says
		})
		wait.Until(t, "the shift", func() bool { return l.leases.shift().Round(time.Minute) == row.want-20*time.Minute })
		holder, began := fmt.Sprint("gw-", i), time.Now()
		natstest.Check(t, c.Lease(context.Background(), holder, web, 20*time.Minute))
		wait.Until(t, fmt.Sprintf("a lease for %s by %+v", row.want, row.clock), func() bool {
			for _, lease := range l.tracker.Leases(web, l.clock.Now()) {
				if lease.Holder == holder {
					return lease.Until.Sub(began).Round(time.Minute) == row.want
				}
			}
			return false
		})
	}
}

// Prove is false while the tracker has not taken what is in the log; and it does not believe an old
// proof.
func TestProveWhileBehind(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	l := listen(w, w.Connect())
	l.sees(t)
	natstest.Check(t, l.Prove(context.Background()))
	l.blocks.Store(true)
	ping(t, w.JetStream(), w.Subjects, web, files)
	wait.For(t, "the ping that is held up", l.held)
	l.isBlind(t, errBehind.Error())
	if err := l.Prove(context.Background()); err == nil {
		t.Errorf("got %v, want that it is behind", err)
	}
	l.blocks.Store(false)
	close(l.hold)
	l.sees(t)
	natstest.Check(t, l.Prove(context.Background()))
	if l.tracker.Of(files).Last.Sequence != 3 {
		t.Error("silence is proven, and a ping is not known")
	}
}

// A proof ends when the clock on the wall is set, as after a suspension of the machine. The clock of
// NATS is measured again before silence proves anything.
func TestProofEndsWhenTheClockIsSet(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web)
	l := listen(w, w.Connect(), func(c *Config) { c.Interval = time.Hour })
	l.sees(t)
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		natstest.Check(t, l.Prove(context.Background()))
		l.mu.Lock()
		l.proven = clocktest.Stepped(l.proven, -by)
		l.mu.Unlock()
		now := time.Now()
		l.clock.Measured(now.Add(-time.Hour), now, now) // as if the machine had been suspended since the last measurement
		natstest.Check(t, l.Prove(context.Background()))
		if skew := l.clock.Skew(); skew.Abs() > time.Second {
			t.Errorf("set by %s: the clock of NATS is believed to be %s behind", by, skew)
		}
	}
}

// A consumer that was deleted, or that hands out nothing, is replaced.
func TestConsumerIsDeleted(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web)
	l := listen(w, w.Connect())
	l.sees(t)
	stream := w.Stream(stream.Activity.Name(w.Subjects))
	for name := range stream.ConsumerNames(context.Background()).Name() {
		natstest.Check(t, stream.DeleteConsumer(context.Background(), name))
	}
	ping(t, js, w.Subjects, files)
	wait.Until(t, "the ping after it", func() bool { return l.tracker.Of(files).Last.Sequence == 2 })
	l.sees(t)
}

// The last message may be gone without ever having been delivered: the log is known all the same.
func TestLastMessageIsGone(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	natstest.Check(t, w.Stream(stream.Activity.Name(w.Subjects)).DeleteMsg(context.Background(), 2))
	l := listen(w, w.Connect())
	l.sees(t)
	natstest.Check(t, l.Prove(context.Background()))
	ping(t, js, w.Subjects, files)
	wait.Until(t, "the ping after it", func() bool { return l.tracker.Of(files).Last.Sequence == 3 })
	l.sees(t)
}

// A purge is noticed at once, and recorded on the stream: a daemon that starts after it, when the
// log is not empty any more, knows as well that the log does not tell of the time before.
func TestPurgeMovesBirth(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	l := listen(w, w.Connect())
	l.sees(t)
	created := w.Info(stream.Pauses.Name(w.Subjects)).Created // made after those of pings and leases
	if born := l.tracker.Coverage(time.Now()).CompleteSince; !born.Equal(created) {
		t.Errorf("born %s, want %s", born, created)
	}
	before := time.Now()
	natstest.Check(t, w.Stream(stream.Activity.Name(w.Subjects)).Purge(context.Background(), jetstream.WithPurgeSubject(w.Subjects.Activity(web))))
	wait.Until(t, "a new birth", func() bool { return !l.tracker.Coverage(time.Now()).CompleteSince.Before(before) })
	wait.Until(t, "its record", func() bool { return w.Info(stream.Activity.Name(w.Subjects)).Config.Metadata[completeKey] != "" })
	l.stop()

	ping(t, js, w.Subjects, web)
	second := listen(w, w.Connect())
	second.sees(t)
	if born := second.tracker.Coverage(time.Now()).CompleteSince; born.Before(before) {
		t.Errorf("a later daemon takes it to be born %s, before the purge at %s", born, before)
	}
	natstest.Check(t, w.Ensure(context.Background())) // the record does not make it another's
}

// A stream that was deleted is made again, and read from its start, though its sequences are lower;
// its birth is that of the new one.
func TestStreamIsMadeAgain(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, web, web, files)
	l := listen(w, w.Connect())
	l.sees(t)
	before := time.Now()
	natstest.Check(t, js.DeleteStream(context.Background(), stream.Activity.Name(w.Subjects)))
	wait.Until(t, "the stream", func() bool {
		_, err := js.Stream(context.Background(), stream.Activity.Name(w.Subjects))
		return err == nil
	})
	ping(t, js, w.Subjects, web)
	l.sees(t)
	wait.Until(t, "the ping in it", func() bool { return l.tracker.Of(web).Last.Sequence == 1 })
	wait.Until(t, "a new birth", func() bool { return !l.tracker.Coverage(time.Now()).CompleteSince.Before(before) })
	l.sees(t)
}

// A log that is full refuses the pings of new servers, without a word to who sends them: its
// silence proves nothing. It is full by number or by bytes, whichever comes first.
func TestFullLogIsNotUsable(t *testing.T) {
	r := &reader{wants: jetstream.StreamConfig{MaxMsgs: 100_000, MaxMsgsPerSubject: 1}}
	for count, usable := range map[uint64]bool{0: true, 98_999: true, 99_000: false, 100_000: false, 100_001: false} {
		info := &jetstream.StreamInfo{Config: r.wants, State: jetstream.StreamState{Msgs: count}}
		if err := r.usable(info); (err == nil) != usable {
			t.Errorf("%d of %d: got %v", count, r.wants.MaxMsgs, err)
		}
		if info.Config.MaxMsgs = -1; r.usable(info) != nil {
			t.Errorf("%d without a limit: not usable", count)
		}
	}
	for _, row := range []struct {
		bytes  uint64
		most   int64
		usable bool
	}{
		{1 << 40, -1, true},
		{1 << 40, 0, true},
		{989 << 20, 1000 << 20, true},
		{990 << 20, 1000 << 20, false},
		{900 << 10, 1 << 20, true}, // of a small one, no ping that makes sense is larger than what is left
		{960 << 10, 1 << 20, false},
	} {
		info := &jetstream.StreamInfo{Config: r.wants, State: jetstream.StreamState{Bytes: row.bytes}}
		info.Config.MaxBytes = row.most
		if err := r.usable(info); (err == nil) != row.usable {
			t.Errorf("%d bytes of %d: got %v", row.bytes, row.most, err)
		}
	}
}

// A log that somebody has changed so that it forgets too early proves nothing, from that moment on.
func TestChangedLogIsBlind(t *testing.T) {
	w := natstest.New(t)
	js := w.JetStream()
	config := stream.Options{Subjects: w.Subjects, Owner: "here", Replicas: 1}.Config(stream.Activity)
	_, err := js.CreateStream(context.Background(), config)
	natstest.Check(t, err)
	natstest.Check(t, w.Ensure(context.Background()))
	for i := range 3 {
		ping(t, js, w.Subjects, scaler.ID{Namespace: "team-a", Name: fmt.Sprint("s", i)})
	}
	l := listen(w, w.Connect())
	l.sees(t)
	config = w.Info(config.Name).Config
	config.MaxMsgs = 3
	_, err = js.UpdateStream(context.Background(), config)
	natstest.Check(t, err)
	l.isBlind(t, "max_msgs")
}

// A stream that was made again is not taken for the one that was read, also when as many messages
// are in it.
func TestOtherStreamIsNoticed(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	log, err := New(w.Connect(), Config{
		Subjects: w.Subjects, Tracker: activity.NewTracker(0), Clock: new(activity.Clock), Heartbeat: time.Hour, Logger: natstest.Quiet,
	})
	natstest.Check(t, err)
	r, ctx := log.pings, context.Background()
	f, err := r.open(ctx)
	natstest.Check(t, err)
	defer f.Close(nil)
	natstest.Check(t, r.caughtUp(ctx, r.position(), w.Info(r.stream)))
	natstest.Check(t, js.DeleteStream(ctx, r.stream))
	natstest.Check(t, w.Ensure(context.Background()))
	ping(t, js, w.Subjects, files, web)
	if err := r.caughtUp(ctx, r.position(), w.Info(r.stream)); !errors.Is(err, errOtherStream) {
		t.Errorf("got %v", err)
	}
	wait.For(t, "the end of the feed", f.Done)
}

// A look that was under way when the log was lost does not bring it back: what it has seen was seen
// before.
func TestLossDuringLook(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	l := listen(w, w.Connect(), func(c *Config) { c.Interval, c.Patience = time.Hour, time.Minute })
	l.sees(t)
	l.blocks.Store(true)
	ping(t, w.JetStream(), w.Subjects, web)
	wait.For(t, "the ping that is held up", l.held)
	l.mu.Lock()
	l.proven = time.Now().Add(-time.Hour)
	proven := l.proven
	l.mu.Unlock()
	result := make(chan error, 1)
	go func() { result <- l.Prove(context.Background()) }()
	wait.Until(t, "the look", func() bool {
		l.pings.mu.Lock()
		defer l.pings.mu.Unlock()
		return l.pings.wanted > 0
	})
	l.lose(natsconn.ErrDisconnected)
	close(l.hold)
	if err := wait.For(t, "its result", result); err == nil || l.blind() == "" {
		t.Errorf("got %v, blind %q", err, l.blind())
	}
	// It may have been lost at any time since it was last proven that it was not.
	if want := proven.UTC().Format(time.RFC3339); !strings.Contains(l.blind(), want) {
		t.Errorf("blind %q, want since %s", l.blind(), want)
	}
}

// A lease is in force until its end, may be renewed, shortened and ended; what makes no sense is
// counted.
func TestLeases(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	c, err := client.New(nc, w.Subjects)
	natstest.Check(t, err)
	ctx := context.Background()
	l := listen(w, w.Connect())
	for _, begun := range []struct {
		holder string
		ttl    time.Duration
	}{{"gw", time.Hour}, {"gw", 2 * time.Hour}, {"session-7", time.Minute}} {
		natstest.Check(t, c.Lease(ctx, begun.holder, web, begun.ttl))
		wait.For(t, "the lease of "+begun.holder, l.heard)
	}
	live := l.tracker.Leases(web, time.Now())
	if len(live) != 2 || !l.tracker.Of(web).LeaseUntil.After(time.Now().Add(119*time.Minute)) {
		t.Errorf("got %+v", live)
	}
	for i, payload := range []string{"", "{}", `{"ttl":"25h"}`, `{"ttl":"-1s"}`, `{"ttl":5}`, "x"} {
		natstest.Check(t, nc.Publish(w.Subjects.Lease(fmt.Sprint("bad", i), files), []byte(payload)))
		wait.For(t, "a lease that can't be read", l.heard) // not to be taken for the next one
	}
	natstest.Check(t, nc.Publish("cortex.mcp.lease.gw.Team.web", []byte(`{"ttl":"5m"}`)))
	natstest.Check(t, nc.Publish("cortex.mcp.activity.team-a", nil))
	wait.Until(t, "8 malformed messages", func() bool { return l.Counts().Malformed >= 8 })
	natstest.Check(t, c.Lease(ctx, "gw", web, 0))
	wait.Until(t, "the end of a lease", func() bool { // those that can't be read are heard as well
		live := l.tracker.Leases(web, time.Now())
		return len(live) == 1 && live[0].Holder == "session-7"
	})
	natstest.Check(t, c.Lease(ctx, "session-7", web, time.Millisecond))
	wait.Until(t, "the end by itself", func() bool { return !l.tracker.Of(web).Leased(time.Now()) })

	again := listen(w, w.Connect())
	wait.Until(t, "the replay", func() bool { return again.Counts().Replayed })
	if again.tracker.Of(web).Leased(time.Now()) || again.tracker.Of(web).LeaseUntil.IsZero() {
		t.Errorf("after a replay: got %+v", again.tracker.Of(web))
	}
	for _, err := range []error{c.Lease(ctx, "a.b", web, 0), c.Lease(ctx, "gw", scaler.ID{}, 0), c.Lease(ctx, "gw", web, 25*time.Hour)} {
		if err == nil {
			t.Error("a lease that makes no sense is sent")
		}
	}
}

// A word about a lease that can't be read has replaced in the log what its holder said before,
// which may be in force for as long as a lease can be: that is what everybody believes who reads
// it, before and after a restart, until the holder says something else.
func TestUnreadableLease(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	c, err := client.New(nc, w.Subjects)
	natstest.Check(t, err)
	ctx := context.Background()
	natstest.Check(t, c.Lease(ctx, "gw", web, time.Hour))
	first := listen(w, w.Connect())
	wait.For(t, "the lease", first.heard)
	natstest.Check(t, nc.Publish(w.Subjects.Lease("gw", web), []byte(`{"ttl":5}`)))
	natstest.Check(t, nc.PublishRequest(w.Subjects.Activity(web), w.Subjects.Lease("gw", files), nil)) // the stream's acknowledgement goes there
	// Each may be counted again when the log is read again.
	wait.Until(t, "two that make no sense", func() bool {
		return first.Counts().Malformed >= 2 && first.tracker.Of(files).Leased(time.Now())
	})
	told := time.Now()
	first.stop()
	w.Shutdown()
	w.Start()
	second := listen(w, w.Connect())
	second.sees(t)
	for _, l := range []*listener{first, second} {
		for _, id := range []scaler.ID{web, files} {
			if until := l.tracker.Of(id).LeaseUntil; until.Before(told.Add(wire.MaxTTL-time.Minute)) || until.After(told.Add(wire.MaxTTL)) {
				t.Errorf("%s is leased until %s, want for %s", id, until, wire.MaxTTL)
			}
		}
	}
	c, err = client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	natstest.Check(t, c.Lease(ctx, "gw", web, 0))
	wait.Until(t, "the end of the lease", func() bool { return !second.tracker.Of(web).Leased(time.Now()) })
}

// Those who ask at once share one look: a sweep of thousands of servers is a few requests.
func TestProveIsShared(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	nc := w.Connect()
	l := listen(w, nc, func(c *Config) { c.Interval, c.Patience = time.Hour, wait.Patience })
	wait.Until(t, "the replay", func() bool { return l.Counts().Replayed })
	var asked atomic.Int64
	_, err := nc.Subscribe("$JS.API.STREAM.INFO.>", func(*nats.Msg) { asked.Add(1) })
	natstest.Check(t, err)
	natstest.Check(t, nc.Flush())
	l.mu.Lock()
	l.proven = time.Now().Add(-2 * time.Second)
	l.mu.Unlock()
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() { natstest.Check(t, l.Prove(context.Background())) })
	}
	all.Wait()
	if n := asked.Load(); n == 0 || n > 6 {
		t.Errorf("1000 proofs asked %d times, want 3: once for each stream", n)
	}
}
