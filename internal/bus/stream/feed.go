package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"idle-scaler/activity"
	"idle-scaler/internal/natsconn"
)

// Feed hands every message of a stream to one function, in order. It ends as soon as it can't
// guarantee that: when the connection is lost, a message is missing, or the consumer is gone or
// silent. It never recovers by itself: its user opens another one.
//
// It is a push consumer that this package reads, and not nats.go. nats.go takes every message with
// an empty payload and a header "Status" for a control message of the server, so one empty ping
// with "Status: 409" could end the consumers of all daemons, and those of the work queue for ever.
// A Feed believes the reply subject instead, which only the server can set.
type Feed struct {
	Consumer string        // its name
	Done     chan struct{} // closed when it has ended

	nc        *nats.Conn
	heartbeat time.Duration
	handle    func(*nats.Msg, Metadata)
	finite    bool // it ends after the last message that the stream has
	sub       *nats.Subscription
	next      uint64        // the consumer's sequence that comes next; only the subscription's goroutine uses it
	received  atomic.Uint64 // how many messages came, heartbeats too
	once      sync.Once
	err       error // why it ended
}

// Why a feed may end.
var (
	ErrSilent = errors.New("the consumer is gone, or nothing comes from it")
	errGap    = errors.New("a message is missing")
)

// RequestTimeout is how long one request to NATS may take.
const RequestTimeout = 5 * time.Second

// Open makes a consumer and hands its messages to handle, which must not block, until ctx is done
// or Close is called. The server sends a heartbeat whenever it has been silent for that long.
func Open(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig,
	heartbeat time.Duration, handle func(*nats.Msg, Metadata),
) (*Feed, error) {
	f := &Feed{heartbeat: heartbeat, handle: handle}
	return f, f.open(ctx, nc, js, stream, config)
}

func (f *Feed) open(
	ctx context.Context, nc *nats.Conn, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig,
) (err error) {
	f.Consumer, f.Done, f.nc, f.next = "idle-scaler-"+nuid.Next(), make(chan struct{}), nc, 1
	// Before anything else, to miss no change.
	status := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer func() {
		if err != nil {
			f.Close(err)
			nc.RemoveStatusListener(status)
		}
	}()
	if !nc.IsConnected() {
		return natsconn.ErrDisconnected
	}
	config.Name, config.DeliverSubject, config.IdleHeartbeat = f.Consumer, nc.NewInbox(), f.heartbeat
	if f.sub, err = nc.Subscribe(config.DeliverSubject, f.receive); err != nil {
		return err
	}
	_ = f.sub.SetPendingLimits(-1, -1) // flow control, or MaxAckPending, bounds what nats.go would otherwise drop
	making, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	consumer, err := js.CreatePushConsumer(making, stream, config)
	if err != nil {
		return err
	}
	begun := consumer.CachedInfo() // it may have sent something already
	if f.finite && begun.NumPending == 0 && begun.Delivered.Consumer == 0 {
		f.Close(nil)
	}
	go f.watch(ctx, status)
	return nil
}

// ReadAll makes a consumer, hands all its messages to handle, and returns when there are no more.
// It never calls handle after it has returned.
func ReadAll(
	ctx context.Context, nc *nats.Conn, stream string, config jetstream.ConsumerConfig, handle func(*nats.Msg, Metadata),
) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	config.AckPolicy, config.MaxDeliver, config.FlowControl = jetstream.AckNonePolicy, 1, true
	config.MemoryStorage, config.Replicas, config.InactiveThreshold = true, 1, 10*time.Second
	f := &Feed{heartbeat: time.Second, handle: handle, finite: true}
	if err := f.open(ctx, nc, js, stream, config); err != nil {
		return err
	}
	<-f.Done
	return f.err
}

// Err returns why the feed has ended, once Done is closed.
func (f *Feed) Err() error { return f.err }

// Close ends the feed, and says why. A message that is being handled is the last one.
func (f *Feed) Close(why error) {
	f.once.Do(func() {
		f.err = why
		close(f.Done)
		if f.sub != nil {
			_ = f.sub.Unsubscribe() // it fails only when the connection is closed
		}
	})
}

// silentAfter is how many heartbeats may be missing.
const silentAfter = 3

func (f *Feed) watch(ctx context.Context, status chan nats.Status) {
	defer f.nc.RemoveStatusListener(status)
	beat := time.NewTicker(f.heartbeat)
	defer beat.Stop()
	before, missed := uint64(0), 0
	for {
		select {
		case <-status:
			f.Close(natsconn.ErrDisconnected)
		case <-ctx.Done():
			f.Close(ctx.Err())
		case <-beat.C:
			missed++
			if now := f.received.Load(); now != before {
				before, missed = now, 0
			}
			if missed > silentAfter {
				f.Close(fmt.Errorf("%w for %s", ErrSilent, silentAfter*f.heartbeat))
			}
		case <-f.Done:
			return
		}
	}
}

// receive is called by nats.go for each message, one after the other.
func (f *Feed) receive(m *nats.Msg) {
	select {
	case <-f.Done:
		return
	default:
	}
	f.received.Add(1)
	p, err := MetadataOf(m)
	switch {
	case err != nil:
		f.control(m)
	case p.Consumer != f.next:
		f.Close(fmt.Errorf("%w: number %d came after %d", errGap, p.Consumer, f.next-1))
	default:
		f.next++
		f.handle(m, p)
		if f.finite && p.Pending == 0 {
			f.Close(nil)
		}
	}
}

// control answers the control messages of the server, and notices if a message before one is
// missing.
func (f *Feed) control(m *nats.Msg) {
	if m.Reply != "" {
		_ = m.Respond(nil) // flow control: everything before it is handled
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		_ = f.nc.Publish(stalled, nil)
	}
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" && last != strconv.FormatUint(f.next-1, 10) {
		f.Close(fmt.Errorf("%w: number %s was sent, %d came", errGap, last, f.next-1))
	}
}

// Metadata is where a message stands in its stream, and among what its consumer has sent.
type Metadata struct {
	Sequence uint64    // in the stream
	Time     time.Time // at which the stream took it, by the clock of the stream's leader
	Consumer uint64    // its sequence among what the consumer sent
	Pending  uint64    // how many more there were for the consumer when it was sent
}

// Stamp is the identity of the message in its stream.
func (p Metadata) Stamp() activity.Stamp { return activity.Stamp{Sequence: p.Sequence, Time: p.Time} }

// MetadataOf reads the reply subject of a message. It returns an error if no consumer has sent the
// message.
func MetadataOf(m *nats.Msg) (Metadata, error) {
	p, err := m.Metadata()
	if err != nil {
		return Metadata{}, err
	}
	return Metadata{p.Sequence.Stream, p.Timestamp, p.Sequence.Consumer, p.NumPending}, nil
}
