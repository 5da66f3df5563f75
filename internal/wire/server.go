package wire

import (
	"cmp"
	"time"
)

// Page is the answer to a list.
type Page struct {
	Servers []ServerSummary `json:"servers"`
	Next    string          `json:"next,omitempty"` // the After of the request for the next page; empty on the last
}

// ListRequest is the payload of a list. All fields are optional.
type ListRequest struct {
	Selector string `json:"selector,omitempty"` // of labels
	Limit    int    `json:"limit,omitempty"`    // at most so many servers; 0: as many as fit
	After    string `json:"after,omitempty"`    // the Next of the page before
}

// ReadListRequest reads the payload of a list.
func ReadListRequest(payload []byte) (r ListRequest, after ID, err error) {
	has, err := decode(payload, fields{"selector": &r.Selector, "limit": &r.Limit, "after": &after})
	return r, after, cmp.Or(err, checkLimit(has["limit"], r.Limit))
}

func checkLimit(asked bool, limit int) error {
	if asked && limit < 1 {
		return outOfRange("limit %d: ask for at least 1", limit)
	}
	return nil
}

// ServerSummary is one server in a list.
type ServerSummary struct {
	Name          string     `json:"name"`
	Namespace     string     `json:"namespace"`
	Status        string     `json:"status"`            // running, stopped, pending, scaling, failed
	Failure       string     `json:"failure,omitempty"` // why it is failed
	Replicas      int        `json:"replicas"`          // wanted
	ReadyReplicas int        `json:"ready_replicas"`
	Endpoints     []Endpoint `json:"endpoints"`
	LastActivity  time.Time  `json:"last_activity,omitzero"`
	IdleFor       string     `json:"idle_for,omitempty"`     // of a server that is awake, for people: "4m12s"
	IdleSeconds   int64      `json:"idle_seconds,omitempty"` // the same, for programs
	Reason        string     `json:"reason,omitempty"`       // why it is awake or asleep
	Next          string     `json:"next,omitempty"`         // what comes next, for people: "sleeps in 4m12s"
	NextChange    time.Time  `json:"next_change,omitzero"`   // when that may change if nothing happens
	SleepsAt      time.Time  `json:"sleeps_at,omitzero"`     // when it is due to sleep if nothing happens
}

// Endpoint is where a server is reached when it is awake.
type Endpoint struct {
	Service string `json:"service"`
	Type    string `json:"type"`
	Port    string `json:"port,omitempty"`
	URL     string `json:"url"`
}
