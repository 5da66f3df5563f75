package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// readTimeout is how long it may take to read events; clients wait for longer.
const readTimeout = 20 * time.Second

// readEvents is event.Read, for a few requests at once.
func (a *API) readEvents(ctx context.Context, about wire.ID, since time.Time, types []scaler.EventType,
	handle func(wire.Event),
) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	select {
	case a.reading <- struct{}{}:
		defer func() { <-a.reading }()
	case <-ctx.Done():
		return fmt.Errorf("%w: others are reading events: try again in a moment", answer.ErrUnavailable)
	}
	err := event.Read(ctx, a.nc, a.config.Subjects, about, since, types, handle)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: the events could not be read within %s: ask for a shorter time, or for one namespace",
			answer.ErrUnavailable, readTimeout)
	case err != nil:
		return fmt.Errorf("%w: read events: %w: try again in a moment", answer.ErrUnavailable, err)
	}
	return nil
}

// history answers with the newest events of a server that fit into one message. A server that is
// gone has a history too.
func (a *API) history(ctx context.Context, r request) error {
	since, limit, err := wire.ReadHistoryRequest(r.Data)
	if err != nil {
		return err
	}
	last := newest{limit: limit}
	begin := time.Now().Add(-since)
	err = a.readEvents(ctx, r.scope, begin, nil, func(e wire.Event) { last.add(e.HistoryEntry) })
	if err != nil {
		return err
	}
	last.cut()
	if len(last.events) == 0 {
		if _, err := a.config.Servers.Status(ctx, r.scope); err != nil {
			return err
		}
	}
	slices.Reverse(last.events)
	page := fill(last.events, limit, a.room(), asIs)
	slices.Reverse(page)
	return a.answer(r, wire.History{Events: page, Truncated: last.more || len(page) < len(last.events)}, nil)
}

// newest keeps the newest of many events, each once.
type newest struct {
	limit  int
	events []wire.HistoryEntry
	more   bool // there were others
}

// newestSlack is how many events come before they are cut: to sort them for each would take long.
const newestSlack = 100

func (n *newest) add(e wire.HistoryEntry) {
	if n.events = append(n.events, e); len(n.events) >= 2*n.limit+newestSlack {
		n.cut()
	}
}

// cut puts the events in order of time, and drops copies and the oldest that are too many.
func (n *newest) cut() {
	slices.SortStableFunc(n.events, func(a, b wire.HistoryEntry) int { return a.At.Compare(b.At) })
	seen := make(map[string]bool, len(n.events))
	n.events = slices.DeleteFunc(n.events, func(e wire.HistoryEntry) bool {
		again := seen[e.ID]
		seen[e.ID] = true
		return again
	})
	if many := len(n.events) - n.limit; many > 0 {
		n.events, n.more = slices.Delete(n.events, 0, many), true
	}
}
