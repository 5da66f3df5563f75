package activitylog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
)

// handler takes one message. It returns why the message is malformed.
type handler func(*nats.Msg, stream.Metadata) error

// reader reads one stream of the log from its start, and then what comes. When its feed ends it
// reads everything again. That is right whatever has happened meanwhile, because an old message
// changes nothing for a handler that knows a newer one.
type reader struct {
	log     *Log
	wants   jetstream.StreamConfig
	deliver jetstream.DeliverPolicy
	handle  handler

	completeness                      // only the proof under way uses it
	unrecorded   atomic.Pointer[loss] // nil when the stream says by itself since when it is complete
	shift        atomic.Int64         // of its stamps to the time of the log, in nanoseconds

	mu      sync.Mutex
	feed    *stream.Feed
	created time.Time // of the stream that feed reads
	handled uint64    // everything up to this sequence was handled
	awaited uint64    // the sequence for which await waits, or last waited
	arrived *sync.Cond
}

// reopenAfter is the pause between two feeds, so that a stream that can't be read is not asked all
// the time.
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
			r.log.config.Logger.Debug("reading a stream of the log again from its start", "stream", r.wants.Name, "err", err)
			stream.Sleep(ctx, reopenAfter)
		}
	}
}

func (r *reader) open(ctx context.Context) (*stream.Feed, error) {
	asking, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	if r != r.log.pings { // the shift is right only after the clock was set
		if _, err := r.log.pings.info(asking); err != nil {
			return nil, err
		}
	}
	info, err := r.info(asking)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.feed, r.created, r.handled = nil, info.Created, 0
	r.mu.Unlock()
	f, err := stream.Open(ctx, r.log.nc, r.log.js, r.wants.Name, jetstream.ConsumerConfig{
		Description:       "idle-scaler reads its log",
		FilterSubject:     r.wants.Subjects[0],
		DeliverPolicy:     r.deliver,
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		FlowControl:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 30 * time.Second,
	}, r.log.config.Heartbeat, r.take)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.feed = f
	return f, nil
}

// take handles one message.
func (r *reader) take(m *nats.Msg, at stream.Metadata) {
	if err := r.handle(m, at); err != nil {
		r.log.countMalformed(m, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handled = at.Sequence
	if r.handled >= r.awaited {
		r.arrived.Broadcast()
	}
}

// info asks for the state of the stream, and measures how far its clock differs from that of the
// log. The stream of pings sets the clock of the log.
func (r *reader) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	clock := r.log.config.Clock
	before := time.Now()
	found, err := r.log.js.Stream(ctx, r.wants.Name)
	after := time.Now()
	if err != nil {
		return nil, err
	}
	info := found.CachedInfo()
	if r == r.log.pings {
		clock.Measured(info.TimeStamp, before, after)
	}
	r.shift.Store(int64(stream.Shift(clock.At(before), clock.At(after), info.TimeStamp)))
	if info.TimeStamp.IsZero() { // an old NATS server sends none
		info.TimeStamp = after
	}
	return info, nil
}

// clockShift is the difference that turns a stamp of the stream into the time of the log.
func (r *reader) clockShift() time.Duration { return time.Duration(r.shift.Load()) }

// position returns the sequence up to which everything was handled.
func (r *reader) position() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handled
}

// usable returns an error when silence in the stream means nothing: it is not what the log needs,
// or it is full. It counts as full a little below its limits: a NATS cluster counts messages on
// their way too and then refuses even to replace one, and a stream reaches its limit in bytes
// before the last byte. A stream that keeps every message is never full here, because its senders
// see what it refuses.
func (r *reader) usable(info *jetstream.StreamInfo) error {
	if err := stream.Compatible(info.Config, r.wants); err != nil {
		return err
	}
	if info.Config.MaxMsgsPerSubject != 1 {
		return nil
	}
	full := func(limit string, most int64) error {
		return fmt.Errorf("it is full and refuses messages of new servers: "+
			"raise its %s, which is %d, or purge the subjects of servers that are gone", limit, most)
	}
	if most := info.Config.MaxMsgs; most > 0 && info.State.Msgs >= uint64(most-most/100) {
		return full("max_msgs", most)
	}
	if most := info.Config.MaxBytes; most > 0 && int64(info.State.Bytes) >= most-max(most/100, wire.MaxPayload) {
		return full("max_bytes", most)
	}
	return nil
}

// Why a reader has not caught up.
var (
	errOtherStream = errors.New("the stream was created again, or restored, and is being read from its start")
	errBehind      = errors.New("not everything in the stream has been read yet")
)

// catchUp returns the state of the stream once everything in it was handled. When ctx is done
// before it returns why. Only one call may run at a time.
func (r *reader) catchUp(ctx context.Context) (*jetstream.StreamInfo, error) {
	before := r.position()
	info, err := r.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = errors.Join(err, r.log.config.Ensure(ctx))
	}
	if err != nil {
		return nil, err
	}
	if lost := r.update(info); lost != "" {
		r.log.noteLoss(r, lost)
	}
	if err := r.usable(info); err != nil {
		return nil, err
	}
	return info, r.caughtUp(ctx, before, info)
}

// caughtUp returns nil once everything was handled that the stream held when it was asked for info.
// Before is the position at that time.
func (r *reader) caughtUp(ctx context.Context, before uint64, info *jetstream.StreamInfo) error {
	newest := info.State.LastSeq
	r.mu.Lock()
	f, other := r.feed, !r.created.Equal(info.Created) || newest < before
	r.mu.Unlock()
	switch {
	case f == nil:
		return errBehind
	case other:
		f.Close(errOtherStream)
		return errOtherStream
	}
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond) // messages on their way take less
	defer cancel()
	if r.await(soon, f, newest, newest) {
		return nil
	}
	// The newest message may have been removed, then it never comes. Only the leader of the stream
	// knows which is the last that is left: the consumer may be on a server that lags, and has nothing
	// more to deliver although there is more.
	handled := r.position()
	last, err := stream.Last(ctx, r.log.nc, r.wants.Name, r.wants.Subjects[0])
	if err != nil {
		f.Close(err)
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	if r.await(ctx, f, min(last.Sequence, newest), newest) {
		return nil
	}
	if r.position() == handled {
		f.Close(stream.ErrSilent) // it delivers nothing although there is more
	}
	return errBehind
}

// await waits until a feed has handled the last message, by its sequence, or a later one. Then it
// records that nothing is left up to newest, and returns true. It returns false when ctx is done
// before, or the reader has another feed.
func (r *reader) await(ctx context.Context, f *stream.Feed, last, newest uint64) bool {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.arrived.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaited = last
	for r.handled < last && ctx.Err() == nil {
		r.arrived.Wait()
	}
	if r.feed != f || r.handled < last {
		return false
	}
	r.handled = max(r.handled, newest)
	return true
}
