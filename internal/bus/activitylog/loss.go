package activitylog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
)

// loss is that of messages of a stream: what it tells of the time before it was born is not
// complete.
type loss struct {
	stream        string
	created, born time.Time
}

// keepRecords writes on the streams that they have lost messages, for the daemons that start later.
// It tries again at each interval, beside the proofs: a write that waits in vain for its answer must not keep them
// from proving anything.
func (l *Log) keepRecords(ctx context.Context) {
	left := make(map[string]loss)
	said := ""
	for ctx.Err() == nil {
		var again <-chan time.Time
		if len(left) > 0 {
			again = time.After(l.config.Interval)
		}
		select {
		case lost := <-l.unrecorded:
			left[lost.stream] = lost // the newer one: whatever was lost before it is behind it
		case <-again:
		case <-ctx.Done():
			return
		}
		for name, lost := range left {
			err := l.record(ctx, lost)
			switch {
			case err == nil:
				delete(left, name)
				said = ""
			case ctx.Err() == nil && err.Error() != said:
				l.config.Logger.Warn("cannot record a loss: a daemon that starts before it is recorded knows nothing of it", "stream", name, "err", err)
				said = err.Error()
			}
		}
	}
}

// record writes a loss on its stream, unless it tells by itself: it is another one now.
func (l *Log) record(ctx context.Context, lost loss) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Patience)
	defer cancel()
	found, err := l.js.Stream(ctx, lost.stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("ask for the configuration of the stream: %w", err)
	}
	info := found.CachedInfo()
	if !info.Created.Equal(lost.created) || !completeSince(info).Before(lost.born) {
		return nil
	}
	info.Config.Metadata = stream.With(info.Config.Metadata, completeKey, lost.born.UTC().Format(time.RFC3339Nano))
	if _, err := l.js.UpdateStream(ctx, info.Config); err != nil {
		return fmt.Errorf("write the metadata of the stream: %w", err)
	}
	return nil
}
