package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// daily returns the second in which an instant lies as that of each day, in a zone that is not ours; and its begin.
func daily(at time.Time) (fields string, begins time.Time) {
	zone, _ := time.LoadLocation("Australia/Lord_Howe")
	begins = at.Truncate(time.Second).In(zone)
	return fmt.Sprintf("%d %d %d * * *", begins.Second(), begins.Minute(), begins.Hour()), begins
}

// set writes a setting on a server.
func (b *bench) set(name, key, value string) {
	b.t.Helper()
	b.patch(name, "kubectl-annotate", fmt.Sprintf(`{"metadata":{"annotations":{"idle-scaler/%s":%q}}}`, key, value))
}

func inLordHowe(fields string) string { return "CRON_TZ=Australia/Lord_Howe " + fields }

// A keep-warm window wakes what the daemon has put to sleep at its start and keeps it awake without use until its end, though sweeps are
// rare; it does not wake what somebody has stopped. After its end silence counts again.
func TestAKeepWarmWindow(t *testing.T) {
	b := newBench(t)
	b.deploy("warm", replicas(2), annotation("time-zone", "Australia/Lord_Howe"))
	b.deploy("stopped")
	events := b.events()
	b.run("--idle-after", "2s", "--schedule", "*/10 * * * * *", "--settle", "0s", "--min-awake", "0s")
	b.order("stop", "stopped", "")
	b.ping("warm")
	events.next(scaler.Slept, "warm")
	events = b.events()
	const lasts = 8 * time.Second
	// Not before 9 s from now, and a second after a sweep: the next one would wake it when the window is over.
	fields, begins := daily(time.Now().Add(8 * time.Second).Truncate(10 * time.Second).Add(11 * time.Second))
	keepWarm := fields + " for " + lasts.String()
	b.set("warm", "keep-warm", keepWarm)
	b.set("stopped", "keep-warm", inLordHowe(keepWarm))
	eventually(t, "the window is known", func() error {
		s, err := b.status("warm")
		if err == nil && s.Settings["keep_warm"] == nil {
			err = fmt.Errorf("not yet")
		}
		return err
	})
	if s := b.awaitReason("warm", policy.Asleep); !s.Decision.NextChange.Equal(begins) || !strings.Contains(s.Decision.Text, "Australia/Lord_Howe") {
		t.Errorf("decided %+v, the window begins at %s", s.Decision, begins)
	}
	woken := events.next(scaler.Woken, "warm")
	if late := woken.At.Sub(begins); late < 0 || late > lasts || woken.Cause != policy.CauseKeepWarm || woken.To != 2 {
		t.Errorf("woken %s after the start of the window: %+v", late, woken)
	}
	b.awaitReason("warm", policy.KeepWarm)
	slept := events.next(scaler.Slept, "warm")
	if end := begins.Add(lasts); slept.At.Before(end) || slept.Cause != policy.CauseIdle {
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
	fields, _ := daily(time.Now().Add(-time.Minute))
	b.set("warm", "keep-warm", inLordHowe(fields+" for 1h"))
	b.run(idle...)
	b.awaitReplicas("warm", 1)
	b.awaitReason("warm", policy.KeepWarm)
	consistently(t, 4*time.Second, "in a window, and asleep", b.staysAt("warm", 1))
}

// At its sleep-at a server sleeps though it was used a moment ago and its idle-after is never; a live lease keeps it awake, a ping wakes it.
func TestSleepAt(t *testing.T) {
	b := newBench(t)
	names := []string{"tired", "leased"}
	for _, name := range names {
		b.deploy(name, annotation("idle-after", "never"))
	}
	events := b.events()
	b.run(idle...)
	b.ping("tired")
	b.lease("leased", time.Hour)
	for _, name := range names {
		b.awaitReplicas(name, 1)
	}
	b.awaitReason("leased", policy.Leased)
	fields, due := daily(time.Now().Add(10 * time.Second))
	for _, name := range names {
		b.set(name, "sleep-at", inLordHowe(fields))
	}
	for time.Until(due) > 4*time.Second { // a ping that came after it would move it to tomorrow
		b.ping("tired")
		time.Sleep(500 * time.Millisecond) // a server in use
	}
	e := events.next(scaler.Slept, "tired")
	if late := e.At.Sub(due); late < 0 || e.Cause != policy.CauseSchedule {
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
