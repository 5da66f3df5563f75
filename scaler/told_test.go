package scaler

import (
	"slices"
	"testing"
	"time"
)

// A change that was seen only after its predecessor was told, because another leader wrote it at that moment, is not overwritten before it is
// told, too: the sleep gives up, and the next sweep tells it first.
func TestNoSleepOverwritesAnEventThatIsNotTold(t *testing.T) {
	lead(t, func(w *world) {
		for range cap(w.inFlight) {
			w.inFlight <- struct{}{} // the sleep has to wait just before it looks at the server
		}
		time.AfterFunc(500*time.Millisecond, func() {
			s := *w.alpha()
			s.Mark.Last = Event{ID: "of-another-leader", Type: Scaled, Server: alpha, At: time.Now(), To: 3}
			w.cluster.put(s)
			<-w.inFlight
		})
		w.sweep()
		w.expectReplicas(3)
		for len(w.inFlight) > 0 {
			<-w.inFlight
		}
		w.sweep()
		w.expectReplicas(0)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Scaled, Slept}) {
			t.Errorf("told %v", got)
		}
	}, running(3))
}
