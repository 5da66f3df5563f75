package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/scaler"
)

// A log that has lost messages other than by age is born again: silence before that proves nothing.
func TestHistory(t *testing.T) {
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
		var h history
		var lost string
		for _, info := range row.looks {
			lost = h.look(info, info.TimeStamp)
		}
		if !h.born.Equal(row.born) || (lost != "") != row.lost {
			t.Errorf("%s: born %s, lost %q; want born %s, lost %v", name, h.born, lost, row.born, row.lost)
		}
	}
}

// What a daemon can't know when it starts is which leases the stream has forgotten: they may have been in force for as long as a lease can be
// after they were said, and no server was certainly unused before that.
func TestForgottenLeases(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name string
		age  time.Duration
		last uint64
		want time.Time
	}{
		{"as it is made", leasesKept, 9, now.Add(-7 * day)},
		{"kept for no longer than one lasts", maxTTL, 9, now},
		{"never one", maxTTL, 0, time.Time{}},
		{"kept for ever", 0, 9, time.Time{}},
	} {
		info := &jetstream.StreamInfo{TimeStamp: now, Config: jetstream.StreamConfig{MaxAge: row.age}, State: jetstream.StreamState{LastSeq: row.last}}
		if got := forgottenUntil(info); !got.Equal(row.want) {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
	w := newWorldWithStreams(t)
	ping(t, w.jetStream(), w.subjects, web)
	log, err := NewActivityLog(w.connect(), ActivityLogConfig{
		Subjects: w.subjects, Tracker: activity.NewTracker(0), Pauses: scaler.NewPauses(), OnActivity: func(activity.ID) {},
		Ensure: func(context.Context) error { return w.ensure() }, Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: quiet,
	})
	check(t, err)
	log.leasesRead, log.leasesKnown = true, time.Now()
	run(t, log.Run)
	eventually(t, "the replay", func() bool { return log.Counts().Replayed })
	if born := log.config.Tracker.Sight(time.Now()).Born; !born.Equal(log.leasesKnown) {
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

// A loss that can't be recorded is recorded when it can: nobody but the daemon that has noticed it knows.
func TestLossIsRecordedLater(t *testing.T) {
	w := newWorldWithStreams(t)
	js := w.jetStream()
	ping(t, js, w.subjects, web, files)
	log, err := NewActivityLog(w.connect(), ActivityLogConfig{
		Subjects: w.subjects, Tracker: activity.NewTracker(0), Pauses: scaler.NewPauses(), OnActivity: func(activity.ID) {},
		Ensure: func(context.Context) error { return w.ensure() }, Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Logger: quiet,
	})
	check(t, err)
	refusing := &stubborn{JetStream: log.js}
	log.js = refusing
	run(t, log.Run)
	eventually(t, "the replay", func() bool { return log.Counts().Replayed })
	before := time.Now()
	check(t, mustStream(t, js, w.subjects.activityStream()).Purge(context.Background(), jetstream.WithPurgeSubject(w.subjects.Activity(web))))
	eventually(t, "three attempts to record it", func() bool { return refusing.asked.Load() >= 3 })
	if since := completeSince(w.info(w.subjects.activityStream())); !since.IsZero() {
		t.Errorf("it is recorded: %s", since)
	}
	check(t, log.Prove(context.Background())) // the attempts keep nobody from that
	refusing.relents.Store(true)
	eventually(t, "the record", func() bool { return !completeSince(w.info(w.subjects.activityStream())).Before(before) })
}

// A difference between two clocks counts only when the way there and back can't account for it.
func TestBehind(t *testing.T) {
	before := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	after := before.Add(100 * time.Millisecond)
	for server, want := range map[time.Duration]time.Duration{
		50 * time.Millisecond:  0,
		0:                      0,
		100 * time.Millisecond: 0,
		-10 * time.Second:      10*time.Second + 50*time.Millisecond,
		10 * time.Second:       -10*time.Second + 50*time.Millisecond,
	} {
		if got := behind(before, after, before.Add(server)); got != want {
			t.Errorf("%s after: got %s, want %s", server, got, want)
		}
	}
	if got := behind(before, after, time.Time{}); got != 0 {
		t.Errorf("a server that does not say: got %s", got)
	}
}
