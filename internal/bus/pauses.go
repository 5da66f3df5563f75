package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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

// PauseTakes is how long the answer to a pause takes by itself. After it nobody decides any more to put anything to sleep who does not know of
// the pause: the proof that everything is known may be old already when it is asked for, what is decided by it is decided soon after, and begins
// to be written soon after that. A write that was begun before is not waited for: it may be under way for as long as Kubernetes and its webhooks
// take.
const PauseTakes = proofLasts + 2*scaler.MaxDecisionAge

// pause answers requests to pause.
func (a *API) pause(ctx context.Context, r micro.Request) error { return a.setPaused(ctx, r, true) }

// resume answers requests to resume.
func (a *API) resume(ctx context.Context, r micro.Request) error { return a.setPaused(ctx, r, false) }

// setPaused stores an order to pause or to resume, unless it is in force already: many requests must not fill the stream. A pause is answered
// when no daemon decides to put anything to sleep any more that does not know of it: a proof that it knows everything is valid for a while.
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
	last, unread := lastMessage(ctx, a.nc, a.config.Subjects.pauseStream(), a.config.Subjects.Pause(scope))
	if err := a.checkPaused(ctx, scope, paused, unread == nil && last.Sequence == 0); err != nil {
		return err
	}
	if before, err := readOrderToPause(last.Data); err == nil && before.says(order) {
		if paused {
			order.Since = before.Since // and it may have been stored only now
		}
	} else if err := a.store(ctx, verb, scope, order); err != nil {
		return err
	}
	about := scopeWords(scope)
	if scope.Name != "" {
		about = "the server " + scope.String()
	}
	answer := PauseAnswer{Scope: about, Paused: paused, Since: order.Since, Servers: a.count(scope)}
	if !paused {
		return a.answer(r, answer, nil)
	}
	a.later(PauseTakes, r, answer)
	return nil
}

// store puts an order on the stream of pauses.
func (a *API) store(ctx context.Context, verb string, scope scaler.ID, order PauseOrder) error {
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
	return nil
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

// checkPaused says why a server can't be paused or resumed: there is none. One that was paused and is gone can be resumed; never says that
// there was no order about it. When that is not known because the stream is away, it is told what comes of it by the stream.
func (a *API) checkPaused(ctx context.Context, scope scaler.ID, paused, never bool) error {
	if scope.Name == "" {
		return nil
	}
	_, unknown := a.config.Servers.Status(ctx, scope)
	if !paused && !never && (errors.Is(unknown, scaler.ErrUnknown) || errors.Is(unknown, scaler.ErrUnmanaged)) {
		return nil
	}
	return unknown
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

// readOrderToPause reads a message of the stream of pauses.
func readOrderToPause(payload []byte) (o PauseOrder, err error) {
	var since string
	has, err := decode(payload, map[string]any{"paused": &o.Paused, "since": &since, "actor": &o.Actor, "reason": &o.Reason})
	if err != nil {
		return PauseOrder{}, err
	}
	if o.Since, err = time.Parse(time.RFC3339Nano, since); err != nil || !has["paused"] {
		return PauseOrder{}, invalid("the order to pause or resume says not both paused and since: pause and resume by request")
	}
	return o, nil
}

// says reports whether an order makes no difference after this one: the same, or another one to resume what is not paused.
func (o PauseOrder) says(next PauseOrder) bool {
	return o.Paused == next.Paused && (!o.Paused || o.Actor == next.Actor && o.Reason == next.Reason)
}

// about is what the order means to a server in its scope: to resume is a pause without scope.
func (o PauseOrder) about(scope scaler.ID) policy.Pause {
	if !o.Paused {
		return policy.Pause{}
	}
	return policy.Pause{Scope: scopeWords(scope), Since: o.Since, Actor: o.Actor, Reason: o.Reason}
}

// order takes a message of the stream of pauses. What makes no sense is no order, and has replaced none. An older order than the
// one known changes nothing: while the stream is read again from its start, a pause must not be ended by what was said before it.
func (l *ActivityLog) order(m *nats.Msg, p place) {
	scope, err := l.config.Subjects.ParsePause(m.Subject)
	if err != nil {
		l.complain(m, err)
		return
	}
	order, err := readOrderToPause(m.Data)
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
	l.config.Pauses.Set(scope, order.about(scope))
}
