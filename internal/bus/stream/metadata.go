package stream

import (
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/activity"
)

// Metadata is where a message stands in its stream, and among what its consumer has sent.
type Metadata struct {
	Sequence uint64    // in the stream
	Time     time.Time // at which the stream took it, by the clock of the stream's leader
	Consumer uint64    // its sequence among what the consumer sent
	Pending  uint64    // how many more there were for the consumer when it was sent
}

// Stamp is the identity of the message in its stream.
func (p Metadata) Stamp() activity.Stamp { return activity.Stamp{Sequence: p.Sequence, Time: p.Time} }

// MetadataOf reads the reply subject of a message. It returns an error if no consumer has sent the message.
func MetadataOf(m *nats.Msg) (Metadata, error) {
	p, err := m.Metadata()
	if err != nil {
		return Metadata{}, err
	}
	return Metadata{p.Sequence.Stream, p.Timestamp, p.Sequence.Consumer, p.NumPending}, nil
}
