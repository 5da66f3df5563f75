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
	caughtUp := func(log activity.Log, ago time.Duration) func(w *world) {
		return func(w *world) { w.tracker.CaughtUp(log, time.Now().Add(-ago)) }
	}
	log := activity.Log{CompleteSince: time.Unix(0, 0)}
	for _, row := range []struct {
		name    string
		read    func(w *world)
		missing string // what else has not been read
		want    string
	}{
		{"the log has not been read", func(*world) {}, "", "not been read yet"},
		{"the log is lost", func(w *world) {
			caughtUp(log, 0)(w)
			w.tracker.Lost("NATS is away", time.Now())
		}, "", "NATS is away"},
		{"the log never held a ping", caughtUp(activity.Log{Empty: true}, time.Hour), "", "never held a ping"},
		{"the log is complete since a moment ago", caughtUp(log, 0), "", "since a moment ago"},
		{"the namespaces have not been read", caughtUp(log, time.Hour), "the namespaces", "the namespaces"},
		{"all is well", caughtUp(log, time.Hour), "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				row.read(w)
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
