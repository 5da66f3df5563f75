package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// Publisher publishes events as CloudEvents. It implements scaler.Events.
type Publisher struct {
	ensure   func(context.Context) error // makes the stream again if it is gone
	subjects wire.Subjects
	source   string
	nc       *nats.Conn
	js       jetstream.JetStream

	mu      sync.Mutex // held while it checks whether the stream exists
	checked time.Time

	silent  atomic.Bool // the stream did not answer the last time
	probing sync.Mutex  // held by the one event that finds out whether it answers again
}

// errSilent is the error of an event that is not even sent.
var errSilent = errors.New("the stream does not answer, another event waits for it")

// NewPublisher returns the Publisher of a cluster. Ensure makes the streams that are gone.
func NewPublisher(
	nc *nats.Conn, subjects wire.Subjects, cluster string, ensure func(context.Context) error,
) (*Publisher, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Publisher{ensure: ensure, subjects: subjects, source: "/idle-scaler/" + cluster, nc: nc, js: js}, nil
}

// Publish returns nil once the stream has the event. A second copy changes nothing.
func (p *Publisher) Publish(ctx context.Context, e scaler.Event) error {
	payload, err := wire.EncodeEvent(ToWire(e), p.source)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	m := nats.NewMsg(p.subjects.Event(string(e.Type), e.Server))
	m.Data = payload
	m.Header.Set(nats.MsgIdHdr, messageID(e.ID))
	m.Header.Set("Content-Type", wire.EventContentType)
	if !p.nc.IsConnected() { // nats.go keeps something of each request that it can't send
		return fmt.Errorf("publish event %s: %w", e.ID, natsconn.ErrDisconnected)
	}
	if p.silent.Load() { // one worker of the leader waits for the stream, and not all
		if !p.probing.TryLock() {
			return fmt.Errorf("publish event %s: %w", e.ID, errSilent)
		}
		defer p.probing.Unlock()
	}
	publishing, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	_, err = p.js.PublishMsg(publishing, m)
	p.silent.Store(errors.Is(err, context.DeadlineExceeded))
	if err != nil {
		return fmt.Errorf("publish event %s: %w", e.ID, errors.Join(err, p.restore(ctx)))
	}
	return nil
}

// restorePause is the pause between two checks: many servers may have events to publish.
const restorePause = 2 * time.Second

// restore makes the stream again if it is gone. It asks the server, because the error of Publish
// does not tell: while somebody subscribes to the events, a message that no stream takes is only
// not acknowledged.
func (p *Publisher) restore(ctx context.Context) error {
	if ctx.Err() != nil || !p.nc.IsConnected() || !p.mu.TryLock() {
		return nil
	}
	defer p.mu.Unlock()
	if time.Since(p.checked) < restorePause {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	_, err := p.js.Stream(ctx, stream.Events.Name(p.subjects))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = p.ensure(ctx)
	}
	p.checked = time.Now()
	return err
}

// knownTimeout bounds the reading of the known events, for which a new leader waits.
const knownTimeout = 30 * time.Second

// Known returns the IDs of the last event of each server and type that the stream has.
func (p *Publisher) Known(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, knownTimeout)
	defer cancel()
	known := make(map[string]bool)
	err := stream.ReadAll(ctx, p.nc, stream.Events.Name(p.subjects), jetstream.ConsumerConfig{
		Description:   "idle-scaler reads which events there are",
		FilterSubject: p.subjects.Events(wire.ID{}),
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		HeadersOnly:   true,
	}, func(m *nats.Msg, _ stream.Metadata) { known[m.Header.Get(nats.MsgIdHdr)] = true })
	if err != nil {
		return nil, fmt.Errorf("read which events the stream has: %w", err)
	}
	return known, nil
}

// messageID makes an ID fit for a header, which holds no line breaks.
func messageID(id string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, id))
}

// ToWire turns an event of the domain into one of the wire.
func ToWire(e scaler.Event) wire.Event {
	return wire.Event{Server: e.Server, HistoryEntry: wire.HistoryEntry{
		At: e.At, Type: string(e.Type), ID: e.ID, EventData: wire.EventData{
			From: e.From, To: e.To, Cause: string(e.Cause), Actor: e.Actor, Command: e.Command, Reason: e.Reason,
			Text: e.Text, Idle: span(e.Idle), Took: span(e.Took), Asleep: span(e.Asleep),
		},
	}}
}

// FromWire turns an event of the wire into one of the domain.
func FromWire(e wire.Event) scaler.Event {
	idle, _ := time.ParseDuration(e.Idle) // empty if there is none
	took, _ := time.ParseDuration(e.Took)
	asleep, _ := time.ParseDuration(e.Asleep)
	return scaler.Event{
		ID: e.ID, Type: scaler.EventType(e.Type), Server: e.Server, At: e.At, From: e.From, To: e.To,
		Cause: policy.Cause(e.Cause), Actor: e.Actor, Command: e.Command, Reason: e.Reason,
		Text: e.Text, Idle: idle, Took: took, Asleep: asleep,
	}
}

func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
