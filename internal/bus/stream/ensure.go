package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ownerKey is the metadata of a stream that says which cluster's daemon uses it.
const ownerKey = "idle-scaler/cluster"

// Ensure makes the streams that are missing and adopts those that exist, if they do what is needed
// and belong to nobody else. Several replicas may call it at the same time, and again.
func Ensure(ctx context.Context, nc *nats.Conn, o Options, logger *slog.Logger) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	version := nc.ConnectedServerVersion()
	if version != "" && older(version, 2, 10, 23) {
		logger.Warn("this NATS server is older than 2.10.23, which lost messages in rare cases: upgrade it",
			"version", version)
	}
	async := version != "" && !older(version, 2, 12, 0) && o.Replicas == 1
	for _, kind := range kinds {
		want := o.Config(kind)
		if async && want.MaxMsgsPerSubject == 1 {
			want.PersistMode = jetstream.AsyncPersistMode // the next ping need not wait until this one is on the disk
		}
		if err := ensureOne(ctx, js, want, o.Owner, logger); err != nil {
			return fmt.Errorf("stream %s: %w", want.Name, withAdvice(err))
		}
	}
	return refuseForeign(ctx, js, o.Subjects.AllRequests())
}

func ensureOne(
	ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, owner string, logger *slog.Logger,
) error {
	found, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = js.CreateStream(ctx, want); err == nil {
			logger.Info("made a stream", "stream", want.Name, "subjects", want.Subjects[0])
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			names, failed := takers(ctx, js, want.Subjects[0])
			if len(names) > 0 {
				failed = fmt.Errorf("%s already goes to stream %s", want.Subjects[0], strings.Join(names, ", "))
			}
			return errors.Join(err, failed)
		}
		found, err = js.Stream(ctx, want.Name) // another replica was faster
	}
	if err != nil {
		return err
	}
	config := found.CachedInfo().Config
	if has := config.Metadata[ownerKey]; has != "" && has != owner {
		return fmt.Errorf("it belongs to cluster %q, and this daemon is that of cluster %q: "+
			"give each cluster its own subject prefix or NATS account; "+
			"if the cluster was renamed, change the stream's metadata %s", has, owner, ownerKey)
	}
	if err := Compatible(config, want); err != nil {
		return err
	}
	if config.Metadata[ownerKey] != owner {
		config.Metadata = With(config.Metadata, ownerKey, owner)
		if _, err := js.UpdateStream(ctx, config); err != nil {
			return fmt.Errorf("it has no owner, and can't be given one: add the metadata %s=%s to it: %w",
				ownerKey, owner, err)
		}
		logger.Info("adopted a stream", "stream", want.Name)
	}
	return nil
}

// With returns metadata with one more entry.
func With(metadata map[string]string, key, value string) map[string]string {
	with := map[string]string{}
	maps.Copy(with, metadata)
	with[key] = value
	return with
}

// withAdvice adds what to do to the errors of a NATS server that can't hold streams.
func withAdvice(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: this NATS server has no JetStream: start it with -js, "+
			"or put jetstream {store_dir: ...} into its configuration", err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: put jetstream: enabled into the configuration of this NATS account", err)
	}
	return err
}

// refuseForeign looks for streams of others that take the messages on the subject of requests. Each
// would answer every request with the acknowledgement that it has stored it, before the daemon can
// answer.
func refuseForeign(ctx context.Context, js jetstream.JetStream, subject string) error {
	names, err := takers(ctx, js, subject)
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
			return fmt.Errorf("stream %s takes what is sent to %s, "+
				"and its acknowledgements would be taken for the daemon's answers: "+
				"take that subject out of the stream, make it no_ack, or choose another subject prefix", name, subject)
		}
	}
	return nil
}

// takers returns the names of the streams that take what is sent to a subject.
func takers(ctx context.Context, js jetstream.JetStream, subject string) (names []string, err error) {
	streams := js.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
	for name := range streams.Name() {
		names = append(names, name)
	}
	if err = streams.Err(); err != nil {
		err = fmt.Errorf("look for streams that take what is sent to %s: %w", subject, err)
	}
	return names, err
}

// older reports whether a server's version is below another: major, minor and patch.
func older(version string, than ...int) bool {
	var has [3]int
	_, _ = fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d.%d", &has[0], &has[1], &has[2])
	return slices.Compare(has[:], than) < 0
}
