package stream

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/wire"
)

// Kind is one of the five streams.
type Kind string

// The streams.
const (
	Commands Kind = "COMMANDS" // a work queue: commands not yet finished
	Activity Kind = "ACTIVITY" // the last ping of each server
	Leases   Kind = "LEASES"   // the last message of each holder about each server
	Pauses   Kind = "PAUSES"   // every order to pause and to resume
	Events   Kind = "EVENTS"   // of the last days
)

var kinds = [...]Kind{Commands, Activity, Leases, Pauses, Events}

// Name returns the name of the stream: PREFIX_COMMANDS and so on, in capitals.
func (k Kind) Name(s wire.Subjects) string {
	return strings.ToUpper(strings.ReplaceAll(s.Prefix(), ".", "_")) + "_" + string(k)
}

// Options say how to make the streams.
type Options struct {
	Subjects wire.Subjects
	Owner    string // the cluster whose servers the streams are about
	Replicas int    // of each stream, on a NATS cluster; at least 1
}

// How much a stream holds.
const (
	maxSubjects = 100_000   // servers, or commands
	maxLeases   = 1_000_000 // holders, and servers of each
	maxOrders   = 1_000_000 // orders to pause and to resume
)

// activityKept is how long a ping is kept: longer than the longest idle-after.
const activityKept = 32 * 24 * time.Hour

// LeasesKept is how long a lease is kept: a week longer than it may last, so that a daemon that
// starts knows all leases that have ended within a week. It is shorter than for pings, because many
// holders are sessions, each with a new ID. A full stream refuses leases, and then nothing sleeps.
// This way it takes 100,000 new holders a day.
const LeasesKept = 7*24*time.Hour + wire.MaxTTL

// eventDuplicates is how long the stream of events drops second copies.
const eventDuplicates = 10 * time.Minute

// Config returns how the daemon makes a stream.
func (o Options) Config(k Kind) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: k.Name(o.Subjects), Storage: jetstream.FileStorage, Replicas: o.Replicas,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1,
		Duplicates: 2 * time.Minute, Metadata: map[string]string{ownerKey: o.Owner},
	}
	take := func(subject, description string) {
		c.Subjects, c.Description = []string{subject}, "idle-scaler: "+description
	}
	switch k {
	case Commands:
		// The size of a message has no limit here: the daemon rejects a large one with an event. If
		// the stream refused it, only a publisher who asks for an acknowledgement would know.
		take(o.Subjects.AllCommands(), "commands not yet finished")
		c.Retention, c.MaxMsgs, c.Discard = jetstream.WorkQueuePolicy, maxSubjects, jetstream.DiscardNew
	case Activity:
		take(o.Subjects.AllActivity(), "the last ping of each server")
		lastOfEach(&c, maxSubjects, activityKept)
	case Leases:
		take(o.Subjects.AllLeases(), "the last message of each holder of a lease")
		lastOfEach(&c, maxLeases, LeasesKept)
	case Pauses:
		// It keeps every order, also those that a newer one has ended. Anybody who may publish to
		// some stream can put its acknowledgement here, because that goes to any reply subject
		// without a check of permissions. If only the last message were kept, it would replace a
		// pause.
		take(o.Subjects.AllPauses(), "the orders that nothing is put to sleep, and their ends")
		c.MaxMsgs, c.Discard = maxOrders, jetstream.DiscardNew // an old one may be the pause in force
	case Events:
		take(o.Subjects.Events(wire.ID{}), "what happened")
		c.MaxAge, c.Duplicates = wire.EventsKept, eventDuplicates
	}
	return c
}

// lastOfEach makes a stream keep the last message of each subject. When it is full, it refuses new
// subjects, and still takes messages of known ones (not on a NATS cluster). With DiscardOld, pings
// to many servers would make the log forget one, which would look idle.
func lastOfEach(c *jetstream.StreamConfig, most int64, age time.Duration) {
	c.MaxMsgsPerSubject, c.MaxMsgs, c.Discard, c.MaxAge = 1, most, jetstream.DiscardNew, age
}

// Sleep waits for d or until ctx is done.
func Sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
