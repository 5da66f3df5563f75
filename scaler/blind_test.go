package scaler

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
)

// The daemon says that it is blind whenever silence proves nothing, for whatever reason, on the
// leader and on every other replica. The event "blinded" says the same.
func TestBlind(t *testing.T) {
	log := activity.Log{CompleteSince: time.Unix(0, 0)}
	for _, row := range []struct {
		name    string
		hear    func(w *world)
		missing string // what has not been read elsewhere
		want    string
	}{
		{"the log has not been read", func(*world) {}, "", "not been read yet"},
		{"the log can't be heard", func(w *world) { w.tracker.CaughtUp(log, time.Now()); w.tracker.Lost("NATS is away", time.Now()) }, "", "NATS is away"},
		{"the log never held a ping", func(w *world) { w.tracker.CaughtUp(activity.Log{Empty: true}, time.Now().Add(-time.Hour)) }, "", "never held a ping"},
		{"the log can be heard since a moment", func(w *world) { w.tracker.CaughtUp(log, time.Now()) }, "", "since a moment ago"},
		{"the namespaces have not been read", func(w *world) { w.tracker.CaughtUp(log, time.Now().Add(-time.Hour)) }, "the namespaces", "the namespaces"},
		{"all is well", func(w *world) { w.tracker.CaughtUp(log, time.Now().Add(-time.Hour)) }, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				row.hear(w)
				w.cluster.missing = row.missing
				if got := w.Blind(); !strings.Contains(got, row.want) || row.want == "" && got != "" {
					t.Errorf("blind: %q, want %q", got, row.want)
				}
			})
		})
	}
}

// The events about blindness say when it began and how long it was, also when NATS was away and
// takes them hours later. Each is counted once.
func TestBlindnessWhileNATSIsAway(t *testing.T) {
	lead(t, func(w *world) {
		began := time.Now()
		w.bus.setAway(errors.New("NATS is away"))
		w.tracker.Lost("NATS is away", began)
		w.sweep()
		time.Sleep(3 * time.Hour)
		w.bus.setAway(nil)
		w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-2 * idleAfter)}, time.Now())
		time.Sleep(time.Hour + time.Minute)
		blinded, sighted := w.last(Blinded), w.last(Sighted)
		if !blinded.At.Equal(began) || !strings.Contains(blinded.Text, "NATS is away") || sighted.Took < 3*time.Hour {
			t.Errorf("published %+v and %+v", blinded, sighted)
		}
		w.expectPublished(Blinded, Sighted)
	}, set(running(2), "idle-after", "never"))
}
