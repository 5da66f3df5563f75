package scaler

import (
	"testing"
	"time"

	"idle-scaler/policy"
)

// The reason why a wake failed counts until a replica is ready. When that replica is lost long
// after, another reason counts.
func TestFailureIsOfTheWake(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.ping()
		w.pods.diagnoses <- Diagnosis{Reason: "ImagePullBackOff", Text: "no such image", Fatal: true}
		time.Sleep(time.Minute)
		expect := func(want policy.Status) {
			t.Helper()
			if v := w.View(w.alpha()); v.Status != want {
				t.Errorf("%s: %s", v.Status, v.Failure)
			}
		}
		expect(policy.StatusFailed)
		time.Sleep(time.Hour) // somebody mends the image
		w.getReady("alpha")
		expect(policy.StatusRunning)
		w.change("alpha", func(s *Server) { s.Ready, s.UnreadySince = 0, time.Now() }) // its node is drained
		expect(policy.StatusPending)
	}, asleep(policy.BecauseIdle))
}
