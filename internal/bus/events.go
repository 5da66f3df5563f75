package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/scaler"
)

// eventType is what the type of a CloudEvent begins with; the domain's type follows.
const eventType = "io.idle-scaler."

// EventData is the data of a CloudEvent.
type EventData struct {
	From    int    `json:"from"` // replicas before
	To      int    `json:"to"`   // and after
	Cause   string `json:"cause,omitempty"`
	Actor   string `json:"actor,omitempty"`   // who asked, as it said itself
	Command string `json:"command,omitempty"` // the id of the command, as its sender named it
	Reason  string `json:"reason,omitempty"`  // why, in the words of the actor
	Text    string `json:"text,omitempty"`    // what happened and why, in words
	Idle    string `json:"idle,omitempty"`    // how long it was unused before it slept
	Took    string `json:"took,omitempty"`    // from the write to the first ready replica
	Asleep  string `json:"asleep,omitempty"`  // how long the daemon had it at zero until then
}

// Events publishes what happened as CloudEvents. It implements scaler.Events.
type Events struct {
	Ensure func(context.Context) error // makes the stream again when it is gone; set before anything is published

	subjects Subjects
	source   string
	nc       *nats.Conn
	js       jetstream.JetStream

	mu     sync.Mutex // held while it is looked whether the stream is there
	looked time.Time
}

// NewEvents returns the Events of a cluster.
func NewEvents(nc *nats.Conn, subjects Subjects, cluster string) (*Events, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Events{
		Ensure:   func(context.Context) error { return nil },
		subjects: subjects, source: "/idle-scaler/" + cluster, nc: nc, js: js,
	}, nil
}

// Publish returns after the stream has stored the event, or knows that it has it already.
func (e *Events) Publish(ctx context.Context, event scaler.Event) error {
	payload, err := encodeEvent(event, e.source)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", event.ID, err)
	}
	m := nats.NewMsg(e.subjects.Event(event.Type, event.Server))
	m.Data = payload
	m.Header.Set(nats.MsgIdHdr, messageID(event.ID))
	m.Header.Set("Content-Type", cloudevents.ApplicationCloudEventsJSON)
	if !e.nc.IsConnected() { // the library keeps something of each request that it can't send
		return fmt.Errorf("publish event %s: %w", event.ID, errDisconnected)
	}
	publishing, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := e.js.PublishMsg(publishing, m); err != nil {
		return fmt.Errorf("publish event %s: %w", event.ID, errors.Join(err, e.restore(ctx)))
	}
	return nil
}

// restorePause is between two looks whether the stream is there: many servers may have something to tell.
const restorePause = 2 * time.Second

// restore makes the stream again if it is gone. That it is gone is asked for and not read from the error: where somebody watches the events by
// a subscription, a message that no stream takes is only not acknowledged.
func (e *Events) restore(ctx context.Context) error {
	if ctx.Err() != nil || !e.nc.IsConnected() || !e.mu.TryLock() {
		return nil
	}
	defer e.mu.Unlock()
	if time.Since(e.looked) < restorePause {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := e.js.Stream(ctx, e.subjects.eventStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = e.Ensure(ctx)
	}
	e.looked = time.Now()
	return err
}

// knownTimeout is how long it may take to read which events there are. A leader does not begin before it has.
const knownTimeout = 30 * time.Second

// Known returns the IDs of the last event of each server and type that the stream has.
func (e *Events) Known(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, knownTimeout)
	defer cancel()
	known := make(map[string]bool)
	err := drain(ctx, e.nc, e.js, e.subjects.eventStream(), jetstream.ConsumerConfig{
		Description:   "idle-scaler reads which events there are",
		FilterSubject: e.subjects.Events(scaler.ID{}),
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		HeadersOnly:   true,
	}, func(m *nats.Msg) { known[m.Header.Get(nats.MsgIdHdr)] = true })
	if err != nil {
		return nil, fmt.Errorf("read which events the stream has: %w", err)
	}
	return known, nil
}

// messageID makes an ID fit for a header, in which a line may not end.
func messageID(id string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, id))
}

func encodeEvent(e scaler.Event, source string) ([]byte, error) {
	c := cloudevents.New()
	c.SetID(e.ID)
	c.SetType(eventType + string(e.Type))
	c.SetSource(source)
	c.SetSubject(e.Server.String())
	c.SetTime(e.At)
	if err := c.SetData(cloudevents.ApplicationJSON, newEventData(e)); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// newEventData returns the data of an event.
func newEventData(e scaler.Event) EventData {
	return EventData{
		From: e.From, To: e.To, Cause: string(e.Cause), Actor: e.Actor,
		Command: e.Command, Reason: e.Reason, Text: e.Text, Idle: span(e.Idle), Took: span(e.Took), Asleep: span(e.Asleep),
	}
}

func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// DecodeEvent reads an event as Publish has written it. A report reads very many, so it is read in one step, unlike with the package that
// writes it.
func DecodeEvent(payload []byte) (scaler.Event, error) {
	var c struct {
		SpecVersion, ID, Type, Subject string
		Time                           time.Time
		Data                           EventData
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return scaler.Event{}, fmt.Errorf("read an event: %w", err)
	}
	if c.SpecVersion != cloudevents.CloudEventsVersionV1 || c.ID == "" || c.Type == "" {
		return scaler.Event{}, errors.New("read an event: it is no CloudEvent 1.0 with an id and a type")
	}
	namespace, name, _ := strings.Cut(c.Subject, "/")
	idle, _ := time.ParseDuration(c.Data.Idle) // empty when there is none
	took, _ := time.ParseDuration(c.Data.Took)
	asleep, _ := time.ParseDuration(c.Data.Asleep)
	return scaler.Event{
		ID: c.ID, Type: scaler.EventType(strings.TrimPrefix(c.Type, eventType)), At: c.Time,
		Server: scaler.ID{Namespace: namespace, Name: name},
		From:   c.Data.From, To: c.Data.To, Cause: scaler.Cause(c.Data.Cause), Actor: c.Data.Actor,
		Command: c.Data.Command, Reason: c.Data.Reason, Text: c.Data.Text, Idle: idle, Took: took, Asleep: asleep,
	}, nil
}
