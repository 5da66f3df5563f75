package activitylog

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/wire"
)

// completeness remembers what was last seen of a log's stream, to notice that it has lost messages
// other than by age: it was purged, shortened, restored from a backup, made again. From then on it
// proves nothing about the time before.
type completeness struct {
	since   time.Time // since when the log is complete
	last    uint64    // its last sequence
	count   uint64    // of its messages
	oldest  time.Time // of its messages
	created time.Time
	record  string // of the stream's metadata: what another daemon, or this one in a former life, has noticed
}

// completeKey is the metadata of a stream in which a loss is recorded. Without it a daemon that
// starts after a purge, and after the next ping, could not know that the log is shorter than the
// stream is old.
const completeKey = "idle-scaler/complete-since"

// completeSince is the loss that is recorded on a stream; zero when there is none.
func completeSince(info *jetstream.StreamInfo) time.Time {
	t, err := time.Parse(time.RFC3339Nano, info.Config.Metadata[completeKey])
	if err != nil {
		return time.Time{}
	}
	return t
}

// forgottenUntil is until when a lease may have been in force that the stream has already
// forgotten; zero when there can be none.
func forgottenUntil(leases *jetstream.StreamInfo) time.Time {
	if leases.State.LastSeq == 0 || leases.Config.MaxAge <= 0 {
		return time.Time{}
	}
	now := leases.TimeStamp
	if now.IsZero() { // an old NATS server does not say
		now = time.Now()
	}
	return now.Add(wire.MaxTTL - leases.Config.MaxAge)
}

// look takes note of the stream as it is at now. It returns why the log has a new birth, if it has
// one that the stream itself does not tell to those who look later.
func (c *completeness) look(info *jetstream.StreamInfo, now time.Time) (lost string) {
	state := info.State
	switch {
	case c.created.IsZero() && state.Msgs == 0 && state.LastSeq > 0 && !expired(state.LastTime, info):
		lost = "it is empty, and messages are missing that are not too old"
	case c.created.IsZero():
	case !info.Created.Equal(c.created): // its creation tells
		c.since, c.record = time.Time{}, ""
	case state.LastSeq < c.last:
		lost = fmt.Sprintf("its last sequence went back from %d to %d", c.last, state.LastSeq)
	case state.Msgs < c.count && !expired(c.oldest, info):
		lost = fmt.Sprintf("it had %d messages, and has %d, and none was too old", c.count, state.Msgs)
	}
	if info.Created.After(c.since) {
		c.since = info.Created
	}
	if record := info.Config.Metadata[completeKey]; record != c.record {
		c.record = record
		if t := completeSince(info); t.After(c.since) {
			c.since = t
		}
	}
	if lost != "" {
		c.since = now
	}
	c.created, c.last, c.count, c.oldest = info.Created, state.LastSeq, state.Msgs, state.FirstTime
	return lost
}

// expired reports whether a message of that time may have been removed because of its age. A stream
// whose oldest message is at its end may lose others unnoticed at the same moment; that moment is
// one look in as long as a ping is kept.
func expired(at time.Time, info *jetstream.StreamInfo) bool {
	if at.IsZero() || at.Unix() == 0 || info.Config.MaxAge == 0 {
		return false
	}
	const margin = 10 * time.Second // the server's own timer
	return info.TimeStamp.Sub(at) > info.Config.MaxAge-margin
}
