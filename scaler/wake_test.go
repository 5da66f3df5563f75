package scaler

import (
	"testing"
	"time"

	"idle-scaler/policy"
)

// Why a wake will not get ready is written and told once, however many leaders find it out; another reason is told, too.
func TestFailureIsToldOnce(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		diagnose := func(reason string) {
			w.pods.diagnoses <- Diagnosis{reason, "no such image", true}
			time.Sleep(w.config.DiagnoseAfter + time.Second)
		}
		w.ping()
		diagnose("ErrImagePull")
		w.expectTold(Woken, Failed)
		writes := len(w.cluster.writes)
		for range 2 {
			w.nextLeader()
			diagnose("ErrImagePull")
		}
		w.expectTold(Woken, Failed)
		if n := len(w.cluster.writes); n != writes {
			t.Errorf("%d more writes", n-writes)
		}
		w.nextLeader()
		diagnose("ImagePullBackOff")
		w.expectTold(Woken, Failed, Failed)
	}, asleep(policy.BecauseIdle))
}
