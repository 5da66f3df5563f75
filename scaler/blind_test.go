package scaler

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
)

// The daemon says that it is blind whenever silence proves nothing, for whatever reason: it is what the event "blinded" tells, and whether this
// replica leads does not matter.
func TestBlind(t *testing.T) {
	log := activity.Log{Born: time.Unix(0, 0)}
	for _, row := range []struct {
		name    string
		hear    func(w *world)
		missing string // what has not been read elsewhere
		want    string
	}{
		{"the log has not been read", func(*world) {}, "", "not been read yet"},
		{"the log can't be heard", func(w *world) { w.tracker.Hear(log, time.Now()); w.tracker.Deaf("NATS is away", time.Now()) }, "", "NATS is away"},
		{"the log never held a ping", func(w *world) { w.tracker.Hear(activity.Log{Empty: true}, time.Now().Add(-time.Hour)) }, "", "never held a ping"},
		{"the log can be heard since a moment", func(w *world) { w.tracker.Hear(log, time.Now()) }, "", "since a moment ago"},
		{"the namespaces have not been read", func(w *world) { w.tracker.Hear(log, time.Now().Add(-time.Hour)) }, "the namespaces", "the namespaces"},
		{"all is well", func(w *world) { w.tracker.Hear(log, time.Now().Add(-time.Hour)) }, "", ""},
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
