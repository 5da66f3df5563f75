package activitylog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
)

// loss is what the daemon has to record on a stream that lost messages.
type loss struct{ created, completeSince time.Time }

// noteLoss logs a loss of messages, and has it recorded.
func (l *Log) noteLoss(r *reader, what string) {
	l.config.Logger.Warn("a stream has lost messages: no server sleeps until the log is complete for its idle-after",
		"stream", r.wants.Name, "what", what)
	r.unrecorded.Store(&loss{r.last.Created, r.since})
	select {
	case l.noted <- struct{}{}:
	default: // recordLosses is about to look at all readers anyway
	}
}

// recordLosses writes on the streams since when they are complete, for the daemons that start
// later. It tries at each interval until that succeeds. It runs beside the proofs, because a write
// that gets no answer must not delay them.
func (l *Log) recordLosses(ctx context.Context) {
	logged := ""
	for {
		select {
		case <-l.noted:
		case <-time.After(l.config.Interval):
		case <-ctx.Done():
			return
		}
		for _, r := range l.readers {
			lost := r.unrecorded.Load()
			if lost == nil {
				continue
			}
			err := l.record(ctx, r.wants.Name, *lost)
			switch {
			case err == nil:
				r.unrecorded.CompareAndSwap(lost, nil)
				logged = ""
			case ctx.Err() == nil && err.Error() != logged:
				l.config.Logger.Warn("cannot record a loss of messages: a daemon that starts now does not see it",
					"stream", r.wants.Name, "err", err)
				logged = err.Error()
			}
		}
	}
}

// record writes a loss on its stream. It writes nothing when the stream was created again, because
// everybody can see that.
func (l *Log) record(ctx context.Context, name string, lost loss) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Patience)
	defer cancel()
	found, err := l.js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read the configuration of the stream: %w", err)
	}
	info := found.CachedInfo()
	if !info.Created.Equal(lost.created) || !recordedSince(info).Before(lost.completeSince) {
		return nil
	}
	since := lost.completeSince.UTC().Format(time.RFC3339Nano)
	info.Config.Metadata = stream.With(info.Config.Metadata, completeKey, since)
	if _, err := l.js.UpdateStream(ctx, info.Config); err != nil {
		return fmt.Errorf("write the metadata of the stream: %w", err)
	}
	return nil
}
