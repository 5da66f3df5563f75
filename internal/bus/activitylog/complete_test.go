package activitylog

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// A stream that has lost messages before their age is complete only since then.
func TestCompleteness(t *testing.T) {
	const day = 24 * time.Hour
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	recorded := created.Add(31 * day)
	now := created.Add(100 * day)
	next, yesterday, longAgo := now.Add(5*time.Second), now.Add(-day), now.Add(-33*day)
	type state = jetstream.StreamState
	at := func(created, at time.Time, s state, record string) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Created: created, TimeStamp: at, State: s,
			Config: jetstream.StreamConfig{MaxAge: 32 * day, Metadata: map[string]string{completeKey: record}},
		}
	}
	three := state{Msgs: 3, LastSeq: 9, FirstTime: yesterday}
	some := at(created, now, three, "")
	first := func(at ...*jetstream.StreamInfo) []*jetstream.StreamInfo { return at }
	then := func(created time.Time, s state, record string) []*jetstream.StreamInfo {
		return first(some, at(created, next, s, record))
	}
	for name, row := range map[string]struct {
		states []*jetstream.StreamInfo
		since  time.Time
		lost   bool
	}{
		"new and empty":            {first(at(created, now, state{}, "")), created, false},
		"empty when first seen":    {first(at(created, next, state{LastSeq: 9, LastTime: yesterday}, "")), next, true},
		"empty, age unknown":       {first(at(created, next, state{LastSeq: 9}, "")), next, true},
		"empty because of age":     {first(at(created, next, state{LastSeq: 9, LastTime: longAgo}, "")), created, false},
		"as it should be":          {then(created, state{Msgs: 4, LastSeq: 12, FirstTime: yesterday}, ""), created, false},
		"purged":                   {then(created, state{LastSeq: 9}, ""), next, true},
		"shortened":                {then(created, state{Msgs: 2, LastSeq: 10, FirstTime: now}, ""), next, true},
		"set back":                 {then(created, state{Msgs: 3, LastSeq: 8, FirstTime: yesterday}, ""), next, true},
		"created again":            {then(now, state{}, ""), now, false},
		"created again, with more": {then(now, state{Msgs: 30, LastSeq: 90, FirstTime: now}, ""), now, false},
		"a message grew too old": {first(
			at(created, now, state{Msgs: 3, LastSeq: 9, FirstTime: now.Add(-32 * day)}, ""),
			at(created, next, state{Msgs: 2, LastSeq: 9, FirstTime: yesterday}, ""),
		), created, false},
		"a recorded loss":                   {first(at(created, now, three, "2026-02-01T00:00:00Z")), recorded, false},
		"another daemon recorded a loss":    {then(created, three, "2026-02-01T00:00:00Z"), recorded, false},
		"a record that can't be read":       {first(at(created, now, three, "yesterday")), created, false},
		"lost, before an older record":      {then(created, state{LastSeq: 9}, "2026-02-01T00:00:00Z"), next, true},
		"created again, with an old record": {then(now, state{}, "2026-02-01T00:00:00Z"), now, false},
	} {
		var c completeness
		var lost string
		for _, info := range row.states {
			lost = c.update(info)
		}
		if !c.since.Equal(row.since) || (lost != "") != row.lost {
			t.Errorf("%s: complete since %s, lost %q; want since %s, lost %v", name, c.since, lost, row.since, row.lost)
		}
	}
}

// A purge is noticed at once, and recorded on the stream. So a daemon that starts after it knows
// that the log says nothing about the time before, although the log is not empty any more.
func TestPurgeMovesCompleteSince(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	l := start(w, w.Connect())
	l.waitComplete(t)
	created := w.Info(stream.Pauses.Name(w.Subjects)).Created // the last of the three
	if since := l.coverage().CompleteSince; !since.Equal(created) {
		t.Errorf("complete since %s, want %s", since, created)
	}
	before := time.Now()
	pings := w.Stream(stream.Activity.Name(w.Subjects))
	natstest.Check(t, pings.Purge(context.Background(), jetstream.WithPurgeSubject(w.Subjects.Activity(web))))
	wait.Until(t, "a later CompleteSince", func() bool { return !l.coverage().CompleteSince.Before(before) })
	wait.Until(t, "its record", func() bool { return !recordedSince(w.Info(stream.Activity.Name(w.Subjects))).IsZero() })
	l.stop()

	ping(t, js, w.Subjects, web)
	second := start(w, w.Connect())
	second.waitComplete(t)
	if since := second.coverage().CompleteSince; since.Before(before) {
		t.Errorf("for a later daemon the log is complete since %s, before the purge at %s", since, before)
	}
	natstest.Check(t, w.Ensure(context.Background())) // the record does not make the stream somebody else's
}

// A stream that was deleted is created again and read from its start, although its sequences are
// lower. The log is complete since the new one was created.
func TestStreamIsCreatedAgain(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, web, web, files)
	l := start(w, w.Connect())
	l.waitComplete(t)
	before := time.Now()
	natstest.Check(t, js.DeleteStream(context.Background(), stream.Activity.Name(w.Subjects)))
	wait.Until(t, "the stream", func() bool {
		_, err := js.Stream(context.Background(), stream.Activity.Name(w.Subjects))
		return err == nil
	})
	ping(t, js, w.Subjects, web)
	l.waitComplete(t)
	wait.Until(t, "the ping in it", func() bool { return l.last(web).Sequence == 1 })
	wait.Until(t, "a later CompleteSince", func() bool { return !l.coverage().CompleteSince.Before(before) })
	l.waitComplete(t)
}

// refusing is a JetStream that changes no stream until it relents.
type refusing struct {
	jetstream.JetStream
	asked   atomic.Int64
	relents atomic.Bool
}

func (s *refusing) UpdateStream(ctx context.Context, config jetstream.StreamConfig) (jetstream.Stream, error) {
	if s.asked.Add(1); !s.relents.Load() {
		return nil, errors.New("not now")
	}
	return s.JetStream.UpdateStream(ctx, config)
}

// A loss that can't be recorded now is recorded later, because only the daemon that noticed it
// knows of it.
func TestLossIsRecordedLater(t *testing.T) {
	w := natstest.NewWithStreams(t)
	js := w.JetStream()
	ping(t, js, w.Subjects, web, files)
	log, err := New(w.Connect(), testConfig(w))
	natstest.Check(t, err)
	refuses := &refusing{JetStream: log.js}
	log.js = refuses
	wait.Run(t, log.Run)
	wait.Until(t, "the replay", func() bool { return log.Counts().Replayed })
	before := time.Now()
	pings := w.Stream(stream.Activity.Name(w.Subjects))
	natstest.Check(t, pings.Purge(context.Background(), jetstream.WithPurgeSubject(w.Subjects.Activity(web))))
	wait.Until(t, "three attempts to record it", func() bool { return refuses.asked.Load() >= 3 })
	if since := recordedSince(w.Info(log.pings.wants.Name)); !since.IsZero() {
		t.Errorf("it is recorded: %s", since)
	}
	natstest.Check(t, log.Prove(context.Background())) // the attempts keep nobody from that
	refuses.relents.Store(true)
	wait.Until(t, "the record", func() bool { return !recordedSince(w.Info(log.pings.wants.Name)).Before(before) })
}
