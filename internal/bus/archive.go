package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/scaler"
)

const (
	eventsKept  = 7 * 24 * time.Hour // how long the stream has an event
	pastTimeout = 20 * time.Second   // how long it may take to read events; clients wait for longer
	pastReaders = 2                  // how many may read events at once: each costs its consumer, and the time to decode
	clocksApart = time.Minute        // how much earlier than it happened an event may be stamped by the stream
)

// archive reads the events that the stream still has.
type archive struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	subjects Subjects
	slots    chan struct{} // one entry for each that reads

	mu   sync.Mutex
	last kept // the report that was made last: its other pages will be asked for
}

func newArchive(nc *nats.Conn, js jetstream.JetStream, subjects Subjects) *archive {
	return &archive{nc: nc, js: js, subjects: subjects, slots: make(chan struct{}, pastReaders)}
}

// read hands on the events of a subject that happened since an instant, and returns when there are no more: those of some types, or of
// all when none are named. The same event may come twice.
//
// They come by a consumer that exists only for that, as fast as they are handled and no faster, so that nobody else on this connection
// waits. To ask the stream for a batch of messages directly would need no consumer, and a NATS server of 2.11 at least. The consumer has
// one subject: for several a NATS server (2.15) looks through all subjects of a block of its file before each message.
func (a *archive) read(ctx context.Context, subject string, since time.Time, types []scaler.EventType, handle func(scaler.Event)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pastTimeout)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: others are reading events: try again in a moment", errUnavailable)
	}
	begin := since.Add(-clocksApart)
	err := drain(ctx, a.nc, a.js, a.subjects.eventStream(), jetstream.ConsumerConfig{
		Description:   "idle-scaler reads what happened",
		FilterSubject: subject,
		DeliverPolicy: jetstream.DeliverByStartTimePolicy,
		OptStartTime:  &begin,
	}, func(m *nats.Msg) {
		if kind, _, _ := a.subjects.ParseEvent(m.Subject); len(types) > 0 && !slices.Contains(types, kind) {
			return
		}
		e, err := DecodeEvent(m.Data)
		if err != nil || e.At.Before(since) || a.subjects.Event(e.Type, e.Server) != m.Subject {
			return // nothing that the daemon has published, or too old
		}
		handle(e)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: the events could not be read within %s: ask for a shorter time, or for one namespace", errUnavailable, pastTimeout)
	}
	if err != nil {
		return fmt.Errorf("%w: read events: %w: try again in a moment", errUnavailable, err)
	}
	return nil
}

// drain hands on all messages that a stream has for a consumer that is made for that, and returns when there are no more.
func drain(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig, handle func(*nats.Msg)) error {
	config.AckPolicy, config.MaxDeliver, config.FlowControl = jetstream.AckNonePolicy, 1, true
	config.MemoryStorage, config.Replicas, config.InactiveThreshold = true, 1, 10*time.Second
	var once sync.Once
	done := make(chan struct{})
	f, err := openFeed(ctx, nc, js, stream, config, time.Second, func(m *nats.Msg, p place) {
		select {
		case <-done: // what handle fills belongs to the caller again
			return
		default:
		}
		handle(m)
		if p.pending == 0 {
			once.Do(func() { close(done) })
		}
	})
	if err != nil {
		return err
	}
	defer f.close(nil)
	if f.nothing {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-f.done:
		return f.err
	}
}
