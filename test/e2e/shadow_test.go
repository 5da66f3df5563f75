package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// requesting gives the pods of a server requests.
func requesting(cpu, memory string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		}
	}
}

// A dry run touches nothing: it tells once what it would put to sleep and when it would have woken it, and its report says what that
// would have freed and how often it would have been a mistake. Commands are obeyed, and what sleeps already is woken.
func TestADryRun(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(2), requesting("250m", "512Mi"))
	b.deploy("before")
	d := b.run(idle...)
	b.awaitReplicas("alpha", 2)
	b.order("stop", "alpha", "") // keeps it from being put to sleep for real
	b.ping("before")
	b.awaitReplicas("before", 0)
	d.stop()

	events := b.events()
	b.run(append(idle, "--dry-run")...)
	b.order("start", "alpha", "")
	b.awaitReplicas("alpha", 2)
	b.ping("before")
	b.awaitReplicas("before", 1)
	if e := events.next(scaler.WouldSleep, "alpha"); e.Cause != policy.CauseIdle || e.Idle < 3*time.Second || e.From != 2 {
		t.Errorf("told %+v", e)
	}
	version := b.deployment("alpha").ResourceVersion
	if s := b.awaitReason("alpha", policy.Idle); s.Decision.Action != string(policy.WouldSleep) {
		t.Errorf("decided %+v", s.Decision)
	}
	b.kill()
	b.run(append(idle, "--dry-run")...)
	consistently(t, 2*time.Second, "put to sleep in a dry run", b.staysAt("alpha", 2)) // some sweeps long
	row := func(name, over string) wire.ReportRow {
		t.Helper()
		var report wire.Report
		b.ask("report."+b.namespace, fmt.Sprintf(`{"over":%q}`, over), "", &report)
		i := slices.IndexFunc(report.Servers, func(row wire.ReportRow) bool { return row.Name == name })
		if i < 0 {
			t.Fatalf("the report says nothing of %s: %+v", name, report)
		}
		return report.Servers[i]
	}
	if row := row("alpha", "1h"); row.WouldSleeps != 1 || row.MisSleeps != 0 || row.WouldBeAsleep.Seconds < 1 ||
		row.WouldBeAsleep.CPUMillicoreSeconds.Int64() != 500*row.WouldBeAsleep.Seconds ||
		row.WouldBeAsleep.MemoryByteSeconds.Int64() != (1<<30)*row.WouldBeAsleep.Seconds {
		t.Errorf("the report says %+v", row)
	}
	b.awaitReason("alpha", policy.Idle)
	if row := row("alpha", "1s"); row.WouldBeAsleep.Seconds != 1 || row.WouldSleeps != 0 { // it fell asleep before
		t.Errorf("the report of a second says %+v", row)
	}
	b.ping("alpha") // within two minutes: a mistake
	if e := events.next(scaler.WouldWake, "alpha"); e.Cause != policy.CauseActivity {
		t.Errorf("told %+v", e)
	}
	if got := b.deployment("alpha").ResourceVersion; got != version {
		t.Error("the dry run has written on the Deployment")
	}

	if row := row("alpha", "1h"); row.MisSleeps != 1 {
		t.Errorf("the report says %+v", row)
	}
	if row := row("before", "1h"); row.Sleeps != 1 || row.Wakes != 1 || row.Asleep.Seconds < 1 {
		t.Errorf("the report says %+v", row)
	}
	if text := b.says(0, "report", "-n", b.namespace); !containsAll(text, "alpha", "before") || !strings.Contains(strings.ToLower(text), "total") {
		t.Errorf("the report is\n%s", text)
	}
}

// The annotation dry-run does for one server what the flag does for all.
func TestADryRunOfOneServer(t *testing.T) {
	b := newBench(t)
	b.deploy("dry", annotation("dry-run", "true"))
	b.deploy("wet")
	events := b.events()
	b.run(idle...)
	b.ping("wet")
	events.next(scaler.Slept, "wet")
	events.next(scaler.WouldSleep, "dry")
	consistently(t, 2*time.Second, "put to sleep in a dry run", b.staysAt("dry", 1))
}

// A server with a sleep-notice is announced before it sleeps, in time; a ping or a lease within that time is a veto.
func TestASleepNoticeAndItsVeto(t *testing.T) {
	b := newBench(t)
	const notice, idleAfter = 4 * time.Second, 6 * time.Second
	for _, name := range []string{"silent", "pinged", "leased"} {
		b.deploy(name, annotation("sleep-notice", notice.String()))
	}
	events := b.events()
	b.run(append(idle, "--idle-after", idleAfter.String())...)
	b.ping("pinged")
	told := events.next(scaler.SoonAsleep, "silent")
	events.next(scaler.SoonAsleep, "leased")
	b.lease("leased", time.Hour)
	events.next(scaler.SoonAsleep, "pinged")
	vetoed := time.Now()
	b.ping("pinged")
	slept := events.next(scaler.Slept, "silent")
	if given := slept.At.Sub(told.At); given < notice {
		t.Errorf("told only %s before", given)
	}
	b.awaitReason("leased", policy.Leased)
	if err := b.staysAt("leased", 1)(); err != nil {
		t.Error(err)
	}
	e := events.next(scaler.Slept, "pinged")
	if e.At.Before(vetoed.Add(idleAfter)) {
		t.Errorf("the veto was at %s or later, and it slept at %s", vetoed, e.At)
	}
	consistently(t, time.Second, "asleep after a veto", b.staysAt("leased", 1))
}
