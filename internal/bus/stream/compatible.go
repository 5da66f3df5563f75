package stream

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/wire"
)

// Compatible returns an error if a stream that somebody else made does not do what is needed. It
// may keep more, and for longer; and what is not looked at here may be as its operator likes.
func Compatible(found, want jetstream.StreamConfig) error {
	differs := func(field string, found, want any) error {
		return fmt.Errorf("its %s is %v, wanted is %v: change it (nats stream edit), or delete the stream and it is made again", field, found, want)
	}
	atLeast := func(found, want int64) bool { return found <= 0 || want > 0 && found >= want } // 0 and -1: no limit
	age := func(d time.Duration) string {
		if d == 0 {
			return "unlimited"
		}
		return d.String()
	}
	switch {
	case found.Mirror != nil || len(found.Sources) > 0:
		return differs("origin", "another stream", "its subjects")
	case found.SubjectTransform != nil:
		return differs("subject transform", found.SubjectTransform.Destination, "none")
	case found.Sealed:
		return differs("sealed", true, false)
	case found.NoAck:
		return differs("no_ack", true, false)
	case found.AllowRollup: // any publisher could purge the stream with a header
		return differs("allow_rollup_hdrs", true, false)
	case found.AllowMsgTTL: // any publisher could make what he sends be forgotten too early
		return differs("allow_msg_ttl", true, false)
	case found.AllowAtomicPublish: // it answers the parts of a batch with nothing, on any reply subject: as a command that is an order to stop
		return differs("allow_atomic", true, false)
	case found.AllowBatchPublish: // it does what a publisher writes into his reply subject
		return differs("allow_batched", true, false)
	case found.AllowMsgSchedules: // any publisher could have what he sends stored later, and under another subject
		return differs("allow_msg_schedules", true, false)
	case found.AllowMsgCounter: // it refuses what is no number
		return differs("allow_msg_counter", true, false)
	case !slices.Equal(found.Subjects, want.Subjects):
		return differs("subjects", found.Subjects, want.Subjects)
	case found.Retention != want.Retention:
		return differs("retention", found.Retention, want.Retention)
	case found.Storage != want.Storage:
		return differs("storage", found.Storage, want.Storage)
	case found.Discard != want.Discard:
		return differs("discard", found.Discard, want.Discard)
	case found.DiscardNewPerSubject:
		return differs("discard_new_per_subject", true, false)
	case max(0, found.MaxMsgsPerSubject) != max(0, want.MaxMsgsPerSubject):
		return differs("max_msgs_per_subject", found.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	case !atLeast(found.MaxMsgs, want.MaxMsgs):
		return differs("max_msgs", found.MaxMsgs, want.MaxMsgs)
	case !atLeast(int64(found.MaxAge), int64(want.MaxAge)):
		return differs("max_age", age(found.MaxAge), age(want.MaxAge))
	case found.Duplicates < want.Duplicates:
		return differs("duplicate_window", found.Duplicates, want.Duplicates)
	case found.MaxMsgSize > 0 && int(found.MaxMsgSize) < wire.MaxPayload:
		return differs("max_msg_size", found.MaxMsgSize, want.MaxMsgSize)
	case found.Replicas < want.Replicas:
		return differs("num_replicas", found.Replicas, want.Replicas)
	}
	return nil
}
