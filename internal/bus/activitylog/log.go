package activitylog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// Config is what a Log needs to know. All fields must be set.
type Config struct {
	Subjects  wire.Subjects
	Tracker   *activity.Tracker
	Clock     *activity.Clock             // is set by the stream of the pings
	Pauses    *scaler.Pauses              // where the orders are put that nothing is to sleep
	Ensure    func(context.Context) error // makes the streams again when they are gone
	Interval  time.Duration               // how often it is looked whether the log can still be heard: 5s
	Patience  time.Duration               // how long one look may take: 2s
	Heartbeat time.Duration               // how often the server says that it is there: 2s
	Logger    *slog.Logger
}

// Log fills a Tracker from the streams of pings and leases, and Pauses from that of the orders to
// pause, and says how far the silence in them may be believed. It implements scaler.ActivityLog.
//
// Silence is proven, not assumed: the last sequence of the three streams is asked for, and what was
// read must have come that far. That is done at each interval, so that a connection that leads
// nowhere and a consumer that hands out nothing are noticed too, and by Prove before each sleep.
type Log struct {
	// OnActivity, if set before Run, is called after each ping and lease, once the tracker has it. It must return
	// at once.
	OnActivity func(activity.ID)

	config Config
	nc     *nats.Conn
	js     jetstream.JetStream
	pings  *reader
	leases *reader
	pauses *reader
	flight singleflight.Group

	// Only the one look under way uses these.
	completePings, completeLeases, completePauses completeness
	leasesRead                                    bool      // everything in the stream of leases was read once
	leasesKnown                                   time.Time // all leases that ended after this instant are known

	unrecorded chan loss // losses that are to be written on their streams

	pinged, leased, malformed atomic.Uint64
	complaint                 atomic.Int64 // when a malformed message was last logged, in Unix nanoseconds

	mu        sync.Mutex
	losses    uint64    // how often the connection was lost
	lost      time.Time // since when the log can't be heard; zero while it can
	proven    time.Time // since when the log was last proven to be known; zero before it was and once it is lost
	replayed  bool
	apart     bool                         // the clocks of the streams' leaders differ, as last logged
	blindness string                       // why the log can't be heard, as last logged
	ordered   map[scaler.ID]activity.Stamp // the last order to pause or resume, by scope
}

// New returns a Log that reads once Run is called.
func New(nc *nats.Conn, config Config) (*Log, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	l := &Log{
		OnActivity: func(activity.ID) {},
		config:     config, nc: nc, js: js, unrecorded: make(chan loss, 16), ordered: make(map[scaler.ID]activity.Stamp),
	}
	streams := stream.Options{Subjects: config.Subjects, Replicas: 1}
	read := func(kind stream.Kind, deliver jetstream.DeliverPolicy, handle func(*nats.Msg, stream.Metadata)) *reader {
		wants := streams.Config(kind)
		return &reader{
			nc: nc, js: js, stream: wants.Name, wants: wants, deliver: deliver, heartbeat: config.Heartbeat,
			handle: handle, clock: config.Clock, logger: config.Logger, reached: make(chan struct{}, 1),
		}
	}
	l.pings = read(stream.Activity, jetstream.DeliverLastPerSubjectPolicy, l.ping)
	l.leases = read(stream.Leases, jetstream.DeliverLastPerSubjectPolicy, l.lease)
	l.pauses = read(stream.Pauses, jetstream.DeliverAllPolicy, l.order)
	l.leases.measure = func(ctx context.Context) error { return stream.Measure(ctx, js, config.Subjects, config.Clock) }
	return l, nil
}

// retryInterval is how often it is looked for the log while it can't be heard.
const retryInterval = 250 * time.Millisecond

// Run reads the log until ctx is done.
func (l *Log) Run(ctx context.Context) error {
	status := l.nc.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer l.nc.RemoveStatusListener(status)
	var readers sync.WaitGroup
	readers.Go(func() { l.pings.run(ctx) })
	readers.Go(func() { l.leases.run(ctx) })
	readers.Go(func() { l.pauses.run(ctx) })
	readers.Go(func() { l.keepRecords(ctx) })
	defer func() {
		readers.Wait()
		l.lose(errors.New("the activity log is not read any more"))
	}()
	for {
		next := l.config.Interval
		if err := l.prove(); err != nil {
			next = min(next, retryInterval)
		}
		select {
		case s := <-status:
			if s != nats.CONNECTED {
				l.lose(natsconn.ErrDisconnected)
			}
		case <-time.After(next):
		case <-ctx.Done():
			return nil
		}
	}
}

// Prove returns nil when tracker and pauses know everything that the log held at some moment not
// longer ago than scaler.MaxDecisionAge. Those who ask at once share one look.
func (l *Log) Prove(ctx context.Context) error {
	for range 2 { // the look that was shared may have begun too long ago
		if l.isProven() {
			return nil
		}
		select {
		case r := <-l.flight.DoChan("", func() (any, error) { return nil, l.look() }):
			if r.Err != nil {
				return r.Err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if l.isProven() {
		return nil
	}
	return errors.New("NATS answers too slowly to know that the activity log is silent")
}

func (l *Log) prove() error {
	_, err, _ := l.flight.Do("", func() (any, error) { return nil, l.look() })
	return err
}

// isProven reports whether the last proof still holds. It ends when the clock of this process is set:
// the next look measures how far that is from the clock of NATS.
func (l *Log) isProven() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	age, sure := activity.Age(l.proven, time.Now())
	return sure && age < scaler.MaxDecisionAge
}

// look finds out whether the tracker knows everything that the log holds, and tells the tracker.
// Only one runs at a time.
func (l *Log) look() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.config.Patience)
	defer cancel()
	l.mu.Lock()
	losses := l.losses
	l.mu.Unlock()
	began := time.Now()
	log, err := l.state(ctx)
	if err != nil {
		if !l.nc.IsConnected() {
			err = natsconn.ErrDisconnected // which says more than that there was no answer
		}
		l.lose(err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.losses != losses {
		return natsconn.ErrDisconnected // meanwhile: what was seen was seen before
	}
	l.compare(l.leases.shift())
	if !l.lost.IsZero() {
		l.config.Tracker.Lost(l.blindness, l.config.Clock.At(l.lost))
		l.lost = time.Time{}
	}
	l.config.Tracker.CaughtUp(log, l.config.Clock.Now())
	if l.blindness != "" || !l.replayed {
		l.config.Logger.Info("the activity log can be heard", "since", log.CompleteSince, "empty", log.Empty)
	}
	l.proven, l.replayed, l.blindness = began, true, ""
	return nil
}

// lose records that the log can't be heard, since it was last proven that it could.
func (l *Log) lose(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost.IsZero() {
		l.lost = cmp.Or(l.proven, time.Now())
	}
	l.losses++
	l.proven = time.Time{}
	if l.replayed { // else the clock may not be set yet
		l.config.Tracker.Lost(why.Error(), l.config.Clock.At(l.lost))
	}
	switch {
	case l.blindness == why.Error():
	case !l.replayed && errors.Is(why, errBehind): // the usual begin
	default:
		l.config.Logger.Warn("the activity log can't be heard: no server is put to sleep", "err", why)
	}
	l.blindness = why.Error()
}

// state asks for the state of the three streams, and returns it when all that is in them was
// handled.
func (l *Log) state(ctx context.Context) (activity.Log, error) {
	if !l.nc.IsConnected() {
		return activity.Log{}, natsconn.ErrDisconnected
	}
	pings, err := l.read(ctx, l.pings, &l.completePings)
	if err != nil {
		return activity.Log{}, err
	}
	leases, err := l.read(ctx, l.leases, &l.completeLeases)
	if err != nil {
		return activity.Log{}, err
	}
	if !l.leasesRead {
		l.leasesRead, l.leasesKnown = true, forgottenUntil(leases)
	}
	_, err = l.read(ctx, l.pauses, &l.completePauses)
	if err != nil {
		return activity.Log{}, err
	}
	born := l.completePings.since // the log is as complete as the least complete of the three
	for _, t := range [...]time.Time{
		l.completeLeases.since.Add(l.leases.shift()), l.leasesKnown.Add(l.leases.shift()), l.completePauses.since.Add(l.pauses.shift()),
	} {
		if t.After(born) {
			born = t
		}
	}
	return activity.Log{CompleteSince: born, Empty: pings.State.LastSeq == 0}, nil
}

// mostApart is how far the clocks of two NATS servers may be from each other before that is worth a
// word.
const mostApart = time.Second

// compare tells when the clocks of the servers that lead the streams differ.
func (l *Log) compare(apart time.Duration) {
	differ := apart.Abs() > mostApart
	if differ && !l.apart {
		l.config.Logger.Warn("the clocks of the NATS servers differ: set them by NTP; each stream is read by that of its leader, but what it has stamped under another leader is not",
			"leases_behind_pings", apart.Round(time.Millisecond).String())
	}
	l.apart = differ
}

// read asks for the state of one stream, and returns it when all that is in it was handled. The clock
// of the log is set by that of the pings, which is asked first.
func (l *Log) read(ctx context.Context, r *reader, c *completeness) (*jetstream.StreamInfo, error) {
	position := r.position()
	before := time.Now()
	found, err := l.js.Stream(ctx, r.stream)
	after := time.Now()
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = errors.Join(err, l.config.Ensure(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", r.stream, err)
	}
	info := found.CachedInfo()
	if r == l.pings {
		l.config.Clock.Measured(info.TimeStamp, before, after)
	}
	r.setShift(before, after, info)
	seen := info.TimeStamp // by its own clock: what is born now is compared with what it stamps, and is told to other daemons
	if seen.IsZero() {
		seen = after
	}
	if lost := c.look(info, seen); lost != "" {
		l.config.Logger.Warn("a log has lost messages: no server is put to sleep before it has been listened to for its idle-after", "stream", r.stream, "what", lost)
		select {
		case l.unrecorded <- loss{r.stream, info.Created, c.since}:
		default: // so many that one more says nothing new
		}
	}
	if err := r.usable(info); err != nil {
		return nil, fmt.Errorf("stream %s: %w", r.stream, err)
	}
	if err := r.caughtUp(ctx, position, info); err != nil {
		return nil, fmt.Errorf("stream %s: %w", r.stream, err)
	}
	return info, nil
}
