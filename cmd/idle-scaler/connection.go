package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/natsconn"
)

// connect opens a connection to NATS. With retry it is there at once, and connects as soon as NATS can be reached.
// What it drops is counted, if drops is not nil.
func (c *natsConfig) connect(servers, name string, retry bool, drops *natsconn.Drops, logger *slog.Logger) (*nats.Conn, error) {
	urls, err := natsURLs(servers)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return natsconn.Connect(natsconn.Options{
		URLs: urls, CredsFile: c.Creds, NKeyFile: c.NKey, User: c.User, Password: c.Password, Token: c.Token,
		CAFile: c.CA, CertFile: c.Cert, KeyFile: c.Key, Name: name, InboxPrefix: c.Inbox, Retry: retry, Drops: drops,
	}, logger)
}

// closeWithin is how long the connections may take to send what is left. With scaler.Config.DrainFor it stays below the 30
// seconds that Kubernetes gives a pod.
const closeWithin = 5 * time.Second

func closeAll(connections ...*nats.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	var errs []error
	for _, nc := range connections {
		errs = append(errs, natsconn.Close(ctx, nc))
	}
	return errors.Join(errs...)
}

// ensureOnce makes the streams as soon as NATS can be reached. What is wrong with them is an error; that NATS is away is not, nor is the end of ctx.
func ensureOnce(ctx context.Context, nc *nats.Conn, ensure func(context.Context) error, logger *slog.Logger) error {
	for {
		if nc.IsConnected() {
			err := ensure(ctx)
			if ctx.Err() != nil {
				return nil // asked to end meanwhile
			}
			if err == nil || nc.IsConnected() && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			logger.Warn("cannot look at the streams, trying again", "err", err)
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}
