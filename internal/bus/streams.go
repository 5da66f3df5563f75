package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The names of the five streams: PREFIX_COMMANDS and so on, in capitals.
func (s Subjects) commandStream() string  { return s.stream("COMMANDS") }
func (s Subjects) activityStream() string { return s.stream("ACTIVITY") }
func (s Subjects) leaseStream() string    { return s.stream("LEASES") }
func (s Subjects) pauseStream() string    { return s.stream("PAUSES") }
func (s Subjects) eventStream() string    { return s.stream("EVENTS") }

func (s Subjects) stream(kind string) string {
	return strings.ToUpper(strings.ReplaceAll(s.prefix, ".", "_")) + "_" + kind
}

// ownerKey is the metadata of a stream that says which cluster's daemon uses it.
const ownerKey = "idle-scaler/cluster"

// StreamOptions say how the streams are to be.
type StreamOptions struct {
	Subjects Subjects
	Owner    string // the name of the cluster whose servers are told of
	Replicas int    // of each stream, on a NATS cluster; at least 1
}

// How much a stream holds.
const (
	maxSubjects = 100_000   // servers, or commands
	maxLeases   = 1_000_000 // holders, and servers of each
	maxOrders   = 1_000_000 // orders to pause and to resume
)

// leasesKept is how long a lease is kept: a week longer than it may last, so that a daemon that starts knows of all that have ended within a
// week. To know it for as long as the longest idle-after, as of pings, holders would have to be few; but many are sessions, with a new ID each,
// and when the stream is full it refuses leases, and nothing sleeps. As it is, it takes as many new ones in a day as if it kept them for only
// a day, up to 100,000.
const leasesKept = 7*24*time.Hour + maxTTL

// all are the streams as they are made.
func (o StreamOptions) all() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{o.commands(), o.activity(), o.leases(), o.pauses(), o.events()}
}

func (o StreamOptions) base(name, subjects, description string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{subjects + ">"}, Description: description,
		Storage: jetstream.FileStorage, Replicas: o.Replicas, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1,
		MaxMsgsPerSubject: -1, MaxConsumers: -1, Duplicates: 2 * time.Minute, Metadata: map[string]string{ownerKey: o.Owner},
	}
}

// commands has no limit on the size of a message: one that is too large is rejected by the daemon, which tells so; the
// stream would refuse it without a word to anybody but a publisher who asks for an acknowledgement.
func (o StreamOptions) commands() jetstream.StreamConfig {
	c := o.base(o.Subjects.commandStream(), o.Subjects.command, "idle-scaler: commands not yet finished")
	c.Retention, c.MaxMsgs, c.Discard = jetstream.WorkQueuePolicy, maxSubjects, jetstream.DiscardNew
	return c
}

func (o StreamOptions) activity() jetstream.StreamConfig {
	return o.log(o.Subjects.activityStream(), o.Subjects.activity, "idle-scaler: the last ping of each server", 32*24*time.Hour)
}

func (o StreamOptions) leases() jetstream.StreamConfig {
	c := o.log(o.Subjects.leaseStream(), o.Subjects.lease, "idle-scaler: the last word of each holder of a lease", leasesKept)
	c.MaxMsgs = maxLeases
	return c
}

// log is a stream that keeps the last message of each subject. When it is full a new subject is refused and a known one goes
// on (on a NATS cluster it is refused too, see reader.usable); the other way round, with DiscardOld, pings to many servers would make
// the log forget one, which would look idle.
func (o StreamOptions) log(name, subjects, description string, age time.Duration) jetstream.StreamConfig {
	c := o.base(name, subjects, description)
	c.MaxMsgsPerSubject, c.MaxMsgs, c.Discard, c.MaxAge = 1, maxSubjects, jetstream.DiscardNew, age
	return c
}

// pauses keeps every order, also those that a newer one has ended. A pause must not be lost, and its subject can be written to by
// whoever may publish anything that a stream takes: the stream's acknowledgement goes to any reply subject, without a look at
// permissions. It is no order, and if only the last message were kept it would replace one.
func (o StreamOptions) pauses() jetstream.StreamConfig {
	c := o.base(o.Subjects.pauseStream(), o.Subjects.pause, "idle-scaler: the orders that nothing is put to sleep, and their ends")
	c.MaxMsgs, c.Discard = maxOrders, jetstream.DiscardNew // not the old: one of them may be the pause that holds
	return c
}

func (o StreamOptions) events() jetstream.StreamConfig {
	c := o.base(o.Subjects.eventStream(), o.Subjects.event, "idle-scaler: what happened")
	c.MaxAge, c.Duplicates = eventsKept, 10*time.Minute
	return c
}

// EnsureStreams makes the streams that are missing and adopts those that are there, if they are as needed and nobody
// else's. It is harmless to call it again, and at the same time from several replicas.
func EnsureStreams(ctx context.Context, nc *nats.Conn, o StreamOptions, logger *slog.Logger) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	version := nc.ConnectedServerVersion()
	if version != "" && older(version, 2, 10, 23) {
		logger.Warn("this NATS server is older than 2.10.23, which lost messages in rare cases: upgrade it", "version", version)
	}
	async := version != "" && !older(version, 2, 12, 0) && o.Replicas == 1
	for _, want := range o.all() {
		if async && want.MaxMsgsPerSubject == 1 {
			want.PersistMode = jetstream.AsyncPersistMode // a ping need not be on the disk before the next is taken
		}
		if err := ensure(ctx, js, want, o.Owner, logger); err != nil {
			return fmt.Errorf("stream %s: %w", want.Name, explain(err))
		}
	}
	return refuseForeign(ctx, js, o.Subjects.api+">")
}

func ensure(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, owner string, logger *slog.Logger) error {
	found, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = js.CreateStream(ctx, want); err == nil {
			logger.Info("made a stream", "stream", want.Name, "subjects", want.Subjects[0])
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return errors.Join(err, overlapping(ctx, js, want.Subjects[0]))
		}
		found, err = js.Stream(ctx, want.Name) // another replica was faster
	}
	if err != nil {
		return err
	}
	config := found.CachedInfo().Config
	if has := config.Metadata[ownerKey]; has != "" && has != owner {
		return fmt.Errorf("it belongs to cluster %q, and this daemon is that of cluster %q: give each cluster its own subject prefix or NATS account; "+
			"if the cluster was renamed, change the stream's metadata %s", has, owner, ownerKey)
	}
	now := found.CachedInfo().TimeStamp // by the clock that stamps what it holds
	if now.IsZero() {
		now = time.Now()
	}
	widened := widen(&config, want, now)
	if err := compatible(config, want); err != nil {
		return err
	}
	if widened {
		if _, err := js.UpdateStream(ctx, config); err != nil {
			return fmt.Errorf("it keeps leases for %s only, and that can't be changed: set its max_age to %s and its max_msgs to %d: %w", maxTTL, want.MaxAge, want.MaxMsgs, err)
		}
		logger.Info("a stream keeps leases for longer now: no server is put to sleep before it has been listened to for its idle-after", "stream", want.Name, "max_age", want.MaxAge)
	}
	if config.Metadata[ownerKey] != owner {
		config.Metadata = with(config.Metadata, ownerKey, owner)
		if _, err := js.UpdateStream(ctx, config); err != nil {
			return fmt.Errorf("it has no owner, and can't be given one: add the metadata %s=%s to it: %w", ownerKey, owner, err)
		}
		logger.Info("adopted a stream", "stream", want.Name)
	}
	return nil
}

// widen changes the configuration of a stream of leases that the daemon has made when it still kept them only for as long as they could last.
// What it has forgotten until now may have been in force a moment ago, so as a log it is born now. It reports whether it was such a stream.
func widen(config *jetstream.StreamConfig, want jetstream.StreamConfig, now time.Time) bool {
	if config.Metadata[ownerKey] != want.Metadata[ownerKey] || want.MaxAge != leasesKept || config.MaxAge != maxTTL {
		return false
	}
	config.MaxAge, config.Metadata = want.MaxAge, with(config.Metadata, completeKey, now.UTC().Format(time.RFC3339Nano))
	if config.MaxMsgs == maxSubjects {
		config.MaxMsgs = want.MaxMsgs
	}
	return true
}

// with returns metadata with one more entry.
func with(metadata map[string]string, key, value string) map[string]string {
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata[key] = value
	return metadata
}

// explain adds what to do to the errors of a NATS server that can't hold streams.
func explain(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w: this NATS server has no JetStream: start it with -js, or put jetstream {store_dir: ...} into its configuration", err)
	}
	if errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("%w: put jetstream: enabled into the configuration of this NATS account", err)
	}
	return err
}

// refuseForeign looks for streams of others that take what is sent to subject: each would answer every request with
// the acknowledgement that it has stored it, before the daemon can.
func refuseForeign(ctx context.Context, js jetstream.JetStream, subject string) error {
	names, err := named(ctx, js, subject)
	if err != nil {
		return err
	}
	for _, name := range names {
		stream, err := js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound): // deleted since
		case err != nil:
			return fmt.Errorf("look at stream %s, which takes what is sent to %s: %w", name, subject, err)
		case !stream.CachedInfo().Config.NoAck:
			return fmt.Errorf("stream %s takes what is sent to %s, and its acknowledgements would be taken for the daemon's answers: "+
				"take that subject out of the stream, make it no_ack, or choose another subject prefix", name, subject)
		}
	}
	return nil
}

func overlapping(ctx context.Context, js jetstream.JetStream, subject string) error {
	names, err := named(ctx, js, subject)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%s already goes to stream %s", subject, strings.Join(names, ", "))
	}
	return err
}

// named returns the names of the streams that take what is sent to a subject.
func named(ctx context.Context, js jetstream.JetStream, subject string) (names []string, err error) {
	streams := js.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
	for name := range streams.Name() {
		names = append(names, name)
	}
	if err = streams.Err(); err != nil {
		err = fmt.Errorf("look for streams that take what is sent to %s: %w", subject, err)
	}
	return names, err
}

// older reports whether a server's version is below another.
func older(version string, major, minor, patch int) bool {
	var a, b, c int
	_, _ = fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d.%d", &a, &b, &c)
	switch {
	case a != major:
		return a < major
	case b != minor:
		return b < minor
	}
	return c < patch
}
