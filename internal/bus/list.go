package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/micro"

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
	page := Page{Servers: []ServerSummary{}}
	free := room(a.nc.MaxPayload() - pageRoom)
	for i, server := range servers {
		summary := summarize(a.config.Servers.View(server))
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

// filter reads what a list is to hold, from its subject and payload.
func (a *API) filter(r micro.Request) (scaler.Filter, int, error) {
	var f scaler.Filter
	var selector, after string
	var limit int
	var err error
	if f.Namespace, err = a.namespace(r); err != nil {
		return f, 0, err
	}
	has, err := decode(r.Data(), fields{"selector": &selector, "limit": &limit, "after": &after})
	if err != nil {
		return f, 0, err
	}
	if err := checkLimit(has["limit"], limit); err != nil {
		return f, 0, err
	}
	if f.After, err = readAfter(after); err != nil {
		return f, 0, err
	}
	if selector != "" {
		if f.Match, err = a.config.Selector(selector); err != nil {
			return f, 0, invalid("selector %q: %s", shorten(selector), err)
		}
	}
	return f, limit, nil
}

// readAfter reads the "next" of the page before, which may be empty.
func readAfter(text string) (id scaler.ID, err error) {
	if text == "" {
		return id, nil
	}
	if id.Namespace, id.Name, _ = strings.Cut(text, "/"); CheckID(id) != nil {
		err = invalid(`after %q: send the "next" of the page before`, shorten(text))
	}
	return id, err
}

func checkLimit(asked bool, limit int) error {
	if asked && limit < 1 {
		return fmt.Errorf("%w: limit %d: ask for at least 1", scaler.ErrOutOfRange, limit)
	}
	return nil
}
