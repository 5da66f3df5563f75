package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"idle-scaler/internal/wire"
)

// storeTimeout is how long a stream may take to store a message.
const storeTimeout = 5 * time.Second

// pingsAtOnce is how many pings are on their way at once.
const pingsAtOnce = 64

// Ping says that servers are used now. It returns when that is stored: a ping that is not wakes
// nobody. All are sent, whatever becomes of some.
func (c *Client) Ping(ctx context.Context, ids ...wire.ID) error {
	for _, id := range ids {
		if err := wire.CheckID(id); err != nil {
			return err
		}
	}
	errs := make([]error, len(ids))
	var all errgroup.Group
	all.SetLimit(pingsAtOnce)
	for i, id := range ids {
		all.Go(func() error {
			if err := c.store(ctx, c.subjects.Activity(id), nil); err != nil {
				errs[i] = fmt.Errorf("%s: %w", id, err)
			}
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs, each
	return errors.Join(errs...)
}

// Lease says that a holder will use a server for ttl from now, however long it has said so before.
// Zero ends the lease. It returns when the lease is stored.
func (c *Client) Lease(ctx context.Context, holder string, id wire.ID, ttl time.Duration) error {
	if err := errors.Join(wire.CheckHolder(holder), wire.CheckID(id), wire.CheckTTL(ttl)); err != nil {
		return err
	}
	return c.store(ctx, c.subjects.Lease(holder, id), wire.LeasePayload(ttl))
}

// store puts a message on the stream that keeps its subject.
func (c *Client) store(ctx context.Context, subject string, payload []byte) error {
	if !c.nc.IsConnected() {
		return ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ctx, done := c.refused.until(ctx, subject)
	defer done()
	_, err := c.js.Publish(ctx, subject, payload)
	var said *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return fmt.Errorf("the stream does not take it: %s", said.Description)
	case errors.Is(err, jetstream.ErrInvalidJSAck):
		return errors.New("no stream, but something else answers on this subject")
	}
	return c.unanswered(ctx, err)
}
