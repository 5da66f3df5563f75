package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"idle-scaler/internal/natsconn"
)

// Feed hands every message of a stream to one function, in order, and ends as soon as it can't
// vouch for that: when the connection is lost, a message is missing, the consumer is gone or
// silent. It never mends itself: its user opens another one.
//
// It is a push consumer that is read here and not by nats.go, because nats.go takes a message
// without payload and with the header "Status" for word from the server, wherever it comes from:
// one empty ping with "Status: 409" could end everybody's consumers, and those of the work queue
// for ever. Here a message is from the stream if its reply subject says so, which only the server
// can set.
type Feed struct {
	Consumer string        // its name
	Done     chan struct{} // closed when it has ended

	nc        *nats.Conn
	heartbeat time.Duration
	handle    func(*nats.Msg, Metadata)
	sub       *nats.Subscription
	nothing   bool          // there was nothing to hand on when it was opened
	next      uint64        // the consumer's sequence that comes next; only the subscription's goroutine uses it
	received  atomic.Uint64 // what came, heartbeats too
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
// or Close is called. The server says at each heartbeat that it is there.
func Open(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig,
	heartbeat time.Duration, handle func(*nats.Msg, Metadata),
) (*Feed, error) {
	f := &Feed{
		Consumer: "idle-scaler-" + nuid.Next(), Done: make(chan struct{}),
		nc: nc, heartbeat: heartbeat, handle: handle, next: 1,
	}
	status := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED) // before anything else, to miss nothing
	if !nc.IsConnected() {
		nc.RemoveStatusListener(status)
		return nil, natsconn.ErrDisconnected
	}
	config.Name, config.DeliverSubject, config.IdleHeartbeat = f.Consumer, nc.NewInbox(), heartbeat
	var err error
	if f.sub, err = nc.Subscribe(config.DeliverSubject, f.receive); err != nil {
		nc.RemoveStatusListener(status)
		return nil, err
	}
	// What nats.go would drop above its limits is bounded by flow control or by the acks that are
	// pending.
	_ = f.sub.SetPendingLimits(-1, -1)
	making, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	consumer, err := js.CreatePushConsumer(making, stream, config)
	if err != nil {
		f.Close(err)
		nc.RemoveStatusListener(status)
		return nil, err
	}
	begun := consumer.CachedInfo() // it may have sent something already
	f.nothing = begun.NumPending == 0 && begun.Delivered.Consumer == 0
	go f.watch(ctx, status)
	return f, nil
}

// Err returns why the feed has ended, once Done is closed.
func (f *Feed) Err() error { return f.err }

// Close ends the feed, and says why. It hands on no message after the one that may be at this
// moment.
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
	p, ok := ParseMetadata(m.Reply)
	switch {
	case !ok:
		f.control(m)
	case p.Consumer != f.next:
		f.Close(fmt.Errorf("%w: number %d came after %d", errGap, p.Consumer, f.next-1))
	default:
		f.next++
		f.handle(m, p)
	}
}

// control answers what the server asks for between messages: whether more may come, and whether all
// have.
func (f *Feed) control(m *nats.Msg) {
	if m.Reply != "" {
		_ = m.Respond(nil) // flow control: everything before it has been handled
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		_ = f.nc.Publish(stalled, nil)
	}
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" && number(last) != f.next-1 {
		f.Close(fmt.Errorf("%w: number %s was sent, %d came", errGap, last, f.next-1))
	}
}
