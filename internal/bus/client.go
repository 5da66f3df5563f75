package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/sync/errgroup"

	"idle-scaler/scaler"
)

// Why a Client has no answer. An answer that is an error is a *CodeError.
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
	subjects Subjects
	refused  *refusals
}

// NewClient returns a Client. It listens to the errors of the connection, besides whoever does so already.
func NewClient(nc *nats.Conn, subjects Subjects) (*Client, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	refused := &refusals{waiting: make(map[*waiting]bool)}
	refused.of(nc)
	return &Client{nc, js, subjects, refused}, nil
}

// Status returns all there is to say about a server.
func (c *Client) Status(ctx context.Context, id scaler.ID) (s ServerStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = CheckID(id); err == nil {
		err = c.request(ctx, "status", id, nil, &s)
	}
	return s, err
}

// List returns the servers of a namespace, or of all when it is empty, that match a label selector, which may be empty.
func (c *Client) List(ctx context.Context, namespace, selector string) ([]ServerSummary, error) {
	var servers []ServerSummary
	for after := ""; ; {
		asked := struct {
			Selector string `json:"selector,omitempty"`
			After    string `json:"after,omitempty"`
		}{selector, after}
		var page Page
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := c.request(ctx, "list", scaler.ID{Namespace: namespace}, asked, &page)
		cancel()
		if err != nil {
			return nil, err
		}
		servers = append(servers, page.Servers...)
		if after = page.Next; after == "" {
			return servers, nil
		}
	}
}

// request sends a request and reads its answer, also when that is an error which comes with one.
func (c *Client) request(ctx context.Context, verb string, id scaler.ID, payload, answer any) error {
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
	return &CodeError{Code: n, Text: m.Header.Get(micro.ErrorHeader)}
}

// pingsAtOnce is how many pings are on their way at once.
const pingsAtOnce = 64

// Ping says that servers are used now. It returns when that is stored: a ping that is not wakes nobody. All are sent, whatever becomes of some.
func (c *Client) Ping(ctx context.Context, ids ...scaler.ID) error {
	for _, id := range ids {
		if err := CheckID(id); err != nil {
			return err
		}
	}
	errs := make([]error, len(ids))
	var all errgroup.Group
	all.SetLimit(pingsAtOnce)
	for i, id := range ids {
		all.Go(func() error {
			if err := c.store(ctx, c.subjects.Activity(id), nil); err != nil {
				errs[i] = fmt.Errorf("%s: %w", id, err)
			}
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs, each
	return errors.Join(errs...)
}

// Lease says that a holder will use a server for ttl from now, however long it has said so before. Zero ends the lease. It returns
// when the lease is stored.
func (c *Client) Lease(ctx context.Context, holder string, id scaler.ID, ttl time.Duration) error {
	if err := errors.Join(CheckHolder(holder), CheckID(id), CheckTTL(ttl)); err != nil {
		return err
	}
	return c.store(ctx, c.subjects.Lease(holder, id), fmt.Appendf(nil, `{"ttl":%q}`, ttl.String()))
}

// store puts a message on the stream that keeps its subject.
func (c *Client) store(ctx context.Context, subject string, payload []byte) error {
	if !c.nc.IsConnected() {
		return ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ctx, done := c.refused.until(ctx, subject)
	defer done()
	_, err := c.js.Publish(ctx, subject, payload)
	var said *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return fmt.Errorf("the stream does not take it: %s", said.Description)
	case errors.Is(err, jetstream.ErrInvalidJSAck):
		return errors.New("no stream, but something else answers on this subject")
	}
	return c.unanswered(ctx, err)
}

// Watch hands on what happens from now on to the servers of a namespace, or of all when it is empty, until ctx is done
// or handle returns an error. What somebody else has sent there, among it acknowledgements of JetStream, is no event.
func (c *Client) Watch(ctx context.Context, namespace string, handle func(scaler.Event) error) error {
	subject := c.subjects.Events(scaler.ID{Namespace: namespace})
	ctx, done := c.refused.until(ctx, subject)
	defer done()
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection is closed
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if why := context.Cause(ctx); errors.Is(why, ErrNotPermitted) {
			return why
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch events: %w", err)
		}
		e, err := DecodeEvent(m.Data)
		if err != nil || c.subjects.Event(e.Type, e.Server) != m.Subject {
			continue
		}
		if err := handle(e); err != nil {
			return err
		}
	}
}
