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

// Config is what a Log needs. All fields must be set.
type Config struct {
	Subjects  wire.Subjects
	Tracker   *activity.Tracker
	Clock     *activity.Clock             // the Log sets it by the stream of pings
	Pauses    *scaler.Pauses              // the Log puts the orders to pause here
	Ensure    func(context.Context) error // creates the streams that are missing
	Interval  time.Duration               // between two proofs: 5s
	Patience  time.Duration               // how long one proof may take: 2s
	Heartbeat time.Duration               // between two heartbeats of a consumer: 2s
	Logger    *slog.Logger
}

// Log fills a Tracker from the streams of pings and leases, and Pauses from the stream of pauses.
// It says how far silence in them proves anything. It implements scaler.ActivityLog. All methods
// may be called concurrently.
//
// Silence is proven, not assumed: the Log asks for the last sequence of the three streams, and must
// have read up to there. It does so at each interval, which also reveals a connection that leads
// nowhere and a consumer that delivers nothing, and before each sleep (Prove).
type Log struct {
	// OnActivity is called after each ping and each lease, once the Tracker has it. Set it before
	// Run. It must return at once.
	OnActivity func(activity.ID)

	config                Config
	nc                    *nats.Conn
	js                    jetstream.JetStream
	pings, leases, pauses *reader
	readers               []*reader // all three, pings first: they set the clock
	proof                 singleflight.Group
	noted                 chan struct{} // has an element when a reader has an unrecorded loss

	pinged, leased, malformed atomic.Uint64
	logged                    atomic.Int64 // when a malformed message was last logged, in Unix nanoseconds

	mu        sync.Mutex
	losses    uint64    // how often lose was called
	lost      time.Time // since when the Log may not know everything; zero when it does
	proven    time.Time // when the last proof began; zero when it counts no more
	replayed  bool
	skewed    bool                         // the clocks of the streams differ, as last logged
	lastError string                       // why there is no proof, as last logged; empty when there is one
	orders    map[scaler.ID]activity.Stamp // the last order of each scope
}

// New returns a Log that reads once Run is called.
func New(nc *nats.Conn, config Config) (*Log, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	l := &Log{
		OnActivity: func(activity.ID) {}, config: config, nc: nc, js: js,
		noted: make(chan struct{}, 1), orders: make(map[scaler.ID]activity.Stamp),
	}
	add := func(kind stream.Kind, deliver jetstream.DeliverPolicy, handle handler) *reader {
		wants := stream.Options{Subjects: config.Subjects, Replicas: 1}.Config(kind)
		r := &reader{log: l, wants: wants, deliver: deliver, handle: handle}
		r.arrived = sync.NewCond(&r.mu)
		l.readers = append(l.readers, r)
		return r
	}
	l.pings = add(stream.Activity, jetstream.DeliverLastPerSubjectPolicy, l.handlePing)
	l.leases = add(stream.Leases, jetstream.DeliverLastPerSubjectPolicy, l.handleLease)
	l.pauses = add(stream.Pauses, jetstream.DeliverAllPolicy, l.handleOrder)
	return l, nil
}

// retryInterval is the time between two proofs after one that failed.
const retryInterval = 250 * time.Millisecond

// Run reads the log until ctx is done.
func (l *Log) Run(ctx context.Context) error {
	status := l.nc.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer l.nc.RemoveStatusListener(status)
	var running sync.WaitGroup
	for _, r := range l.readers {
		running.Go(func() { r.run(ctx) })
	}
	running.Go(func() { l.recordLosses(ctx) })
	defer func() {
		running.Wait()
		l.lose(errors.New("the activity log is not read any more"))
	}()
	for {
		next := l.config.Interval
		if err := l.shareProof(ctx); err != nil {
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

// Prove returns nil when Tracker and Pauses know everything that the log held at some moment within
// the last scaler.MaxDecisionAge. Callers at the same time share one proof.
func (l *Log) Prove(ctx context.Context) error {
	for tries := 0; !l.isProven(); tries++ {
		if tries == 2 { // the first proof was shared, and may have begun too long ago
			return errors.New("NATS answers too slowly to prove that the activity log is silent")
		}
		if err := l.shareProof(ctx); err != nil {
			return err
		}
	}
	return nil
}

// isProven reports whether the last proof still counts. It does not once somebody sets the clock of
// this process: the next proof measures how far that is from the clock of NATS.
func (l *Log) isProven() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	age, sure := activity.Age(l.proven, time.Now())
	return sure && age < scaler.MaxDecisionAge
}

// shareProof joins the proof under way, or begins one. It returns early when ctx is done.
func (l *Log) shareProof(ctx context.Context) error {
	select {
	case r := <-l.proof.DoChan("", func() (any, error) { return nil, l.prove() }):
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prove makes sure that the Tracker knows everything that the log holds, and reports that to the
// Tracker. Only one call may run at a time.
func (l *Log) prove() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.config.Patience)
	defer cancel()
	l.mu.Lock()
	losses := l.losses
	l.mu.Unlock()
	began := time.Now()
	log, err := l.catchUp(ctx)
	if err != nil {
		if !l.nc.IsConnected() {
			err = natsconn.ErrDisconnected // it says more than a timeout does
		}
		l.lose(err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.losses != losses { // the log was lost after it was read
		return natsconn.ErrDisconnected
	}
	l.warnOfSkew()
	if !l.lost.IsZero() {
		l.config.Tracker.Lost(l.lastError, l.config.Clock.At(l.lost))
		l.lost = time.Time{}
	}
	l.config.Tracker.CaughtUp(log, l.config.Clock.Now())
	if l.lastError != "" || !l.replayed {
		l.config.Logger.Info("caught up with the activity log", "complete_since", log.CompleteSince, "empty", log.Empty)
	}
	l.proven, l.replayed, l.lastError = began, true, ""
	return nil
}

// lose records that the Log may not know everything, since the last proof.
func (l *Log) lose(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost.IsZero() {
		l.lost = cmp.Or(l.proven, time.Now())
	}
	l.losses++
	l.proven = time.Time{}
	if l.replayed { // before that the clock may not be set yet
		l.config.Tracker.Lost(why.Error(), l.config.Clock.At(l.lost))
	}
	starting := !l.replayed && errors.Is(why, errBehind)
	if l.lastError != why.Error() && !starting {
		l.config.Logger.Warn("the activity log can't be read: no server is put to sleep", "err", why)
	}
	l.lastError = why.Error()
}

// catchUp returns the state of the log once everything in its three streams was handled.
func (l *Log) catchUp(ctx context.Context) (activity.Log, error) {
	var log activity.Log
	for _, r := range l.readers {
		info, err := r.catchUp(ctx)
		if err != nil {
			return log, fmt.Errorf("stream %s: %w", r.wants.Name, err)
		}
		if r == l.leases && !l.replayed { // the stream may have forgotten leases before it was first read
			r.since = latest(r.since, forgottenUntil(info))
		}
		// The log is as complete as the least complete of its streams.
		log.CompleteSince = latest(log.CompleteSince, r.since.Add(r.clockShift()))
		log.Empty = log.Empty || r == l.pings && info.State.LastSeq == 0
	}
	return log, nil
}

// maxSkew is how far the clocks of two NATS servers may differ without a warning.
const maxSkew = time.Second

// warnOfSkew logs when the clocks of the servers that lead the streams begin to differ.
func (l *Log) warnOfSkew() {
	shift := l.leases.clockShift()
	skewed := shift.Abs() > maxSkew
	if skewed && !l.skewed {
		l.config.Logger.Warn("the clocks of the NATS servers differ: set them by NTP. "+
			"Stamps from the time under another leader of a stream are wrong by the difference",
			"leases_behind_pings", shift.Round(time.Millisecond).String())
	}
	l.skewed = skewed
}
