package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/wire"
)

// readTimeout is how long it may take to read events; clients wait for longer.
const readTimeout = 20 * time.Second

// readEvents hands on the events of a subject that happened since an instant: those of some types,
// or all if none are named. The same event may come twice.
func (a *API) readEvents(ctx context.Context, subject string, since time.Time, types []string,
	handle func(wire.Event),
) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	select {
	case a.read <- struct{}{}:
		defer func() { <-a.read }()
	case <-ctx.Done():
		return fmt.Errorf("%w: others are reading events: try again in a moment", answer.ErrUnavailable)
	}
	err := a.events.Read(ctx, subject, since, types, handle)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: the events could not be read within %s: ask for a shorter time, or for one namespace",
			answer.ErrUnavailable, readTimeout)
	}
	if err != nil {
		return fmt.Errorf("%w: read events: %w: try again in a moment", answer.ErrUnavailable, err)
	}
	return nil
}

// history answers with the newest events of a server that fit into one message. A server that is
// gone has a history too.
func (a *API) history(ctx context.Context, r micro.Request) error {
	_, rest := a.config.Subjects.SplitRequest(r.Subject())
	id, err := wire.ParseID(rest)
	if err != nil {
		return err
	}
	since, limit, err := wire.ReadHistoryRequest(r.Data())
	if err != nil {
		return err
	}
	last := newest{limit: limit}
	err = a.readEvents(ctx, a.config.Subjects.Events(id), time.Now().Add(-since), nil, func(e wire.Event) { last.add(e.HistoryEntry) })
	if err != nil {
		return err
	}
	last.cut()
	if len(last.events) == 0 {
		if _, err := a.config.Servers.Status(ctx, id); err != nil {
			return err
		}
	}
	return a.answerHistory(r, &last)
}

func (a *API) answerHistory(r micro.Request, last *newest) error {
	answer := wire.History{Events: []wire.HistoryEntry{}, Truncated: last.more}
	free := room(a.nc.MaxPayload() - pageRoom)
	for _, e := range slices.Backward(last.events) {
		encoded, err := json.Marshal(e) // to know how long it is
		if err != nil {
			return fmt.Errorf("encode event %s: %w", e.ID, err)
		}
		if !free.take(encoded) {
			answer.Truncated = true
			break
		}
		answer.Events = append(answer.Events, e)
	}
	slices.Reverse(answer.Events)
	return a.answer(r, answer, nil)
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

// cut puts the events in order, and drops those that are too many.
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
