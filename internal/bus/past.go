package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/scaler"
)

// History is what happened to one server.
type History struct {
	Events    []HistoryEntry `json:"events"`              // in order of time, the newest last
	Truncated bool           `json:"truncated,omitempty"` // there were more before these
}

// HistoryEntry is one event of a server.
type HistoryEntry struct {
	At   time.Time `json:"at"`
	Type string    `json:"type"`
	EventData
	ID string `json:"id"`
}

// NewHistoryEntry returns an event as a history has it.
func NewHistoryEntry(e scaler.Event) HistoryEntry {
	return HistoryEntry{e.At.UTC(), string(e.Type), newEventData(e), e.ID}
}

const (
	defaultLimit = 100
	maxLimit     = 10_000 // more never fit into one message
)

// history answers with the newest events of a server that fit into one message. A server that is gone has a history too.
func (a *API) history(ctx context.Context, r micro.Request) error {
	_, rest := a.config.Subjects.split(r.Subject())
	id, err := parseID(rest)
	if err != nil {
		return err
	}
	since, limit := eventsKept, defaultLimit
	has, err := decode(r.Data(), fields{"since": &since, "limit": &limit})
	if err == nil {
		err = checkSpan("since", since)
	}
	if err == nil {
		err = checkLimit(has["limit"], limit)
	}
	if err != nil {
		return err
	}
	last := newest{limit: min(limit, maxLimit)}
	if err := a.past.read(ctx, a.config.Subjects.Events(id), time.Now().Add(-since), nil, last.add); err != nil {
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
	answer := History{Events: []HistoryEntry{}, Truncated: last.more}
	free := room(a.nc.MaxPayload() - pageRoom)
	for _, e := range slices.Backward(last.events) {
		entry := NewHistoryEntry(e)
		encoded, err := json.Marshal(entry) // to know how long it is
		if err != nil {
			return fmt.Errorf("encode event %s: %w", e.ID, err)
		}
		if !free.take(encoded) {
			answer.Truncated = true
			break
		}
		answer.Events = append(answer.Events, entry)
	}
	slices.Reverse(answer.Events)
	return a.answer(r, answer, nil)
}

// newest keeps the newest of many events, each once.
type newest struct {
	limit  int
	events []scaler.Event
	more   bool // there were others
}

func (n *newest) add(e scaler.Event) {
	if n.events = append(n.events, e); len(n.events) >= 2*n.limit+defaultLimit {
		n.cut()
	}
}

// cut puts the events in order, and drops those that are too many.
func (n *newest) cut() {
	slices.SortStableFunc(n.events, func(a, b scaler.Event) int { return a.At.Compare(b.At) })
	seen := make(map[string]bool, len(n.events))
	n.events = slices.DeleteFunc(n.events, func(e scaler.Event) bool {
		again := seen[e.ID]
		seen[e.ID] = true
		return again
	})
	if many := len(n.events) - n.limit; many > 0 {
		n.events, n.more = slices.Delete(n.events, 0, many), true
	}
}

// checkSpan says whether there can be events of a time until now.
func checkSpan(field string, span time.Duration) error {
	if span < time.Second || span > eventsKept {
		return fmt.Errorf(`%w: %s %s: ask for "1s" to "168h", which is how long events are kept`, scaler.ErrOutOfRange, field, span)
	}
	return nil
}

// History says what happened to a server in the time since, the newest limit events of it; zero leaves both to the daemon.
func (c *Client) History(ctx context.Context, id scaler.ID, since time.Duration, limit int) (h History, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	asked := struct {
		Since string `json:"since,omitempty"`
		Limit int    `json:"limit,omitempty"`
	}{span(since), limit}
	if err = CheckID(id); err == nil {
		err = c.request(ctx, "history", id, asked, &h)
	}
	return h, err
}
