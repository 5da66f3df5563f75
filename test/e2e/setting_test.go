package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// annotate writes a setting on the namespace; empty takes it away.
func (w *world) annotate(key, value string) {
	w.t.Helper()
	text := fmt.Sprintf("%q", value)
	if value == "" {
		text = "null"
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"idle-scaler/%s":%s}}}`, key, text)
	namespaces := w.kube.CoreV1().Namespaces()
	_, err := namespaces.Patch(w.t.Context(), w.namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	natstest.Check(w.t, err)
}

// A setting on a server beats one on its namespace, and that beats the flags; each answer says
// where a setting comes from. A setting that can't be read is never guessed: its servers stay
// awake, and their status says what is wrong. A change counts at once.
func TestSettingsComeFromThreePlaces(t *testing.T) {
	w := newWorld(t)
	w.annotate("idle-after", "never")
	w.deploy("plain")
	w.deploy("own", annotation("idle-after", "2s"))
	w.deploy("paused", annotation("idle-after", "2s"), annotation("paused", "true"))
	w.deploy("typo", annotation("idle-after", "soon"))
	w.deploy("unknown", annotation("idle-aftr", "2s"))
	events := w.events()
	w.run(append(idle, "--max-replicas", "7")...)
	w.ping("somebody-else")
	events.next(scaler.Slept, "own")
	plain := w.awaitReason("plain", policy.Awake)
	settings, sources := plain.Settings, plain.Sources
	if settings["idle_after"] != "never" || sources["idle_after"] != "namespace" ||
		settings["max_replicas"] != 7.0 || sources["max_replicas"] != "configuration" || sources["paused"] != "default" {
		t.Errorf("settings %+v from %v", settings, sources)
	}
	if own, err := w.status("own"); err != nil || own.Sources["idle_after"] != "annotation" {
		t.Errorf("sources %v, %v", own.Sources, err)
	}
	w.awaitReason("paused", policy.Paused)
	for name, says := range map[string][]string{
		"typo": {`idle-after "soon"`, `"30m"`, "never"}, "unknown": {"idle-aftr", "unknown setting", "idle-after"},
	} {
		if s := w.awaitReason(name, policy.Unreadable); !containsAll(s.SettingsError, says...) {
			t.Errorf("%s: %q, want %q", name, s.SettingsError, says)
		}
		events.next(scaler.Unreadable, name)
	}
	wait.Consistently(t, 4*time.Second, "awake", w.staying(1, "plain", "paused", "typo", "unknown"))

	w.set("typo", "idle-after", "2s")
	events.next(scaler.Slept, "typo")
	w.annotate("idle-after", "soon")
	if s := w.awaitReason("plain", policy.Unreadable); !containsAll(s.Decision.Text, "namespace", `"soon"`) {
		t.Errorf("it says %q", s.Decision.Text)
	}
	events.next(scaler.Unreadable, "plain")
	wait.Consistently(t, 4*time.Second, "awake", w.staying(1, "plain"))
	w.annotate("idle-after", "")
	if e := events.next(scaler.Slept, "plain"); !strings.Contains(e.Text, "3s") {
		t.Errorf("published %+v, its idle-after is that of the flags", e)
	}
	if err := w.wants(1, "paused", "unknown"); err != nil { // "unknown" has been as idle as "plain"
		t.Error(err)
	}
}

// A keep-warm window wakes what the daemon has put to sleep, at its start though sweeps are rare,
// and keeps it awake without use until its end. It does not wake what somebody has stopped. After
// its end silence counts.
func TestAKeepWarmWindow(t *testing.T) {
	w := newWorld(t)
	w.deploy("warm", replicas(2), annotation("time-zone", "Australia/Lord_Howe"))
	w.deploy("stopped")
	events := w.events()
	w.run("--idle-after", "2s", "--schedule", "*/10 * * * * *", "--settle", "0s", "--min-awake", "0s")
	w.publish("stop", "stopped", "")
	w.ping("warm")
	events.next(scaler.Slept, "warm")
	events = w.events()
	const lasts = 8 * time.Second
	// Not before 9 s from now, and a second after a sweep: the next one comes when the window is
	// over.
	begins := time.Now().Add(8 * time.Second).Truncate(10 * time.Second).Add(11 * time.Second)
	zone, err := time.LoadLocation("Australia/Lord_Howe") // which is not ours
	natstest.Check(t, err)
	there := begins.In(zone)
	keepWarm := fmt.Sprintf("%d %d %d * * * for %s", there.Second(), there.Minute(), there.Hour(), lasts)
	w.set("warm", "keep-warm", keepWarm)
	w.set("stopped", "keep-warm", "CRON_TZ=Australia/Lord_Howe "+keepWarm)
	wait.Eventually(t, "the window is known", func() error {
		s, err := w.status("warm")
		if err == nil && s.Settings["keep_warm"] == nil {
			err = fmt.Errorf("its settings are %v", s.Settings)
		}
		return err
	})
	s := w.awaitReason("warm", policy.Asleep)
	if !s.Decision.NextChange.Equal(begins) || !strings.Contains(s.Decision.Text, "Australia/Lord_Howe") {
		t.Errorf("decided %+v, the window begins at %s", s.Decision, begins)
	}
	woken := events.next(scaler.Woken, "warm")
	if late := woken.At.Sub(begins); late < 0 || late > lasts || woken.Cause != policy.CauseKeepWarm || woken.To != 2 {
		t.Errorf("woken %s after the start of the window: %+v", late, woken)
	}
	w.awaitReason("warm", policy.KeepWarm)
	slept := events.next(scaler.Slept, "warm")
	if end := begins.Add(lasts); slept.At.Before(end) || slept.Cause != policy.CauseIdle {
		t.Errorf("it slept at %s, the window ends at %s: %+v", slept.At, end, slept)
	}
	if err := w.wants(0, "stopped"); err != nil {
		t.Errorf("stopped, and woken by a window: %v", err)
	}
}
