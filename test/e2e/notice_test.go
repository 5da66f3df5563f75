package e2e

import (
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// A server with a sleep-notice is announced before it sleeps, and has the whole time, also when
// another leader comes. A ping or a lease within that time is a veto.
func TestASleepNoticeAndItsVeto(t *testing.T) {
	w := newWorld(t)
	const notice, idleAfter = 15 * time.Second, 20 * time.Second // time to veto, and to change the leader
	for _, name := range []string{"silent", "pinged", "leased"} {
		w.deploy(name, annotation("sleep-notice", notice.String()))
	}
	events := w.events()
	flags := append(alone, "--idle-after", idleAfter.String())
	w.run(flags...)
	w.ping("somebody-else")
	soon := events.next(scaler.SoonAsleep, "silent")
	events.next(scaler.SoonAsleep, "leased")
	w.lease("leased", time.Hour)
	events.next(scaler.SoonAsleep, "pinged")
	vetoed := time.Now()
	w.ping("pinged")
	w.kill()
	w.run(flags...)

	slept := events.next(scaler.Slept, "silent")
	if given := slept.At.Sub(soon.At); given < notice {
		t.Errorf("it slept %s after its notice", given)
	}
	ofSilent := func(e scaler.Event) bool { return e.Type == scaler.SoonAsleep && e.Server.Name == "silent" }
	if notices := events.all(ofSilent); len(notices) != 1 {
		t.Errorf("its notices are %+v", notices)
	}
	w.awaitReason("leased", policy.Leased)
	if e := events.next(scaler.Slept, "pinged"); e.At.Before(vetoed.Add(idleAfter)) {
		t.Errorf("the veto was at %s or later, and it slept at %s", vetoed, e.At)
	}
	wait.Consistently(t, time.Second, "awake after a veto", w.staying(1, "leased"))
}
