package wire

import (
	"fmt"
	"time"
)

// PauseTakes is how long the answer to a pause takes by itself. After it no daemon decides any more
// to put anything to sleep without knowing of the pause: a proof of silence may be a second old
// when it is asked for, the decision by it is made within a second, and its write begins within
// another. A write that began before is not waited for: it takes as long as Kubernetes and its
// webhooks take.
const PauseTakes = 3 * time.Second

// PauseAnswer is the answer to a request that pauses or resumes.
type PauseAnswer struct {
	Scope  string    `json:"scope"` // which servers, in words
	Paused bool      `json:"paused"`
	Since  time.Time `json:"since"`

	// Servers is how many there are now, as far as this replica knows. None may be a slip of the
	// pen.
	Servers int `json:"servers"`
}

// PauseOrder is a message of the stream of pauses: an order to pause, or to resume. It is never
// deleted, so that a loss can be noticed.
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

// Says reports whether another order would change nothing after this one: the same, or one to
// resume what is not paused.
func (o PauseOrder) Says(next PauseOrder) bool {
	return o.Paused == next.Paused && (!o.Paused || o.Actor == next.Actor && o.Reason == next.Reason)
}

// ScopeWords says in words whom a pause is about, to somebody who looks at one server.
func ScopeWords(scope ID) string {
	switch {
	case scope == ID{}:
		return "all servers"
	case scope.Name == "":
		return "the namespace " + scope.Namespace
	}
	return "this server"
}
