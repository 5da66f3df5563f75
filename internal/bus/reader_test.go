package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
)

// unread returns the reader of pings of a log that nobody runs.
func unread(w *world, deliver jetstream.DeliverPolicy) *reader {
	w.t.Helper()
	log, err := NewActivityLog(w.connect(), ActivityLogConfig{
		Subjects: w.subjects, Tracker: activity.NewTracker(0), OnActivity: func(activity.ID) {}, Heartbeat: time.Hour, Logger: quiet,
	})
	check(w.t, err)
	log.pings.deliver = deliver
	return log.pings
}

// A consumer that has nothing more to hand out proves nothing: it may be on a server that is behind the leader of the stream. All that is
// there as the leader says has to be known, and a consumer that does not come that far is replaced.
func TestConsumerThatIsBehind(t *testing.T) {
	w := newWorldWithStreams(t)
	ping(t, w.jetStream(), w.subjects, web, files)
	r := unread(w, jetstream.DeliverNewPolicy) // hands out nothing of what is there, as if its server did not have it yet
	ctx := context.Background()
	f, err := r.open(ctx)
	check(t, err)
	defer f.close(nil)
	soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := r.caughtUp(soon, r.position(), w.info(r.stream)); !errors.Is(err, errBehind) {
		t.Errorf("got %v, want that two pings are not known", err)
	}
	receive(t, "the end of the feed", f.done)
}

// What was removed is not waited for: the last message, all of them, those that were too old.
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
		w := newWorldWithStreams(t)
		js := w.jetStream()
		ping(t, js, w.subjects, web, files)
		check(t, remove(js, mustStream(t, js, w.subjects.activityStream())))
		if name != "the last" {
			eventually(t, name+": nothing is there", func() bool { return w.info(w.subjects.activityStream()).State.Msgs == 0 })
		}
		r := unread(w, jetstream.DeliverLastPerSubjectPolicy)
		f, err := r.open(ctx)
		check(t, err)
		if err := r.caughtUp(ctx, r.position(), w.info(r.stream)); err != nil || r.position() != 2 {
			t.Errorf("%s: got %v, and %d is handled", name, err, r.position())
		}
		f.close(nil)
	}
}

// The last message of a subject is asked of the leader, not of any replica, also where a stream allows the latter.
func TestLastMessage(t *testing.T) {
	w := newWorldWithStreams(t)
	js, nc := w.jetStream(), w.connect()
	ctx, cancel := context.WithTimeout(context.Background(), patiently)
	defer cancel()
	config := w.info(w.subjects.pauseStream()).Config
	config.AllowDirect = true
	_, err := js.UpdateStream(ctx, config)
	check(t, err)
	asked, err := nc.SubscribeSync("$JS.API.DIRECT.GET.>")
	check(t, err)
	for _, id := range []string{"1", "2"} {
		_, err := js.Publish(ctx, w.subjects.Pause(web), []byte(id))
		check(t, err)
	}
	for subject, want := range map[string]string{w.subjects.Pause(web): "2", w.subjects.pause + ">": "2", w.subjects.Pause(files): ""} {
		m, err := lastMessage(ctx, nc, config.Name, subject)
		if err != nil || string(m.Data) != want || (m.Sequence == 0) != (want == "") {
			t.Errorf("%s: got %+v, %v", subject, m, err)
		}
	}
	if m, err := lastMessage(ctx, nc, "NOWHERE", ">"); err == nil {
		t.Errorf("of no stream: got %+v", m)
	}
	if n, _, _ := asked.Pending(); n > 0 {
		t.Errorf("replicas were asked %d times", n)
	}
}
