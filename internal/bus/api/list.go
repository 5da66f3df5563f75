package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// list answers with as many servers as fit into one message, and says where the next page begins.
func (a *API) list(_ context.Context, r micro.Request) error {
	filter, limit, err := a.filter(r)
	if err != nil {
		return err
	}
	servers, err := a.config.Servers.List(filter)
	if err != nil {
		return err
	}
	page := wire.Page{Servers: []wire.ServerSummary{}}
	free := room(a.nc.MaxPayload() - pageRoom)
	for i, server := range servers {
		summary := answer.Summary(a.config.Servers.View(server))
		encoded, err := json.Marshal(summary) // to know how long it is
		if err != nil {
			return fmt.Errorf("encode %s: %w", server.ID, err)
		}
		if fits := free.take(encoded); i > 0 && (!fits || limit > 0 && i == limit) {
			page.Next = servers[i-1].ID.String()
			break
		}
		page.Servers = append(page.Servers, summary)
	}
	return a.answer(r, page, nil)
}

// filter reads which servers a list is to hold, from its subject and payload.
func (a *API) filter(r micro.Request) (scaler.Filter, int, error) {
	var f scaler.Filter
	var err error
	if f.Namespace, err = a.namespace(r); err != nil {
		return f, 0, err
	}
	asked, after, err := wire.ReadListRequest(r.Data())
	if err != nil {
		return f, 0, err
	}
	f.After = after
	if asked.Selector != "" {
		if f.Match, err = a.config.Selector(asked.Selector); err != nil {
			return f, 0, fmt.Errorf("%w: selector %q: %w", wire.ErrInvalid, wire.Shorten(asked.Selector), err)
		}
	}
	return f, asked.Limit, nil
}
