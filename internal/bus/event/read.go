package event

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// ClocksApart is how much earlier than it happened the stream may have stamped an event.
const ClocksApart = time.Minute

// Read hands on the events of a server, of a namespace (an ID without a name), or all (the zero
// ID), that happened since an instant and that the stream still has. It hands on those of some
// types, or of all if none are named. The same event may come twice.
//
// A consumer of its own hands them out as fast as they are handled, so nobody else on this
// connection waits. A direct get of a batch needs no consumer, but a NATS server of at least 2.11.
// The consumer has one subject: with several, a NATS server (2.15) looks through all subjects of a
// block of its file before each message.
func Read(
	ctx context.Context, nc *nats.Conn, subjects wire.Subjects, about wire.ID, since time.Time,
	types []scaler.EventType, handle func(wire.Event),
) error {
	begin := since.Add(-ClocksApart)
	return stream.ReadAll(ctx, nc, stream.Events.Name(subjects), jetstream.ConsumerConfig{
		Description:   "idle-scaler reads what happened",
		FilterSubject: subjects.Events(about),
		DeliverPolicy: jetstream.DeliverByStartTimePolicy,
		OptStartTime:  &begin,
	}, func(m *nats.Msg, _ stream.Metadata) {
		kind, _, _ := subjects.ParseEvent(m.Subject)
		if len(types) > 0 && !slices.Contains(types, scaler.EventType(kind)) {
			return
		}
		e, err := subjects.ReadEvent(m.Subject, m.Data)
		if err != nil || e.At.Before(since) {
			return // not published by the daemon, or too old
		}
		handle(e)
	})
}
