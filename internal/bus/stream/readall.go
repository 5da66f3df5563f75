package stream

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ReadAll hands on all messages that a stream has for a consumer that it makes for that, and returns
// when there are no more.
func ReadAll(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, stream string,
	config jetstream.ConsumerConfig, handle func(*nats.Msg),
) error {
	config.AckPolicy, config.MaxDeliver, config.FlowControl = jetstream.AckNonePolicy, 1, true
	config.MemoryStorage, config.Replicas, config.InactiveThreshold = true, 1, 10*time.Second
	var once sync.Once
	done := make(chan struct{})
	f, err := Open(ctx, nc, js, stream, config, time.Second, func(m *nats.Msg, p Metadata) {
		select {
		case <-done: // what handle fills belongs to the caller again
			return
		default:
		}
		handle(m)
		if p.Pending == 0 {
			once.Do(func() { close(done) })
		}
	})
	if err != nil {
		return err
	}
	defer f.Close(nil)
	if f.nothing {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-f.Done:
		return f.err
	}
}
