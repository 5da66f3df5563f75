package activitylog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// unread returns the reader of pings of a log that nobody runs.
func unread(w *natstest.Server, deliver jetstream.DeliverPolicy) *reader {
	w.T.Helper()
	log, err := New(w.Connect(), Config{
		Subjects: w.Subjects, Tracker: activity.NewTracker(0), Heartbeat: time.Hour, Logger: natstest.Quiet,
	})
	natstest.Check(w.T, err)
	log.pings.deliver = deliver
	return log.pings
}

// A consumer that has nothing more to hand out proves nothing: it may be on a server that is behind
// the leader of the stream. All that is there as the leader says has to be known, and a consumer
// that does not come that far is replaced.
func TestConsumerThatIsBehind(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web, files)
	r := unread(w, jetstream.DeliverNewPolicy) // hands out nothing of what is there, as if its server did not have it yet
	ctx := context.Background()
	f, err := r.open(ctx)
	natstest.Check(t, err)
	defer f.Close(nil)
	soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := r.caughtUp(soon, r.position(), w.Info(r.stream)); !errors.Is(err, errBehind) {
		t.Errorf("got %v, want that two pings are not known", err)
	}
	wait.For(t, "the end of the feed", f.Done)
}

// A reader does not wait for messages that were removed: the last one, all of them, or those that were too
// old.
func TestRemovedMessagesAreNotMissed(t *testing.T) {
	ctx := context.Background()
	for name, remove := range map[string]func(jetstream.JetStream, jetstream.Stream) error{
		"the last": func(_ jetstream.JetStream, s jetstream.Stream) error { return s.DeleteMsg(ctx, 2) },
		"all":      func(_ jetstream.JetStream, s jetstream.Stream) error { return s.Purge(ctx) },
		"too old": func(js jetstream.JetStream, s jetstream.Stream) error {
			config := s.CachedInfo().Config
			config.MaxAge, config.Duplicates = 200*time.Millisecond, 100*time.Millisecond
			_, err := js.UpdateStream(ctx, config)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := natstest.NewWithStreams(t)
			js := w.JetStream()
			ping(t, js, w.Subjects, web, files)
			natstest.Check(t, remove(js, w.Stream(stream.Activity.Name(w.Subjects))))
			if name != "the last" {
				wait.Until(t, "nothing is there", func() bool { return w.Info(stream.Activity.Name(w.Subjects)).State.Msgs == 0 })
			}
			r := unread(w, jetstream.DeliverLastPerSubjectPolicy)
			f, err := r.open(ctx)
			natstest.Check(t, err)
			if err := r.caughtUp(ctx, r.position(), w.Info(r.stream)); err != nil || r.position() != 2 {
				t.Errorf("got %v, and %d is handled", err, r.position())
			}
			f.Close(nil)
		})
	}
}
