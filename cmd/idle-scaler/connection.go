package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/natsconn"
)

// connect opens a connection to NATS. With retry it returns at once, and connects as soon as NATS
// can be reached.
func (c *natsConfig) connect(urls, name string, retry bool, drops *natsconn.Drops, l *slog.Logger) (*nats.Conn, error) {
	o := c.login
	o.URLs, o.Name, o.Retry, o.Drops = strings.Split(urls, ","), name, retry, drops
	return natsconn.Connect(o, l)
}

// closeWithin is how long the connections may take to send what is left. With
// scaler.Config.DrainFor it stays below the 30 seconds that Kubernetes gives a pod to end.
const closeWithin = 5 * time.Second

// ensureOnce makes the streams as soon as NATS can be reached. An error is about the streams: while
// NATS is away it tries again, and at the end of ctx it returns nil.
func ensureOnce(ctx context.Context, nc *nats.Conn, ensure func(context.Context) error, logger *slog.Logger) error {
	for await(ctx, nc.IsConnected) {
		err := ensure(ctx)
		if ctx.Err() != nil {
			return nil // asked to end meanwhile
		}
		if err == nil || nc.IsConnected() && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		logger.Warn("cannot look at the streams, trying again", "err", err)
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}
