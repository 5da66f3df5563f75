package bus

import (
	"context"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/scaler"
)

// Explanation says why a server is treated as it is.
type Explanation struct {
	Server   ServerSummary `json:"server"`
	Decision Decision      `json:"decision"`
	Text     string        `json:"text"` // all of it, in lines, for people
}

func (a *API) explain(ctx context.Context, r micro.Request) error {
	view, err := a.view(ctx, r)
	if err != nil {
		return err
	}
	return a.answer(r, Explanation{summarize(view), decision(view), view.Tell(view.At)}, nil)
}

// Explain says why a server is treated as it is.
func (c *Client) Explain(ctx context.Context, id scaler.ID) (e Explanation, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = CheckID(id); err == nil {
		err = c.request(ctx, "explain", id, nil, &e)
	}
	return e, err
}
