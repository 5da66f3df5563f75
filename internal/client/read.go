package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"idle-scaler/internal/wire"
)

// patience is how long a client waits for the answer to a read.
const patience = 30 * time.Second

// Status returns all there is to say about a server.
func (c *Client) Status(ctx context.Context, id wire.ID) (s wire.ServerStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = wire.CheckID(id); err == nil {
		err = c.request(ctx, "status", id, nil, &s)
	}
	return s, err
}

// Explain says why a server is awake or asleep.
func (c *Client) Explain(ctx context.Context, id wire.ID) (e wire.Explanation, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = wire.CheckID(id); err == nil {
		err = c.request(ctx, "explain", id, nil, &e)
	}
	return e, err
}

// List returns the servers of a namespace, or of all when it is empty, that match a label selector,
// which may be empty.
func (c *Client) List(ctx context.Context, namespace, selector string) ([]wire.ServerSummary, error) {
	var servers []wire.ServerSummary
	for after := ""; ; {
		asked := wire.ListRequest{Selector: selector, After: after}
		var page wire.Page
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := c.request(ctx, "list", wire.ID{Namespace: namespace}, asked, &page)
		cancel()
		if err != nil {
			return nil, err
		}
		servers = append(servers, page.Servers...)
		if after = page.Next; after == "" {
			return servers, nil
		}
	}
}

// History returns the newest limit events of a server in the time since; zero leaves both to the
// daemon.
func (c *Client) History(ctx context.Context, id wire.ID, since time.Duration, limit int) (h wire.History, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = wire.CheckID(id); err == nil {
		err = c.request(ctx, "history", id, wire.HistoryRequest{Since: span(since), Limit: limit}, &h)
	}
	return h, err
}

// Report returns what sleep came to for the servers of a namespace, or for all if it is empty, over
// a time until now.
func (c *Client) Report(ctx context.Context, namespace string, over time.Duration) (wire.Report, error) {
	var all wire.Report
	asked := wire.ReportRequest{Over: span(over)}
	for {
		var page wire.Report
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := c.request(ctx, "report", wire.ID{Namespace: namespace}, asked, &page)
		cancel()
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

func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// Watch hands on what happens from now on to the servers of a namespace, or of all when it is
// empty, until ctx is done or handle returns an error. What somebody else has sent there, among it
// acknowledgements of JetStream, is no event.
func (c *Client) Watch(ctx context.Context, namespace string, handle func(wire.Event) error) error {
	subject := c.subjects.Events(wire.ID{Namespace: namespace})
	ctx, done := c.refused.until(ctx, subject)
	defer done()
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection is closed
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if why := context.Cause(ctx); errors.Is(why, ErrNotPermitted) {
			return why
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch events: %w", err)
		}
		e, err := c.subjects.ReadEvent(m.Subject, m.Data)
		if err != nil {
			continue
		}
		if err := handle(e); err != nil {
			return err
		}
	}
}
