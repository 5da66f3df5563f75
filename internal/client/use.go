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

const (
	storeTimeout = 5 * time.Second // how long a stream may take to store a message
	pingsAtOnce  = 64              // how many pings may be under way at once
)

// Ping reports that servers are used now. It wakes a sleeping server without waiting for it, and
// restarts the idle time of one that is awake. It returns when NATS has stored the pings: a lost
// ping wakes nobody. An error about one server keeps no ping of the others from being sent.
func (c *Client) Ping(ctx context.Context, ids ...wire.ID) error {
	for _, id := range ids {
		if err := wire.CheckID(id); err != nil {
			return err
		}
	}
	errs := make([]error, len(ids))
	var pings errgroup.Group
	pings.SetLimit(pingsAtOnce)
	for i, id := range ids {
		pings.Go(func() error {
			if err := c.store(ctx, c.subjects.Activity(id), nil); err != nil {
				errs[i] = fmt.Errorf("%s: %w", id, err)
			}
			return nil
		})
	}
	_ = pings.Wait() // errs has all errors, not only the first
	return errors.Join(errs...)
}

// Lease reports that holder uses a server for ttl from now. It replaces the former lease of the
// same holder, so call it again to renew or to shorten the lease; 0 ends it. A sleeping server
// wakes. Lease returns when NATS has stored it.
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
	ctx, done := c.denials.expect(ctx, subject)
	defer done()
	_, err := c.js.Publish(ctx, subject, payload)
	switch refused, ok := errors.AsType[*jetstream.APIError](err); {
	case err == nil:
		return nil
	case ok:
		return fmt.Errorf("the stream does not take it: %s", refused.Description)
	case errors.Is(err, jetstream.ErrInvalidJSAck):
		return errors.New("no stream, but something else answers on this subject")
	}
	return c.noAnswer(ctx, err)
}
