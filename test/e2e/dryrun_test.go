package e2e

import (
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
	"idle-scaler/test/wait"
)

// requesting gives the pods of a server requests.
func requesting(cpu, memory string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		}
	}
}

// A dry run puts nothing to sleep. It publishes once what it would put to sleep, and when that
// would have been woken. Its report says what that would have freed, and how often it would have
// been a mistake. It obeys commands, and wakes what sleeps already.
func TestADryRun(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha", replicas(2), requesting("250m", "512Mi"))
	w.deploy("before")
	d := w.run(idle...)
	w.awaitReplicas("alpha", 2)
	w.publish("stop", "alpha", "") // keeps it from being put to sleep for real
	w.ping("before")
	w.awaitReplicas("before", 0)
	d.stop()

	events := w.events()
	w.run(append(idle, "--dry-run")...)
	w.publish("start", "alpha", "")
	w.awaitReplicas("alpha", 2)
	w.ping("before")
	w.awaitReplicas("before", 1)
	if e := events.next(scaler.WouldSleep, "alpha"); e.Cause != policy.CauseIdle || e.Idle < 3*time.Second || e.From != 2 {
		t.Errorf("published %+v", e)
	}
	version := w.deployment("alpha").ResourceVersion
	if s := w.awaitReason("alpha", policy.Idle); s.Decision.Action != string(policy.WouldSleep) {
		t.Errorf("decided %+v", s.Decision)
	}
	w.kill()
	w.run(append(idle, "--dry-run")...)
	wait.Consistently(t, 2*time.Second, "awake in a dry run", w.staying(2, "alpha")) // some sweeps long
	row := func(name string) wire.ReportRow {
		t.Helper()
		var report wire.Report
		w.ask("report."+w.namespace, `{"over":"1h"}`, "", &report)
		i := slices.IndexFunc(report.Servers, func(row wire.ReportRow) bool { return row.Name == name })
		if i < 0 {
			t.Fatalf("the report says nothing of %s: %+v", name, report)
		}
		return report.Servers[i]
	}
	if row := row("alpha"); row.WouldSleeps != 1 || row.MisSleeps != 0 || row.WouldBeAsleep.Seconds < 1 ||
		row.WouldBeAsleep.CPUMillicoreSeconds.Int64() != 500*row.WouldBeAsleep.Seconds ||
		row.WouldBeAsleep.MemoryByteSeconds.Int64() != (1<<30)*row.WouldBeAsleep.Seconds {
		t.Errorf("the report says %+v", row)
	}
	w.ping("alpha") // within two minutes: a mistake
	if e := events.next(scaler.WouldWake, "alpha"); e.Cause != policy.CauseActivity {
		t.Errorf("published %+v", e)
	}
	if got := w.deployment("alpha").ResourceVersion; got != version {
		t.Error("the dry run has written on the Deployment")
	}
	if row := row("alpha"); row.MisSleeps != 1 {
		t.Errorf("the report says %+v", row)
	}
	if row := row("before"); row.Sleeps != 1 || row.Wakes != 1 || row.Asleep.Seconds < 1 {
		t.Errorf("the report says %+v", row)
	}
	if text := w.says(0, "report", "-n", w.namespace); !containsAll(strings.ToLower(text), "alpha", "before", "total") {
		t.Errorf("the report is\n%s", text)
	}
}
