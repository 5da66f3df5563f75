package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/wire"
)

// Why a Client has no answer. An answer that is an error is a *wire.Error.
var (
	ErrNoDaemon    = errors.New("nobody answers on this subject: is idle-scaler running with the same subject prefix, on the same NATS account?")
	ErrNoAnswer    = errors.New("no answer in time: what was asked for may have been done or not, ask for the server's status")
	ErrUnreachable = errors.New("NATS can't be reached")
	ErrInterrupted = errors.New("interrupted before the answer: that takes nothing back, ask for the server's status")

	ErrNoStream     = errors.New("no stream takes it: has idle-scaler ever run here, with the same subject prefix, on the same NATS account?")
	ErrNotPermitted = errors.New("NATS does not permit this user")
)

// Client speaks to the daemon over NATS.
type Client struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	subjects wire.Subjects
	refused  *refusals
}

// New returns a Client on a connection, which its caller closes. It listens to the errors of the
// connection, besides the handler that is set already.
func New(nc *nats.Conn, subjects wire.Subjects) (*Client, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	refused := &refusals{waiting: make(map[*waiting]bool)}
	refused.of(nc)
	return &Client{nc, js, subjects, refused}, nil
}

// request sends a request and reads its answer, also when that is an error which comes with one.
func (c *Client) request(ctx context.Context, verb string, id wire.ID, payload, answer any) error {
	var data []byte
	if payload != nil {
		var err error
		if data, err = json.Marshal(payload); err != nil {
			return err
		}
	}
	if !c.nc.IsConnected() {
		return ErrUnreachable
	}
	subject := c.subjects.Request(verb, id)
	ctx, done := c.refused.until(ctx, subject)
	defer done()
	m, err := c.nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return c.unanswered(ctx, err)
	}
	failure := failureOf(m)
	if err := json.Unmarshal(m.Data, answer); err != nil && failure == nil {
		return fmt.Errorf("the answer can't be read, does something else answer on this subject? %w", err)
	}
	return failure
}

// unanswered says why there is no answer.
func (c *Client) unanswered(ctx context.Context, err error) error {
	switch why := context.Cause(ctx); {
	case errors.Is(why, ErrNotPermitted):
		return why
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoDaemon
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return ErrNoStream
	case errors.Is(err, context.DeadlineExceeded) && !c.nc.IsConnected():
		return ErrUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return ErrNoAnswer
	case errors.Is(err, context.Canceled):
		return ErrInterrupted
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

func failureOf(m *nats.Msg) error {
	code := m.Header.Get(micro.ErrorCodeHeader)
	if code == "" {
		return nil
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		n = 500
	}
	return &wire.Error{Code: n, Text: m.Header.Get(micro.ErrorHeader)}
}
