package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/wire"
)

// Measure sets the clock of the log by the stream of the pings.
func Measure(ctx context.Context, js jetstream.JetStream, subjects wire.Subjects, clock *activity.Clock) error {
	name := Activity.Name(subjects)
	before := time.Now()
	found, err := js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	clock.Measured(found.CachedInfo().TimeStamp, before, time.Now())
	return nil
}

// Shift is what turns a stamp of a stream into the time of the log. On a NATS cluster each stream has the clock
// of the server that leads it. Before and after are instants of the log between which that server's clock
// showed stamped. The way takes time, so a difference that it explains is none. An old NATS server does not say
// what its clock shows.
func Shift(before, after, stamped time.Time) time.Duration {
	if stamped.IsZero() {
		return 0
	}
	way := after.Sub(before) / 2
	difference := before.Add(way).Sub(stamped)
	if difference.Abs() <= way {
		return 0
	}
	return difference
}
