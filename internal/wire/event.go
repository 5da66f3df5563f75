package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// eventType begins the type of a CloudEvent; the type of the event follows.
const eventType = "io.idle-scaler."

// EventContentType is the Content-Type header of an event.
const EventContentType = cloudevents.ApplicationCloudEventsJSON

// The types of events that clients look for; docs/wire.md has all.
const (
	EventProgress = "progress" // a server that somebody waits for is not ready yet; Text says why
	EventReady    = "ready"    // it has its first ready replica
)

// Event is something that happened to a server.
type Event struct {
	Server ID
	HistoryEntry
}

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

// EncodeEvent returns an event as a CloudEvent in JSON.
func EncodeEvent(e Event, source string) ([]byte, error) {
	c := cloudevents.New()
	c.SetID(e.ID)
	c.SetType(eventType + e.Type)
	c.SetSource(source)
	c.SetSubject(e.Server.String())
	c.SetTime(e.At)
	if err := c.SetData(cloudevents.ApplicationJSON, e.EventData); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// DecodeEvent reads what EncodeEvent wrote. A report reads very many events, so it decodes each in
// one step. The package that encodes them takes several.
func DecodeEvent(payload []byte) (Event, error) {
	var c struct {
		SpecVersion, ID, Type, Subject string
		Time                           time.Time
		Data                           EventData
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return Event{}, fmt.Errorf("read an event: %w", err)
	}
	if c.SpecVersion != cloudevents.CloudEventsVersionV1 || c.ID == "" || c.Type == "" {
		return Event{}, errors.New("read an event: it is no CloudEvent 1.0 with an id and a type")
	}
	e := Event{HistoryEntry: HistoryEntry{
		At: c.Time, Type: strings.TrimPrefix(c.Type, eventType), EventData: c.Data, ID: c.ID,
	}}
	e.Server.Namespace, e.Server.Name, _ = strings.Cut(c.Subject, "/")
	return e, nil
}

// ReadEvent reads an event that came on a subject. An acknowledgement of JetStream, or an event of
// another server, is an error: anybody can put these there.
func (s Subjects) ReadEvent(subject string, payload []byte) (Event, error) {
	e, err := DecodeEvent(payload)
	if err == nil && s.Event(e.Type, e.Server) != subject {
		err = fmt.Errorf("read an event: it is about %s, and came on %s", e.Server, Shorten(subject))
	}
	return e, err
}
