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

	"idle-scaler/scaler"
)

// Why a Client has no answer. An answer that is an error is a *CodeError.
var (
	ErrNoDaemon    = errors.New("nobody answers on this subject: is idle-scaler running with the same subject prefix, on the same NATS account?")
	ErrNoAnswer    = errors.New("no answer in time: what was asked for may have been done or not, ask for the server's status")
	ErrUnreachable = errors.New("NATS can't be reached")
	ErrInterrupted = errors.New("interrupted before the answer: that takes nothing back, ask for the server's status")
)

// Client speaks to the daemon over NATS.
type Client struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	subjects Subjects
}

// NewClient returns a Client.
func NewClient(nc *nats.Conn, subjects Subjects) (*Client, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Client{nc, js, subjects}, nil
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
	m, err := c.nc.RequestWithContext(ctx, c.subjects.Request(verb, id), data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoDaemon
	case errors.Is(err, context.DeadlineExceeded) && !c.nc.IsConnected():
		return ErrUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return ErrNoAnswer
	case errors.Is(err, context.Canceled):
		return ErrInterrupted
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	failure := failureOf(m)
	if err := json.Unmarshal(m.Data, answer); err != nil && failure == nil {
		return fmt.Errorf("the answer can't be read, does something else answer on this subject? %w", err)
	}
	return failure
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

// Ping says that servers are used now. It returns when NATS has taken all of it.
func (c *Client) Ping(ctx context.Context, ids ...scaler.ID) error {
	for _, id := range ids {
		if err := CheckID(id); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := c.nc.Publish(c.subjects.Activity(id), nil); err != nil {
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return nil
}

// Lease says that a holder will use a server for ttl from now, however long it has said so before. Zero ends the lease. It returns
// when the lease is stored.
func (c *Client) Lease(ctx context.Context, holder string, id scaler.ID, ttl time.Duration) error {
	if err := errors.Join(checkHolder(holder), CheckID(id), checkTTL(ttl)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	payload := fmt.Appendf(nil, `{"ttl":%q}`, ttl.String())
	if _, err := c.js.Publish(ctx, c.subjects.Lease(holder, id), payload); err != nil {
		return fmt.Errorf("store the lease of %s on %s: %w", holder, id, err)
	}
	return nil
}

// Watch hands on what happens from now on to the servers of a namespace, or of all when it is empty, until ctx is done
// or handle returns an error. What somebody else has sent there, among it acknowledgements of JetStream, is no event.
func (c *Client) Watch(ctx context.Context, namespace string, handle func(scaler.Event) error) error {
	subject := c.subjects.event + ">"
	if namespace != "" {
		subject = c.subjects.event + "*." + namespace + ".>"
	}
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection is closed
	for {
		m, err := sub.NextMsgWithContext(ctx)
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
