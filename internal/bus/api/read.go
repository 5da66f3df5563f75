package api

import (
	"context"
	"fmt"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// list answers with as many servers as fit into one message, and says where the next page begins.
func (a *API) list(_ context.Context, r request) error {
	asked, after, err := wire.ReadListRequest(r.Data)
	if err != nil {
		return err
	}
	filter := scaler.Filter{Namespace: r.scope.Namespace, After: after}
	if asked.Selector != "" {
		if filter.Match, err = a.config.Selector(asked.Selector); err != nil {
			return fmt.Errorf("%w: selector %q: %w", wire.ErrInvalid, wire.Shorten(asked.Selector), err)
		}
	}
	servers, err := a.config.Servers.List(filter)
	if err != nil {
		return err
	}
	page := wire.Page{Servers: fill(servers, asked.Limit, a.room(), a.summary)}
	if n := len(page.Servers); n < len(servers) {
		page.Next = servers[n-1].ID.String()
	}
	return a.answer(r, page, nil)
}

func (a *API) summary(server *scaler.Server) wire.ServerSummary {
	return answer.Summary(a.config.Servers.View(server))
}

func (a *API) status(ctx context.Context, r request) error {
	view, err := a.view(ctx, r)
	if err != nil {
		return err
	}
	return a.answer(r, answer.Status(view), nil)
}

func (a *API) explain(ctx context.Context, r request) error {
	view, err := a.view(ctx, r)
	if err != nil {
		return err
	}
	return a.answer(r, answer.Explain(view), nil)
}

// view looks up the server of a request without a payload.
func (a *API) view(ctx context.Context, r request) (scaler.View, error) {
	if err := wire.CheckEmpty(r.Data); err != nil {
		return scaler.View{}, err
	}
	return a.config.Servers.Status(ctx, r.scope)
}
