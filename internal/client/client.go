package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/wire"
)

// The reasons why there is no answer. A refusal by the daemon is a *wire.Error instead.
var (
	ErrNoDaemon     = errors.New("nobody answers: is idle-scaler running with this subject prefix and NATS account?")
	ErrNoStream     = errors.New("no stream takes it: has idle-scaler ever run here, with this prefix and NATS account?")
	ErrUnreachable  = errors.New("NATS can't be reached")
	ErrNotPermitted = errors.New("NATS does not permit this user")
	ErrNoAnswer     = errors.New("no answer in time: the request may take effect or not, ask for the server's status")
	ErrInterrupted  = errors.New("interrupted before the answer: that takes nothing back, ask for the server's status")
)

// Client speaks to the daemon. The zero value is not usable: see [New].
type Client struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	subjects wire.Subjects
	denials  *denials
}

// New returns a Client that uses a connection. The subjects are those of the daemon's prefix. New
// wraps the error handler of the connection, so set your own before.
func New(nc *nats.Conn, subjects wire.Subjects) (*Client, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Client{nc, js, subjects, watchDenials(nc)}, nil
}

// answerMargin is how much longer a client waits than the daemon waits for its leader. The daemon
// has to check and store a command before, and to say afterwards that no leader has answered.
const answerMargin = 10 * time.Second

// request asks the daemon, and returns the answer. Check says whether the request can be about id.
// The answer takes no longer than wait, or than a command may take to be applied.
func request[A any](
	ctx context.Context, c *Client, verb string, id wire.ID, check func(wire.ID) error, payload any, wait time.Duration,
) (answer A, err error) {
	if err := check(id); err != nil {
		return answer, err
	}
	var data []byte
	if payload != nil {
		data, _ = json.Marshal(payload) // all payloads are plain structs
	}
	if !c.nc.IsConnected() {
		return answer, ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, max(wait, wire.AppliedWithin)+answerMargin)
	defer cancel()
	subject := c.subjects.Request(verb, id)
	ctx, done := c.denials.expect(ctx, subject)
	defer done()
	m, err := c.nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return answer, c.noAnswer(ctx, err)
	}
	err = json.Unmarshal(m.Data, &answer)
	if text := m.Header.Get(micro.ErrorCodeHeader); text != "" { // an error may come with an answer
		code, _ := strconv.Atoi(text)
		return answer, &wire.Error{Code: cmp.Or(code, 500), Text: m.Header.Get(micro.ErrorHeader)}
	}
	if err != nil {
		err = fmt.Errorf("the answer can't be read, does something else answer on this subject? %w", err)
	}
	return answer, err
}

// noAnswer returns the reason why there is no answer.
func (c *Client) noAnswer(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrNotPermitted):
		return cause
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
