package command

import (
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// replyHeader of a command says where to answer. A replica that took a request sets it. Any publisher can, so the
// leader answers to inboxes only.
const replyHeader = "Idle-Scaler-Reply"

// Request returns a request as a command for the stream: with where to answer, unless reply is
// empty, and until when the sender waits.
func Request(subject string, payload []byte, reply string, wait time.Duration) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = payload
	if reply != "" {
		m.Header.Set(replyHeader, reply)
		m.Header.Set(wire.DeadlineHeader, max(wait, wire.AppliedWithin).String())
	}
	return m
}

// Read reads a command from its subject and payload. Requested says that somebody waits for the
// answer. On error the command holds what could be read, for the event that tells of it.
func Read(subjects wire.Subjects, subject string, payload []byte, requested bool) (scaler.Command, error) {
	c, err := subjects.ReadCommand(subject, payload, requested)
	return scaler.Command{
		Verb: scaler.Verb(c.Verb), Server: c.Server, ID: c.ID, Actor: c.Actor, Reason: c.Reason,
		Replicas: c.Replicas, Force: c.Force, Asleep: c.Asleep, Until: c.Until, Wait: c.Wait,
	}, err
}
