package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// PauseAnswer is the answer to a request that pauses or resumes.
type PauseAnswer struct {
	Scope  string    `json:"scope"` // which servers, in words
	Paused bool      `json:"paused"`
	Since  time.Time `json:"since"`

	Servers int `json:"servers"` // how many there are now, as far as this replica knows: none may be a slip of the pen
}

// PauseOrder is a message of the stream of pauses: an order to pause, or to resume. It is never deleted, so that a loss can be noticed.
type PauseOrder struct {
	Paused bool      `json:"paused"`
	Since  time.Time `json:"since"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// pauseTakes is after how long no sleep is under way any more that was decided without the pause: the proof that everything is known may be
// old already when it is asked for, what is decided by it may be carried out for as long, and written for as long again.
const pauseTakes = 3 * proofLasts

// pause answers requests to pause.
func (a *API) pause(ctx context.Context, r micro.Request) error { return a.setPaused(ctx, r, true) }

// resume answers requests to resume.
func (a *API) resume(ctx context.Context, r micro.Request) error { return a.setPaused(ctx, r, false) }

// setPaused stores an order to pause or to resume. A pause is answered when no daemon decides to put anything to sleep any more that
// does not know of it: a proof that it knows everything is valid for a while.
func (a *API) setPaused(ctx context.Context, r micro.Request, paused bool) error {
	verb, rest := a.config.Subjects.split(r.Subject())
	scope, err := parseScope(rest)
	if err != nil {
		return err
	}
	order := PauseOrder{Paused: paused, Since: time.Now().UTC()}
	if _, err := decode(r.Data(), fields{"actor": &order.Actor, "reason": &order.Reason}); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if err := checkTexts(verb, []freeText{{"actor", &order.Actor, maxActor}, {"reason", &order.Reason, maxReason}}); err != nil {
		return err
	}
	if err := a.checkPaused(ctx, scope, paused); err != nil {
		return err
	}
	payload, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("encode the order to %s: %w", verb, err)
	}
	switch _, err := a.js.Publish(ctx, a.config.Subjects.Pause(scope), payload); {
	case timedOut(err):
		return fmt.Errorf("%w: the stream of pauses does not answer: it may be done or not, send it again", scaler.ErrUnsure)
	case err != nil:
		return fmt.Errorf("%w: the stream of pauses takes no orders now, nothing was done: try again, or if it is full, raise max_msgs of %s: %w",
			errUnavailable, a.config.Subjects.pauseStream(), err)
	}
	if paused {
		time.Sleep(pauseTakes)
	}
	about := scopeWords(scope)
	if scope.Name != "" {
		about = "the server " + scope.String()
	}
	return a.answer(r, PauseAnswer{Scope: about, Paused: paused, Since: order.Since, Servers: a.count(scope)}, nil)
}

// count returns how many servers a scope holds. The order holds for those that come later, too, and when none are known yet.
func (a *API) count(scope scaler.ID) int {
	servers, _ := a.config.Servers.List(scaler.Filter{Namespace: scope.Namespace})
	n := 0
	for _, server := range servers {
		if scope.Name == "" || scope == server.ID {
			n++
		}
	}
	return n
}

// checkPaused says why a server can't be paused or resumed: there is none. One that was paused and is gone can be resumed.
func (a *API) checkPaused(ctx context.Context, scope scaler.ID, paused bool) error {
	if scope.Name == "" {
		return nil
	}
	_, unknown := a.config.Servers.Status(ctx, scope)
	if paused || !errors.Is(unknown, scaler.ErrUnknown) && !errors.Is(unknown, scaler.ErrUnmanaged) {
		return unknown
	}
	stream, err := a.js.Stream(ctx, a.config.Subjects.pauseStream())
	if err == nil {
		_, err = stream.GetLastMsgForSubject(ctx, a.config.Subjects.Pause(scope))
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return unknown
	}
	return nil // if there is something, or the stream is away, it is told what comes of it by the stream
}

// parseScope reads what of a request says whom it is about: nothing, NS or NS.NAME.
func parseScope(text string) (scaler.ID, error) {
	if text == "" {
		return scaler.ID{}, nil
	}
	if !strings.Contains(text, ".") {
		return scaler.ID{Namespace: text}, checkNamespace(text)
	}
	return parseID(text)
}

// checkScope says whether there can be servers that a pause is about: one, those of a namespace (no name), or all (the zero ID).
func checkScope(scope scaler.ID) error {
	switch {
	case scope == scaler.ID{}:
		return nil
	case scope.Name == "":
		return checkNamespace(scope.Namespace)
	}
	return CheckID(scope)
}

// scopeWords says whom a pause is about, to somebody who looks at one server.
func scopeWords(scope scaler.ID) string {
	switch {
	case scope == scaler.ID{}:
		return "all servers"
	case scope.Name == "":
		return "the namespace " + scope.Namespace
	}
	return "this server"
}

// readPause reads an order to pause or to resume: the latter is a pause without scope.
func readPause(scope scaler.ID, payload []byte) (policy.Pause, error) {
	var paused bool
	var since string
	var pause policy.Pause
	has, err := decode(payload, map[string]any{"paused": &paused, "since": &since, "actor": &pause.Actor, "reason": &pause.Reason})
	if err != nil {
		return policy.Pause{}, err
	}
	if pause.Since, err = time.Parse(time.RFC3339Nano, since); err != nil || !has["paused"] {
		return policy.Pause{}, invalid("the order to pause or resume says not both paused and since: pause and resume by request")
	}
	if !paused {
		return policy.Pause{}, nil
	}
	pause.Scope = scopeWords(scope)
	return pause, nil
}

// order takes a message of the stream of pauses. What makes no sense is no order, and has replaced none. An older order than the
// one known changes nothing: while the stream is read again from its start, a pause must not be ended by what was said before it.
func (l *ActivityLog) order(m *nats.Msg, p place) {
	scope, err := l.config.Subjects.ParsePause(m.Subject)
	if err != nil {
		l.complain(m, err)
		return
	}
	pause, err := readPause(scope, m.Data)
	if err != nil {
		l.complain(m, err)
		return
	}
	l.mu.Lock() // for both: the last message of a feed that has ended and the first of the next may be here at once
	defer l.mu.Unlock()
	if p.stamp().OlderThan(l.ordered[scope]) {
		return
	}
	l.ordered[scope] = p.stamp()
	l.config.Pauses.Set(scope, pause)
}
