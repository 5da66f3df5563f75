package bus

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
)

// feed hands every message of a stream to one function, in order, and ends as soon as it can't vouch for that: when the connection
// is lost, a message is missing, the consumer is gone or silent. It never mends itself: whoever wants to go on opens a new one.
//
// It is a push consumer, read here and not by nats.go, because nats.go takes a message without payload and with the header "Status"
// for word from the server, wherever it comes from: with one empty ping with "Status: 409" anybody could end everybody's
// consumers, for ever in the case of the work queue. Here a message is from the stream if its reply subject says so, which only
// the server can set.
type feed struct {
	nc        *nats.Conn
	consumer  string
	heartbeat time.Duration
	handle    func(*nats.Msg, place)
	sub       *nats.Subscription
	nothing   bool          // there was nothing to hand on when it was opened
	next      uint64        // the consumer's sequence that comes next; only the subscription's goroutine uses it
	received  atomic.Uint64 // what came, heartbeats too
	once      sync.Once
	done      chan struct{}
	err       error // why it ended, once done is closed
}

// Why a feed may end.
var (
	errSilent       = errors.New("the consumer is gone, or nothing comes from it")
	errGap          = errors.New("a message is missing")
	errDisconnected = errors.New("NATS is not connected")
)

// openFeed makes a consumer and hands its messages to handle, which must not block, until ctx is done or close is called.
func openFeed(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig,
	heartbeat time.Duration, handle func(*nats.Msg, place),
) (*feed, error) {
	f := &feed{nc: nc, consumer: "idle-scaler-" + nuid.Next(), heartbeat: heartbeat, handle: handle, next: 1, done: make(chan struct{})}
	status := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED) // before anything else, to miss nothing
	if !nc.IsConnected() {
		nc.RemoveStatusListener(status)
		return nil, errDisconnected
	}
	config.Name, config.DeliverSubject, config.IdleHeartbeat = f.consumer, nc.NewInbox(), heartbeat
	var err error
	if f.sub, err = nc.Subscribe(config.DeliverSubject, f.receive); err != nil {
		nc.RemoveStatusListener(status)
		return nil, err
	}
	// What nats.go would drop above its limits is bounded by flow control or by the acks that are pending.
	_ = f.sub.SetPendingLimits(-1, -1)
	making, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := js.CreatePushConsumer(making, stream, config)
	if err != nil {
		f.close(err)
		nc.RemoveStatusListener(status)
		return nil, err
	}
	begun := consumer.CachedInfo() // it may have sent something already
	f.nothing = begun.NumPending == 0 && begun.Delivered.Consumer == 0
	go f.watch(ctx, status)
	return f, nil
}

// requestTimeout is how long one request to NATS may take.
const requestTimeout = 5 * time.Second

// close ends the feed, and says why. No message is handed on after the one that may be at this moment.
func (f *feed) close(why error) {
	f.once.Do(func() {
		f.err = why
		close(f.done)
		if f.sub != nil {
			_ = f.sub.Unsubscribe() // it fails only when the connection is closed
		}
	})
}

// silentAfter is how many heartbeats may be missing.
const silentAfter = 3

func (f *feed) watch(ctx context.Context, status chan nats.Status) {
	defer f.nc.RemoveStatusListener(status)
	beat := time.NewTicker(f.heartbeat)
	defer beat.Stop()
	before, missed := uint64(0), 0
	for {
		select {
		case <-status:
			f.close(errDisconnected)
		case <-ctx.Done():
			f.close(ctx.Err())
		case <-beat.C:
			missed++
			if now := f.received.Load(); now != before {
				before, missed = now, 0
			}
			if missed > silentAfter {
				f.close(fmt.Errorf("%w for %s", errSilent, silentAfter*f.heartbeat))
			}
		case <-f.done:
			return
		}
	}
}

// receive is called by nats.go for each message, one after the other.
func (f *feed) receive(m *nats.Msg) {
	select {
	case <-f.done:
		return
	default:
	}
	f.received.Add(1)
	p, ok := parsePlace(m.Reply)
	switch {
	case !ok:
		f.control(m)
	case p.consumer != f.next:
		f.close(fmt.Errorf("%w: number %d came after %d", errGap, p.consumer, f.next-1))
	default:
		f.next++
		f.handle(m, p)
	}
}

// control answers what the server asks for between messages: whether more may come, and whether all have.
func (f *feed) control(m *nats.Msg) {
	if m.Reply != "" {
		_ = m.Respond(nil) // flow control: everything before it has been handled
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		_ = f.nc.Publish(stalled, nil)
	}
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" && number(last) != f.next-1 {
		f.close(fmt.Errorf("%w: number %s was sent, %d came", errGap, last, f.next-1))
	}
}
