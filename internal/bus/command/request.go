package command

import (
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// replyHeader holds the subject to which the leader answers a command. The replica that takes a
// request sets it. Any publisher can set it too, so the leader answers to inboxes only.
const replyHeader = "Idle-Scaler-Reply"

// Request returns the command for a request. With a reply, the leader answers it there, and has to
// apply it before the sender stops waiting.
func Request(subject string, payload []byte, reply string, wait time.Duration) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: payload, Header: make(nats.Header)}
	if reply != "" {
		m.Header.Set(replyHeader, reply)
		m.Header.Set(wire.DeadlineHeader, max(wait, wire.AppliedWithin).String())
	}
	return m
}

// Read reads a command from its subject and its payload. Requested says that somebody waits for the
// answer. When Read returns an error the command holds the fields that it could read, for the
// event.
func Read(subjects wire.Subjects, subject string, payload []byte, requested bool) (scaler.Command, error) {
	c, err := subjects.ReadCommand(subject, payload, requested)
	return scaler.Command{
		Verb: scaler.Verb(c.Verb), Server: c.Server, ID: c.ID, Actor: c.Actor, Reason: c.Reason,
		Replicas: c.Replicas, Force: c.Force, Asleep: c.Asleep, Until: c.Until, Wait: c.Wait,
	}, err
}
