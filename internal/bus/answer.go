package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/scaler"
)

// Answer is the body of the answer to a request that writes, and of every error.
type Answer struct {
	Server  *ServerSummary `json:"server,omitempty"` // as it was then
	Event   *Transition    `json:"event,omitempty"`  // what the command did
	Command *CommandRef    `json:"command,omitempty"`
	Error   *AnswerError   `json:"error,omitempty"`
}

// Transition is what a command did: see scaler.EventType.
type Transition struct {
	Type string `json:"type"`
	From int    `json:"from"`
	To   int    `json:"to"`
	Text string `json:"text,omitempty"` // what happened, in words: until when a hold lasts, which order it ends
}

// CommandRef is the place of a command in the command stream.
type CommandRef struct {
	Sequence  uint64 `json:"sequence"`
	Duplicate bool   `json:"duplicate,omitempty"` // the stream had it already, by its Nats-Msg-Id; this request did nothing
}

// AnswerError is an error, as it is in the headers too.
type AnswerError struct {
	Code int    `json:"code"`
	Text string `json:"text"`
}

// Page is the answer to a list.
type Page struct {
	Servers []ServerSummary `json:"servers"`
	Next    string          `json:"next,omitempty"` // to be sent as "after" to get what follows; empty on the last page
}

// ServerSummary is one server in a list.
type ServerSummary struct {
	Name          string     `json:"name"`
	Namespace     string     `json:"namespace"`
	Status        string     `json:"status"`            // running, stopped, pending, scaling, failed
	Failure       string     `json:"failure,omitempty"` // why it is failed
	Replicas      int        `json:"replicas"`          // wanted
	ReadyReplicas int        `json:"ready_replicas"`
	Endpoints     []Endpoint `json:"endpoints"`
	LastActivity  time.Time  `json:"last_activity,omitzero"`
	IdleFor       string     `json:"idle_for,omitempty"`     // of a server that is awake, for people: "4m12s"
	IdleSeconds   int64      `json:"idle_seconds,omitempty"` // the same, for programs
	Reason        string     `json:"reason,omitempty"`       // why it is treated as it is: see policy.Reason
	Next          string     `json:"next,omitempty"`         // what comes next, for people: "sleeps in 4m12s"
	NextChange    time.Time  `json:"next_change,omitzero"`   // when that may change if nothing happens
	SleepsAt      time.Time  `json:"sleeps_at,omitzero"`     // when it is due to sleep if nothing happens
}

// Endpoint is where a server is reached when it is awake.
type Endpoint struct {
	Service string `json:"service"`
	Type    string `json:"type"`
	Port    string `json:"port,omitempty"`
	URL     string `json:"url"`
}

func summarize(v scaler.View) ServerSummary {
	s := ServerSummary{
		Name: v.Server.ID.Name, Namespace: v.Server.ID.Namespace,
		Status: string(v.Status), Failure: v.Why,
		Replicas: v.Server.Replicas, ReadyReplicas: v.Server.Ready,
		Endpoints:    make([]Endpoint, len(v.Endpoints)),
		LastActivity: v.Facts.Use.LastAt.UTC(),
		Reason:       string(v.Decision.Reason),
		Next:         v.Decision.Short(&v.Facts, v.At),
		NextChange:   v.Decision.Next.UTC(),
		SleepsAt:     v.Decision.Sleeps.UTC(),
	}
	for i, e := range v.Endpoints {
		s.Endpoints[i] = Endpoint(e)
	}
	if idle := v.Decision.Idle.Truncate(time.Second); idle > 0 {
		s.IdleFor, s.IdleSeconds = idle.String(), int64(idle/time.Second)
	}
	return s
}

func transition(e scaler.Event) *Transition {
	if e.Type == "" {
		return nil
	}
	return &Transition{Type: string(e.Type), From: e.From, To: e.To, Text: e.Text}
}

// maxInbox is the longest subject that is answered to. The libraries' have about 50 bytes. NATS closes the connection of whoever sends it a line
// that is longer than it takes (4 KiB, unless configured), and in a header anybody may write as much as he likes.
const maxInbox = 256

// answerable returns where to answer, or nothing when that is no inbox. See inboxPrefix.
func answerable(reply string) string {
	if len(reply) > maxInbox || !strings.HasPrefix(reply, inboxPrefix) || strings.ContainsAny(reply, "*> \t\r\n") ||
		strings.Contains(reply, "..") || strings.HasSuffix(reply, ".") {
		return ""
	}
	return reply
}

// respond sends an answer, as micro services do: an error is in the headers, and in the body for those who don't see headers.
func respond(nc *nats.Conn, to string, body any, failure error) error {
	m := nats.NewMsg(to)
	if failure != nil {
		code := Code(failure)
		m.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(code))
		m.Header.Set(micro.ErrorHeader, failure.Error())
		a, _ := body.(Answer)
		a.Error = &AnswerError{Code: code, Text: failure.Error()}
		body = a
	}
	var err error
	if m.Data, err = json.Marshal(body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return unsent(nc.PublishMsg(m))
}

// unsent says why something could not be sent. While NATS is away the library speaks of a full buffer, which Connect has told it not to have.
func unsent(err error) error {
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return errDisconnected
	}
	return err
}
