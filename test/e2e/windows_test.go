package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// window returns a keep-warm of today that begins in a moment and lasts, in a zone that is not ours; and when it begins.
func window(in, lasts time.Duration) (keepWarm string, begins time.Time) {
	zone, _ := time.LoadLocation("Australia/Lord_Howe")
	begins = time.Now().Add(in).Truncate(time.Second).In(zone)
	return fmt.Sprintf("%d %d %d * * * for %s", begins.Second(), begins.Minute(), begins.Hour(), lasts), begins
}

// keepWarm annotates a server.
func (b *bench) keepWarm(name, keepWarm string) {
	b.t.Helper()
	b.patch(name, "kubectl-annotate", fmt.Sprintf(`{"metadata":{"annotations":{"idle-scaler/keep-warm":%q}}}`, keepWarm))
}

func inLordHowe(keepWarm string) string { return "CRON_TZ=Australia/Lord_Howe " + keepWarm }

// A keep-warm window wakes what the daemon has put to sleep at its start and keeps it awake without use until its end, though sweeps are
// rare; it does not wake what somebody has stopped. After its end silence counts again.
func TestAKeepWarmWindow(t *testing.T) {
	b := newBench(t)
	b.deploy("warm", replicas(2), annotation("time-zone", "Australia/Lord_Howe"))
	b.deploy("stopped")
	events := b.events()
	b.run("--idle-after", "2s", "--schedule", "*/4 * * * * *", "--settle", "0s", "--min-awake", "0s")
	b.order("stop", "stopped", "")
	b.ping("warm")
	events.next(scaler.Slept, "warm")
	keepWarm, begins := window(6*time.Second, 8*time.Second)
	b.keepWarm("warm", keepWarm)
	b.keepWarm("stopped", inLordHowe(keepWarm))
	eventually(t, "the window is known", func() error {
		s, err := b.status("warm")
		if err == nil && s.Settings.KeepWarm == "" {
			err = fmt.Errorf("not yet")
		}
		return err
	})
	if s := b.awaitReason("warm", policy.Asleep); !s.Decision.NextChange.Equal(begins) || !strings.Contains(s.Decision.Text, "Australia/Lord_Howe") {
		t.Errorf("decided %+v, the window begins at %s", s.Decision, begins)
	}
	woken := events.next(scaler.Woken, "warm")
	if late := woken.At.Sub(begins); late < 0 || late > time.Second || woken.Cause != scaler.CauseKeepWarm || woken.To != 2 {
		t.Errorf("woken %s after the start of the window: %+v", late, woken)
	}
	b.awaitReason("warm", policy.KeepWarm)
	after := b.events()
	slept := after.next(scaler.Slept, "warm")
	if end := begins.Add(8 * time.Second); slept.At.Before(end) || slept.Cause != scaler.CauseIdle {
		t.Errorf("slept at %s, the window ends at %s: %+v", slept.At, end, slept)
	}
	if err := b.staysAt("stopped", 0)(); err != nil {
		t.Errorf("stopped, and woken by a window: %v", err)
	}
}

// A window that began while no daemon was running is a window all the same.
func TestAWindowThatBeganWhileTheDaemonWasDown(t *testing.T) {
	b := newBench(t)
	b.deploy("warm")
	b.run(idle...)
	b.ping("warm")
	b.awaitReplicas("warm", 0)
	b.kill()
	keepWarm, _ := window(-time.Minute, time.Hour)
	b.keepWarm("warm", inLordHowe(keepWarm))
	b.run(idle...)
	b.awaitReplicas("warm", 1)
	b.awaitReason("warm", policy.KeepWarm)
	consistently(t, 4*time.Second, "in a window, and asleep", b.staysAt("warm", 1))
}

// At its sleep-at a server sleeps though it was used a moment ago and its idle-after is never; a live lease keeps it awake, a ping wakes it.
func TestSleepAt(t *testing.T) {
	b := newBench(t)
	at, due := window(8*time.Second, time.Second)
	at = inLordHowe(strings.TrimSuffix(at, " for 1s"))
	for _, name := range []string{"tired", "leased"} {
		b.deploy(name, annotation("idle-after", "never"), annotation("sleep-at", at))
	}
	events := b.events()
	b.run(idle...)
	b.lease("leased", time.Hour)
	for time.Until(due) > time.Second {
		b.ping("tired")
		time.Sleep(500 * time.Millisecond) // a server in use
	}
	e := events.next(scaler.Slept, "tired")
	if late := e.At.Sub(due); late < 0 || late > 5*time.Second || e.Cause != scaler.CauseSchedule {
		t.Errorf("slept %s after sleep-at: %+v", late, e)
	}
	if got := b.mark("tired", "asleep-because"); got != "schedule" {
		t.Errorf("asleep because %q", got)
	}
	consistently(t, 2*time.Second, "leased, and asleep", b.staysAt("leased", 1))
	b.ping("tired")
	b.awaitReplicas("tired", 1)
	consistently(t, 3*time.Second, "asleep again", b.staysAt("tired", 1))
}
