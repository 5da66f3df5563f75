package stream

import (
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/wire"
)

// Compatible returns an error if a stream that somebody else made does not do what is needed. It
// may keep more, and for longer. Its operator may choose whatever is not compared here.
func Compatible(found, want jetstream.StreamConfig) error {
	for _, row := range []struct {
		field       string
		found, want any
	}{
		{"origin in another stream", found.Mirror != nil || len(found.Sources) > 0, false},
		{"subject transform", found.SubjectTransform != nil, false},
		{"sealed", found.Sealed, false},
		{"no_ack", found.NoAck, false},
		// With each of these a publisher can do more than publish: purge the stream (rollup), have
		// what he sends forgotten too early (ttl), or stored later under another subject
		// (schedules).
		{"allow_rollup_hdrs", found.AllowRollup, false},
		{"allow_msg_ttl", found.AllowMsgTTL, false},
		{"allow_msg_schedules", found.AllowMsgSchedules, false},
		// The server answers the parts of a batch with an empty message on any reply subject. On
		// that of a command it is an order to stop. Of a fast batch it also obeys what the reply
		// subject says.
		{"allow_atomic", found.AllowAtomicPublish, false},
		{"allow_batched", found.AllowBatchPublish, false},
		{"allow_msg_counter", found.AllowMsgCounter, false}, // it refuses payloads that are no number
		{"subjects", found.Subjects, want.Subjects},
		{"retention", found.Retention, want.Retention},
		{"storage", found.Storage, want.Storage},
		{"discard", found.Discard, want.Discard},
		{"discard_new_per_subject", found.DiscardNewPerSubject, false},
		{"max_msgs_per_subject", max(0, found.MaxMsgsPerSubject), max(0, want.MaxMsgsPerSubject)},
		{"max_msgs", atLeast(found.MaxMsgs, want.MaxMsgs), want.MaxMsgs},
		{"max_age", atLeast(found.MaxAge, want.MaxAge), want.MaxAge},
		{"duplicate_window", atLeast(found.Duplicates, want.Duplicates), want.Duplicates},
		{"max_msg_size", atLeast(found.MaxMsgSize, wire.MaxPayload), int32(wire.MaxPayload)},
		{"num_replicas", atLeast(found.Replicas, want.Replicas), want.Replicas},
	} {
		if !reflect.DeepEqual(row.found, row.want) {
			return fmt.Errorf("its %s is %v, wanted is %v: change it (nats stream edit), "+
				"or delete the stream and it is made again", row.field, row.found, row.want)
		}
	}
	return nil
}

// atLeast returns want if found is as large, or no limit (0 or less). Otherwise it returns found.
func atLeast[T int | int32 | int64 | time.Duration](found, want T) T {
	if found <= 0 || want > 0 && found >= want {
		return want
	}
	return found
}
