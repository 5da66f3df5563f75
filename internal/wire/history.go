package wire

import (
	"cmp"
	"time"
)

// EventsKept is how long the stream keeps an event.
const EventsKept = 7 * 24 * time.Hour

// History is the answer to a history: what happened to one server.
type History struct {
	Events    []HistoryEntry `json:"events"`              // in order of time, the newest last
	Truncated bool           `json:"truncated,omitempty"` // there were more before these
}

// HistoryEntry is one event of a server.
type HistoryEntry struct {
	At   time.Time `json:"at"`
	Type string    `json:"type"`
	EventData
	ID string `json:"id"` // the same event published twice has the same ID
}

// HistoryRequest is the payload of a history. All fields are optional.
type HistoryRequest struct {
	Since string `json:"since,omitempty"` // a duration: how far back
	Limit int    `json:"limit,omitempty"` // at most so many events: the newest
}

const (
	defaultEvents = 100
	maxEvents     = 10_000 // more never fit into one message
)

// ReadHistoryRequest reads the payload of a history, with defaults for its empty fields.
func ReadHistoryRequest(payload []byte) (since time.Duration, limit int, err error) {
	since, limit = EventsKept, defaultEvents
	has, err := decode(payload, fields{"since": &since, "limit": &limit})
	err = cmp.Or(err, checkSpan("since", since), checkLimit(has["limit"], limit))
	return since, min(limit, maxEvents), err
}

// checkSpan returns an error if the stream can't have events of all this time.
func checkSpan(field string, span time.Duration) error {
	if span < time.Second || span > EventsKept {
		return outOfRange(`%s %s: ask for "1s" to "168h", which is how long events are kept`, field, span)
	}
	return nil
}
