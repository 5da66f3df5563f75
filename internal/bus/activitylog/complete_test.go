package activitylog

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// A log that has lost messages other than by age is born again: silence before that proves nothing.
func TestCompleteness(t *testing.T) {
	const day = 24 * time.Hour
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	later := created.Add(100 * day)
	type state = jetstream.StreamState
	look := func(created, at time.Time, s state, record string) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Created: created, TimeStamp: at, State: s,
			Config: jetstream.StreamConfig{MaxAge: 32 * day, Metadata: map[string]string{completeKey: record}},
		}
	}
	some := look(created, later, state{Msgs: 3, LastSeq: 9, FirstTime: later.Add(-day)}, "")
	next := later.Add(5 * time.Second)
	for name, row := range map[string]struct {
		looks []*jetstream.StreamInfo
		born  time.Time
		lost  bool
	}{
		"new and empty":        {[]*jetstream.StreamInfo{look(created, later, state{}, "")}, created, false},
		"as it should be":      {[]*jetstream.StreamInfo{some, look(created, next, state{Msgs: 4, LastSeq: 12, FirstTime: later.Add(-day)}, "")}, created, false},
		"empty at first sight": {[]*jetstream.StreamInfo{look(created, next, state{LastSeq: 9, LastTime: later.Add(-day)}, "")}, next, true},
		"empty, age unknown":   {[]*jetstream.StreamInfo{look(created, next, state{LastSeq: 9}, "")}, next, true},
		"empty because of age": {[]*jetstream.StreamInfo{look(created, next, state{LastSeq: 9, LastTime: later.Add(-33 * day)}, "")}, created, false},
		"purged":               {[]*jetstream.StreamInfo{some, look(created, next, state{LastSeq: 9}, "")}, next, true},
		"shortened":            {[]*jetstream.StreamInfo{some, look(created, next, state{Msgs: 2, LastSeq: 10, FirstTime: later}, "")}, next, true},
		"one grew too old": {[]*jetstream.StreamInfo{
			look(created, later, state{Msgs: 3, LastSeq: 9, FirstTime: later.Add(-32 * day)}, ""),
			look(created, next, state{Msgs: 2, LastSeq: 9, FirstTime: later.Add(-day)}, ""),
		}, created, false},
		"set back":   {[]*jetstream.StreamInfo{some, look(created, next, state{Msgs: 3, LastSeq: 8, FirstTime: later.Add(-day)}, "")}, next, true},
		"made again": {[]*jetstream.StreamInfo{some, look(later, next, state{}, "")}, later, false},
		"made again, with more in it": {[]*jetstream.StreamInfo{
			some, look(later, next, state{Msgs: 30, LastSeq: 90, FirstTime: later}, ""),
		}, later, false},
		"a loss that is recorded": {[]*jetstream.StreamInfo{
			look(created, later, state{Msgs: 3, LastSeq: 9, FirstTime: later}, "2026-02-01T00:00:00Z"),
		}, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), false},
		"a loss that another recorded meanwhile": {[]*jetstream.StreamInfo{
			some, look(created, next, state{Msgs: 3, LastSeq: 9, FirstTime: later}, "2026-02-01T00:00:00Z"),
		}, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), false},
		"a record that can't be read": {[]*jetstream.StreamInfo{
			look(created, later, state{Msgs: 3, LastSeq: 9, FirstTime: later}, "yesterday"),
		}, created, false},
	} {
		var c completeness
		var lost string
		for _, info := range row.looks {
			lost = c.look(info, info.TimeStamp)
		}
		if !c.since.Equal(row.born) || (lost != "") != row.lost {
			t.Errorf("%s: born %s, lost %q; want born %s, lost %v", name, c.since, lost, row.born, row.lost)
		}
	}
}

// A daemon that starts can't know which leases the stream has forgotten. They may have been in force for as long as a
// lease can last, and no server is certainly unused before that.
func TestForgottenLeases(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name string
		age  time.Duration
		last uint64
		want time.Time
	}{
		{"as it is made", stream.LeasesKept, 9, now.Add(-7 * day)},
		{"kept for no longer than one lasts", wire.MaxTTL, 9, now},
		{"never one", wire.MaxTTL, 0, time.Time{}},
		{"kept for ever", 0, 9, time.Time{}},
	} {
		info := &jetstream.StreamInfo{TimeStamp: now, Config: jetstream.StreamConfig{MaxAge: row.age}, State: jetstream.StreamState{LastSeq: row.last}}
		if got := forgottenUntil(info); !got.Equal(row.want) {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
	w := natstest.NewWithStreams(t)
	ping(t, w.JetStream(), w.Subjects, web)
	log, err := New(w.Connect(), Config{
		Subjects: w.Subjects, Tracker: activity.NewTracker(0), Clock: new(activity.Clock), Pauses: scaler.NewPauses(),
		Ensure: w.Ensure, Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: natstest.Quiet,
	})
	natstest.Check(t, err)
	log.leasesRead, log.leasesKnown = true, time.Now()
	wait.Run(t, log.Run)
	wait.Until(t, "the replay", func() bool { return log.Counts().Replayed })
	if born := log.config.Tracker.Coverage(time.Now()).CompleteSince; !born.Equal(log.leasesKnown) {
		t.Errorf("born %s, want %s", born, log.leasesKnown)
	}
}

// stubborn is a JetStream that changes no stream before it is told to.
type stubborn struct {
	jetstream.JetStream
	asked   atomic.Int64
	relents atomic.Bool
}

func (s *stubborn) UpdateStream(ctx context.Context, config jetstream.StreamConfig) (jetstream.Stream, error) {
	if s.asked.Add(1); !s.relents.Load() {
		return nil, errors.New("not now")
	}
	return s.JetStream.UpdateStream(ctx, config)
}

// A loss that can't be recorded is recorded when it can: nobody but the daemon that has noticed it
// knows.
func TestLossIsRecordedLater(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	log, err := New(w.Connect(), Config{
		Subjects: w.Subjects, Tracker: activity.NewTracker(0), Clock: new(activity.Clock), Pauses: scaler.NewPauses(),
		Ensure: w.Ensure, Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: natstest.Quiet,
	})
	natstest.Check(t, err)
	refusing := &stubborn{JetStream: log.js}
	log.js = refusing
	wait.Run(t, log.Run)
	wait.Until(t, "the replay", func() bool { return log.Counts().Replayed })
	before := time.Now()
	natstest.Check(t, w.Stream(stream.Activity.Name(w.Subjects)).Purge(context.Background(), jetstream.WithPurgeSubject(w.Subjects.Activity(web))))
	wait.Until(t, "three attempts to record it", func() bool { return refusing.asked.Load() >= 3 })
	if since := completeSince(w.Info(stream.Activity.Name(w.Subjects))); !since.IsZero() {
		t.Errorf("it is recorded: %s", since)
	}
	natstest.Check(t, log.Prove(context.Background())) // the attempts keep nobody from that
	refusing.relents.Store(true)
	wait.Until(t, "the record", func() bool { return !completeSince(w.Info(stream.Activity.Name(w.Subjects))).Before(before) })
}
