package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// pause answers requests to pause.
func (a *API) pause(ctx context.Context, r micro.Request) error { return a.setPaused(ctx, r, true) }

// resume answers requests to resume.
func (a *API) resume(ctx context.Context, r micro.Request) error { return a.setPaused(ctx, r, false) }

// setPaused stores an order to pause or to resume, unless it is in force already: many requests
// must not fill the stream. A pause is answered when no daemon decides to put anything to sleep any
// more that does not know of it: a proof that it knows everything is valid for a while.
func (a *API) setPaused(ctx context.Context, r micro.Request, paused bool) error {
	verb, rest := a.config.Subjects.SplitRequest(r.Subject())
	scope, err := wire.ParseScope(rest)
	if err != nil {
		return err
	}
	by, err := wire.ReadPauseRequest(verb, r.Data())
	if err != nil {
		return err
	}
	order := wire.PauseOrder{Paused: paused, Since: time.Now().UTC(), Actor: by.Actor, Reason: by.Reason}
	last, unread := stream.Last(ctx, a.nc, stream.Pauses.Name(a.config.Subjects), a.config.Subjects.Pause(scope))
	if err := a.checkPaused(ctx, scope, paused, unread == nil && last.Sequence == 0); err != nil {
		return err
	}
	if before, err := wire.ReadPauseOrder(last.Data); err == nil && before.Says(order) {
		if paused {
			order.Since = before.Since // and it may have been stored only now
		}
	} else if err := a.store(ctx, verb, scope, order); err != nil {
		return err
	}
	about := wire.ScopeWords(scope)
	if scope.Name != "" {
		about = "the server " + scope.String()
	}
	done := wire.PauseAnswer{Scope: about, Paused: paused, Since: order.Since, Servers: a.count(scope)}
	if !paused {
		return a.answer(r, done, nil)
	}
	a.later(wire.PauseTakes, r, done)
	return nil
}

// store puts an order on the stream of pauses.
func (a *API) store(ctx context.Context, verb string, scope scaler.ID, order wire.PauseOrder) error {
	payload, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("encode the order to %s: %w", verb, err)
	}
	switch _, err := a.js.Publish(ctx, a.config.Subjects.Pause(scope), payload); {
	case timedOut(err):
		return fmt.Errorf("%w: the stream of pauses does not answer: it may be done or not, send it again", scaler.ErrUnsure)
	case err != nil:
		return fmt.Errorf("%w: the stream of pauses takes no orders now, nothing was done: try again, or if it is full, raise max_msgs of %s: %w",
			answer.ErrUnavailable, stream.Pauses.Name(a.config.Subjects), err)
	}
	return nil
}

// count returns how many servers a scope holds. The order holds for those that come later, too, and
// when none are known yet.
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

// checkPaused says why a server can't be paused or resumed: there is none. One that was paused and
// is gone can be resumed; never says that there was no order about it. If the stream is away,
// storing the order fails and says so.
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
