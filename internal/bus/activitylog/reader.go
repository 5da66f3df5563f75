package activitylog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
)

// reader reads the stream of one log: all that counts in it, and then what comes. When its feed
// ends it reads all of it again, which is right whatever has happened meanwhile, for a handler that
// what is old tells nothing new.
type reader struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	stream    string
	wants     jetstream.StreamConfig
	deliver   jetstream.DeliverPolicy // which of the messages of a subject are read: those that count
	heartbeat time.Duration
	handle    func(*nats.Msg, stream.Metadata)
	clock     *activity.Clock
	measure   func(context.Context) error // sets the clock before anything is read; nil: not needed
	logger    *slog.Logger

	mu      sync.Mutex
	feed    *stream.Feed
	created time.Time     // of the stream that the feed reads
	applied uint64        // everything up to this sequence of the stream was handled
	wanted  uint64        // what await waits for, 0: nothing
	shifted time.Duration // its stamps, to the time of the log
	reached chan struct{} // has something to receive once it is there
}

// reopenAfter is the pause between two feeds. It keeps a stream that can't be read from being asked
// for all the time.
const reopenAfter = 250 * time.Millisecond

// run reads until ctx is done.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		f, err := r.open(ctx)
		if err == nil {
			<-f.Done
			err = f.Err()
		}
		if ctx.Err() == nil {
			r.logger.Debug("reading a log from its start", "stream", r.stream, "err", err)
			stream.Sleep(ctx, reopenAfter)
		}
	}
}

func (r *reader) open(ctx context.Context) (*stream.Feed, error) {
	asked, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	if r.measure != nil {
		if err := r.measure(asked); err != nil {
			return nil, err
		}
	}
	before := time.Now()
	found, err := r.js.Stream(asked, r.stream)
	if err != nil {
		return nil, err
	}
	r.setShift(before, time.Now(), found.CachedInfo())
	r.mu.Lock()
	r.feed, r.created, r.applied = nil, found.CachedInfo().Created, 0
	r.mu.Unlock()
	f, err := stream.Open(ctx, r.nc, r.js, r.stream, jetstream.ConsumerConfig{
		Description:       "idle-scaler reads its log",
		FilterSubject:     r.wants.Subjects[0],
		DeliverPolicy:     r.deliver,
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		FlowControl:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 30 * time.Second,
	}, r.heartbeat, r.take)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.feed = f
	r.mu.Unlock()
	return f, nil
}

func (r *reader) take(m *nats.Msg, p stream.Metadata) {
	r.handle(m, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = p.Sequence
	if r.wanted > 0 && r.applied >= r.wanted {
		r.wanted = 0
		r.reached <- struct{}{}
	}
}

// usable says whether silence in the stream means anything. Full is a little less than its limit: a
// NATS cluster counts what is under way too, and then refuses also what would replace a message,
// and the limit in bytes is reached before the last byte. A stream that keeps every message is no
// log of servers: what it refuses its sender knows.
func (r *reader) usable(info *jetstream.StreamInfo) error {
	if err := stream.Compatible(info.Config, r.wants); err != nil {
		return err
	}
	if info.Config.MaxMsgsPerSubject != 1 {
		return nil
	}
	full := func(limit string, most int64) error {
		return fmt.Errorf("it is full, so that messages of new servers are refused: raise its %s, which is %d, or purge the subjects of servers that are gone", limit, most)
	}
	if most := info.Config.MaxMsgs; most > 0 && info.State.Msgs >= uint64(most-most/100) {
		return full("max_msgs", most)
	}
	if most := info.Config.MaxBytes; most > 0 && int64(info.State.Bytes) >= most-max(most/100, wire.MaxPayload) {
		return full("max_bytes", most)
	}
	return nil
}

// What keeps a reader from having read everything.
var (
	errOtherStream = errors.New("the stream was made again, or set back, and is being read from its start")
	errBehind      = errors.New("not everything in the stream has been read yet")
)

// position is the sequence up to which everything was handled.
func (r *reader) position() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

// caughtUp returns nil once everything was handled that the stream held when info was asked for, or
// why it was not when ctx is done. Before is the position at the time of asking. Only one may wait
// at a time.
func (r *reader) caughtUp(ctx context.Context, before uint64, info *jetstream.StreamInfo) error {
	f, err := r.current(before, info)
	if err != nil || f == nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond) // what is on its way is here within that
	defer cancel()
	if r.await(soon, info.State.LastSeq) {
		return nil
	}
	// The last message may have been removed, then it never comes. Which is the last that is there
	// only the leader of the stream knows: the consumer may be on a server that is behind, and has
	// nothing more to hand out although there is.
	position := r.position()
	last, err := stream.Last(ctx, r.nc, r.stream, r.wants.Subjects[0])
	if err != nil {
		f.Close(err)
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	if r.await(ctx, min(last.Sequence, info.State.LastSeq)) && r.passed(f, info.State.LastSeq) {
		return nil
	}
	if r.position() == position {
		f.Close(stream.ErrSilent) // nothing came although there is something
	}
	return errBehind
}

// current returns the feed that reads the stream that info is about, or nil when it has handled
// everything in it.
func (r *reader) current(before uint64, info *jetstream.StreamInfo) (*stream.Feed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.feed == nil:
		return nil, errBehind
	case !r.created.Equal(info.Created) || info.State.LastSeq < before:
		r.feed.Close(errOtherStream)
		return nil, errOtherStream
	case r.applied >= info.State.LastSeq:
		return nil, nil
	}
	return r.feed, nil
}

// await waits until the message with a sequence, or a later one, was handled. It reports whether it
// was.
func (r *reader) await(ctx context.Context, sequence uint64) bool {
	r.mu.Lock()
	if r.applied >= sequence {
		r.mu.Unlock()
		return true
	}
	r.wanted = sequence
	r.mu.Unlock()
	select {
	case <-r.reached:
		return true
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted == 0 { // it came at this very moment
		<-r.reached
		return true
	}
	r.wanted = 0
	return false
}

// passed records that nothing is left up to a sequence. It reports whether that is still said of
// what is being read.
func (r *reader) passed(f *stream.Feed, sequence uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.feed != f {
		return false
	}
	r.applied = max(r.applied, sequence)
	return true
}

// setShift finds out how far the stream's clock is from that of the log, between two instants of this process.
func (r *reader) setShift(before, after time.Time, info *jetstream.StreamInfo) {
	shift := stream.Shift(r.clock.At(before), r.clock.At(after), info.TimeStamp)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shifted = shift
}

// shift is what turns a stamp of the stream into the time of the log.
func (r *reader) shift() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shifted
}
