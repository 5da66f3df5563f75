package wire

import (
	"fmt"
	"time"
)

// PauseTakes is how long the daemon waits before it answers a pause. After that no daemon decides
// any more to put a server to sleep without knowing of the pause: a proof of silence may be one
// second old, the decision takes less than another, and the write begins within a third. The daemon
// does not wait for writes that began before, which take as long as Kubernetes and its webhooks
// take.
const PauseTakes = 3 * time.Second

// PauseAnswer is the answer to a request that pauses or resumes.
type PauseAnswer struct {
	Scope  string    `json:"scope"` // which servers, in words
	Paused bool      `json:"paused"`
	Since  time.Time `json:"since"`

	// Servers is how many there are now, as far as this replica knows. 0 may be a typing error.
	Servers int `json:"servers"`
}

// PauseOrder is a message of the stream of pauses: an order to pause, or to resume. It is never
// deleted, so that the daemon notices a loss.
type PauseOrder struct {
	Paused bool      `json:"paused"`
	Since  time.Time `json:"since"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// ReadPauseRequest reads the payload of a request to pause or to resume.
func ReadPauseRequest(verb string, payload []byte) (by Sender, err error) {
	_, err = decode(payload, fields{"actor": text{&by.Actor, maxActor}, "reason": text{&by.Reason, maxReason}})
	if err != nil {
		err = fmt.Errorf("%s: %w", verb, err)
	}
	return by, err
}

// ReadPauseOrder reads a message of the stream of pauses.
func ReadPauseOrder(payload []byte) (o PauseOrder, err error) {
	has, err := decode(payload, fields{"paused": &o.Paused, "since": &o.Since, "actor": &o.Actor, "reason": &o.Reason})
	if err != nil {
		return PauseOrder{}, err
	}
	if !has["paused"] || !has["since"] {
		return PauseOrder{}, invalid("the order says not both paused and since: pause and resume by request")
	}
	return o, nil
}

// Covers reports whether another order would change nothing after this one: the same order, or one
// to resume after one to resume.
func (o PauseOrder) Covers(next PauseOrder) bool {
	return o.Paused == next.Paused && (!o.Paused || o.Actor == next.Actor && o.Reason == next.Reason)
}

// ScopeWords describes the scope of a pause, for a reader who looks at one server.
func ScopeWords(scope ID) string {
	switch {
	case scope == ID{}:
		return "all servers"
	case scope.Name == "":
		return "the namespace " + scope.Namespace
	}
	return "this server"
}
