package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// pause stores an order to pause or to resume, unless it is in force already: many requests must
// not fill the stream. It answers a pause when no daemon decides any more without it to put a
// server to sleep: until then a proof of silence from before the pause is valid.
func (a *API) pause(ctx context.Context, r request) error {
	by, err := wire.ReadPauseRequest(r.verb, r.Data)
	if err != nil {
		return err
	}
	order := wire.PauseOrder{Paused: r.verb == "pause", Since: time.Now().UTC(), Actor: by.Actor, Reason: by.Reason}
	subject := a.config.Subjects.Pause(r.scope)
	last, unread := stream.Last(ctx, a.nc, stream.Pauses.Name(a.config.Subjects), subject)
	servers, err := a.count(ctx, r.scope, !order.Paused && (unread != nil || last.Sequence > 0))
	if err != nil {
		return err
	}
	if before, err := wire.ReadPauseOrder(last.Data); err == nil && before.Covers(order) {
		if order.Paused {
			order.Since = before.Since // it may have been stored only now
		}
	} else {
		m := nats.NewMsg(subject)
		m.Data, _ = json.Marshal(order) // texts and a time: that can't fail
		if _, err := a.publish(ctx, stream.Pauses, m, "it may be done or not, send it again"); err != nil {
			return err
		}
	}
	words := wire.ScopeWords(r.scope)
	if r.scope.Name != "" {
		words = "the server " + r.scope.String()
	}
	if order.Paused {
		time.Sleep(wire.PauseTakes)
	}
	return a.answer(r, wire.PauseAnswer{Scope: words, Paused: order.Paused, Since: order.Since, Servers: servers}, nil)
}

// count returns how many servers a pause is about now; it holds for later ones, too. To pause or
// resume a server that does not exist is an error, unless one was paused and is gone: it may be
// resumed.
func (a *API) count(ctx context.Context, scope scaler.ID, mayBeGone bool) (int, error) {
	if scope.Name == "" {
		servers, _ := a.config.Servers.List(scaler.Filter{Namespace: scope.Namespace}) // none are known yet
		return len(servers), nil
	}
	_, err := a.config.Servers.Status(ctx, scope)
	switch {
	case err == nil:
		return 1, nil
	case mayBeGone && (errors.Is(err, scaler.ErrUnknown) || errors.Is(err, scaler.ErrUnmanaged)):
		return 0, nil
	}
	return 0, err
}
