package activitylog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// pingReader returns the reader of pings of a Log that does not run.
func pingReader(w *natstest.Server, deliver jetstream.DeliverPolicy) *reader {
	w.T.Helper()
	config := testConfig(w)
	config.Heartbeat = time.Hour
	log, err := New(w.Connect(), config)
	natstest.Check(w.T, err)
	log.pings.deliver = deliver
	return log.pings
}

// A consumer that has nothing more to deliver proves nothing: its server may lag behind the leader
// of the stream. The reader must have handled everything that the leader holds, and replaces a
// consumer that does not get that far.
func TestConsumerThatIsBehind(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web, files)
	r := pingReader(w, jetstream.DeliverNewPolicy) // delivers no old message, as if its server did not have it yet
	ctx := context.Background()
	f, err := r.open(ctx)
	natstest.Check(t, err)
	defer f.Close(nil)
	soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := r.caughtUp(soon, r.position(), w.Info(r.wants.Name)); !errors.Is(err, errBehind) {
		t.Errorf("got %v, want that two pings are not known", err)
	}
	wait.For(t, "the end of the feed", f.Done)
}

// A reader does not wait for messages that were removed: the last one, all of them, or those that
// were too old.
func TestRemovedMessagesAreNotAwaited(t *testing.T) {
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
			pings := stream.Activity.Name(w.Subjects)
			natstest.Check(t, remove(js, w.Stream(pings)))
			if name != "the last" {
				wait.Until(t, "an empty stream", func() bool { return w.Info(pings).State.Msgs == 0 })
			}
			r := pingReader(w, jetstream.DeliverLastPerSubjectPolicy)
			f, err := r.open(ctx)
			natstest.Check(t, err)
			if err := r.caughtUp(ctx, r.position(), w.Info(pings)); err != nil || r.position() != 2 {
				t.Errorf("got %v, and everything up to %d was handled", err, r.position())
			}
			f.Close(nil)
		})
	}
}

// A reader notices that its stream was created again, also when the new one holds as many messages.
func TestOtherStreamIsNoticed(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	r, ctx := pingReader(w, jetstream.DeliverLastPerSubjectPolicy), context.Background()
	name := r.wants.Name
	f, err := r.open(ctx)
	natstest.Check(t, err)
	defer f.Close(nil)
	natstest.Check(t, r.caughtUp(ctx, r.position(), w.Info(name)))
	natstest.Check(t, js.DeleteStream(ctx, name))
	natstest.Check(t, w.Ensure(ctx))
	ping(t, js, w.Subjects, files, web)
	if err := r.caughtUp(ctx, r.position(), w.Info(name)); !errors.Is(err, errOtherStream) {
		t.Errorf("got %v", err)
	}
	wait.For(t, "the end of the feed", f.Done)
}

// A full log refuses the pings of new servers, and their senders do not notice. So its silence
// proves nothing. It is full by number or by bytes, whichever comes first.
func TestFullLogIsNotUsable(t *testing.T) {
	r := &reader{wants: jetstream.StreamConfig{MaxMsgs: 100_000, MaxMsgsPerSubject: 1}}
	for count, usable := range map[uint64]bool{0: true, 98_999: true, 99_000: false, 100_000: false, 100_001: false} {
		info := &jetstream.StreamInfo{Config: r.wants, State: jetstream.StreamState{Msgs: count}}
		if err := r.usable(info); (err == nil) != usable {
			t.Errorf("%d of %d: got %v", count, r.wants.MaxMsgs, err)
		}
		if info.Config.MaxMsgs = -1; r.usable(info) != nil {
			t.Errorf("%d without a limit: not usable", count)
		}
	}
	for _, row := range []struct {
		bytes  uint64
		most   int64
		usable bool
	}{
		{1 << 40, -1, true},
		{1 << 40, 0, true},
		{989 << 20, 1000 << 20, true},
		{990 << 20, 1000 << 20, false},
		{900 << 10, 1 << 20, true}, // in a small stream the largest possible ping still fits
		{960 << 10, 1 << 20, false},
	} {
		info := &jetstream.StreamInfo{Config: r.wants, State: jetstream.StreamState{Bytes: row.bytes}}
		info.Config.MaxBytes = row.most
		if err := r.usable(info); (err == nil) != row.usable {
			t.Errorf("%d bytes of %d: got %v", row.bytes, row.most, err)
		}
	}
}

// A full stream of pauses is usable: it refuses more orders, their senders see that, and it hides
// no ping.
func TestFullStreamOfPauses(t *testing.T) {
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	wants := stream.Options{Subjects: subjects, Replicas: 1}.Config(stream.Pauses)
	info := &jetstream.StreamInfo{Config: wants, State: jetstream.StreamState{Msgs: uint64(wants.MaxMsgs)}}
	natstest.Check(t, (&reader{wants: wants}).usable(info))
}
