package event

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
)

// ClocksApart is how much earlier than it happened the stream may have stamped an event.
const ClocksApart = time.Minute

// Archive reads the events that the stream still has.
type Archive struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	subjects wire.Subjects
}

// NewArchive returns the Archive of a stream.
func NewArchive(nc *nats.Conn, subjects wire.Subjects) (*Archive, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Archive{nc, js, subjects}, nil
}

// Read hands on the events of a subject that happened since an instant, and returns when there are
// no more: those of some types, or of all if none are named. The same event may come twice.
//
// They come by a consumer that exists only for that, as fast as they are handled and no faster, so
// that nobody else on this connection waits. To ask the stream for a batch of messages directly
// would need no consumer, and a NATS server of 2.11 at least. The consumer has one subject: for
// several, a NATS server (2.15) looks through all subjects of a block of its file before each
// message.
func (a *Archive) Read(ctx context.Context, subject string, since time.Time, types []string,
	handle func(wire.Event),
) error {
	begin := since.Add(-ClocksApart)
	return stream.ReadAll(ctx, a.nc, a.js, stream.Events.Name(a.subjects), jetstream.ConsumerConfig{
		Description:   "idle-scaler reads what happened",
		FilterSubject: subject,
		DeliverPolicy: jetstream.DeliverByStartTimePolicy,
		OptStartTime:  &begin,
	}, func(m *nats.Msg) {
		if kind, _, _ := a.subjects.ParseEvent(m.Subject); len(types) > 0 && !slices.Contains(types, kind) {
			return
		}
		e, err := a.subjects.ReadEvent(m.Subject, m.Data)
		if err != nil || e.At.Before(since) {
			return // not published by the daemon, or too old
		}
		handle(e)
	})
}
