package stream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ReadAll makes a consumer, hands all its messages to handle, and returns when there are no more. It never calls
// handle after it has returned.
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
