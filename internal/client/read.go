package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"idle-scaler/internal/wire"
)

// Status returns everything that the daemon knows about a server.
func (c *Client) Status(ctx context.Context, id wire.ID) (wire.ServerStatus, error) {
	return request[wire.ServerStatus](ctx, c, "status", id, wire.CheckID, nil, 0)
}

// Explain returns why a server is awake or asleep, in words.
func (c *Client) Explain(ctx context.Context, id wire.ID) (wire.Explanation, error) {
	return request[wire.Explanation](ctx, c, "explain", id, wire.CheckID, nil, 0)
}

// List returns the servers of a namespace (of all, if it is empty) that match a label selector
// (any, if it is empty).
func (c *Client) List(ctx context.Context, namespace, selector string) (servers []wire.ServerSummary, err error) {
	scope, asked := wire.ID{Namespace: namespace}, wire.ListRequest{Selector: selector}
	for {
		page, err := request[wire.Page](ctx, c, "list", scope, wire.CheckScope, asked, 0)
		if err != nil {
			return nil, err
		}
		servers = append(servers, page.Servers...)
		if asked.After = page.Next; page.Next == "" {
			return servers, nil
		}
	}
}

// History returns the newest events of a server, at most limit, in order of time. Since says how
// far back; zero is as far as events are kept. Limit zero leaves it to the daemon.
func (c *Client) History(ctx context.Context, id wire.ID, since time.Duration, limit int) (wire.History, error) {
	asked := wire.HistoryRequest{Since: cmp.Or(since, wire.EventsKept).String(), Limit: limit}
	return request[wire.History](ctx, c, "history", id, wire.CheckID, asked, 0)
}

// Report returns how long the servers of a namespace (of all, if it is empty) slept over a time
// until now, and what that freed. Zero is one day; events are kept for [wire.EventsKept].
func (c *Client) Report(ctx context.Context, namespace string, over time.Duration) (all wire.Report, err error) {
	scope, asked := wire.ID{Namespace: namespace}, wire.ReportRequest{Over: cmp.Or(over, 24*time.Hour).String()}
	for {
		page, err := request[wire.Report](ctx, c, "report", scope, wire.CheckScope, asked, 0)
		if err != nil {
			return wire.Report{}, err
		}
		page.Servers = append(all.Servers, page.Servers...)
		all = page
		if asked.To, asked.After = page.To, page.Next; page.Next == "" {
			return all, nil
		}
	}
}

// Watch calls handle for each event of a namespace (of all, if it is empty) from now on. It returns
// nil when ctx is done, and the error of handle when there is one. It misses events while NATS is
// away.
func (c *Client) Watch(ctx context.Context, namespace string, handle func(wire.Event) error) error {
	subject := c.subjects.Events(wire.ID{Namespace: namespace})
	ctx, done := c.denials.expect(ctx, subject)
	defer done()
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection is closed
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, ErrNotPermitted):
			return cause
		case cause != nil:
			return nil
		case err != nil:
			return fmt.Errorf("watch events: %w", err)
		}
		e, err := c.subjects.ReadEvent(m.Subject, m.Data)
		if err != nil {
			continue // not an event, like an acknowledgement of JetStream that somebody sent here
		}
		if err := handle(e); err != nil {
			return err
		}
	}
}
