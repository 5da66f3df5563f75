package activitylog

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/wire"
)

// completeness says since when a stream is complete. Messages that vanish before their age make it
// incomplete: somebody purged it, lowered a limit, restored a backup or created it again. From then
// on it proves nothing about the time before.
type completeness struct {
	since time.Time             // by the clock of the stream; nothing since then is missing
	last  *jetstream.StreamInfo // the stream when update was last called
}

// completeKey is the metadata in which the daemon records on a stream since when it is complete.
// Without it a daemon that starts after a purge and the next ping could not know of the purge.
const completeKey = "idle-scaler/complete-since"

// recordedSince returns since when the stream is complete by its metadata. It is zero when nothing
// is recorded.
func recordedSince(info *jetstream.StreamInfo) time.Time {
	t, err := time.Parse(time.RFC3339Nano, info.Config.Metadata[completeKey])
	if err != nil {
		return time.Time{}
	}
	return t
}

// forgottenUntil returns until when a lease may have been live that the stream has already
// forgotten. It is zero when the stream has forgotten none.
func forgottenUntil(leases *jetstream.StreamInfo) time.Time {
	if leases.State.LastSeq == 0 || leases.Config.MaxAge <= 0 {
		return time.Time{}
	}
	return leases.TimeStamp.Add(wire.MaxTTL - leases.Config.MaxAge)
}

// update compares the stream with its last state. It returns which loss somebody has to record on
// the stream, because a daemon that starts later can't see it. Otherwise it returns nothing.
func (c *completeness) update(info *jetstream.StreamInfo) (loss string) {
	last, state := c.last, info.State
	switch {
	case last == nil:
		if state.Msgs == 0 && state.LastSeq > 0 && !expired(state.LastTime, info) {
			loss = "it is empty, though its last message was not too old"
		}
	case !info.Created.Equal(last.Created): // everybody can see when it was created
		c.since = time.Time{}
	case state.LastSeq < last.State.LastSeq:
		loss = fmt.Sprintf("its last sequence went back from %d to %d", last.State.LastSeq, state.LastSeq)
	case state.Msgs < last.State.Msgs && !expired(last.State.FirstTime, info):
		loss = fmt.Sprintf("it had %d messages, none of them too old, and has %d", last.State.Msgs, state.Msgs)
	}
	c.last = info
	c.since = latest(c.since, info.Created, recordedSince(info))
	if loss != "" {
		c.since = info.TimeStamp
	}
	return loss
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// expired reports whether the stream may have removed a message of that time because of its age. A
// stream that loses other messages while its oldest one expires hides the loss. That can happen
// once in as long as a ping is kept.
func expired(at time.Time, info *jetstream.StreamInfo) bool {
	if at.IsZero() || at.Unix() == 0 || info.Config.MaxAge == 0 {
		return false
	}
	const margin = 10 * time.Second // of the server's own timer
	return info.TimeStamp.Sub(at) > info.Config.MaxAge-margin
}
