package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podWith(name string, status corev1.PodStatus) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: status}
}

func waiting(reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

func ended(code int32, reason string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}
}

func crashing(last *corev1.ContainerStateTerminated) corev1.ContainerStatus {
	c := waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
	c.LastTerminationState.Terminated = last
	return c
}

func running(ready bool) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "main", Ready: ready, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func with(containers ...corev1.ContainerStatus) corev1.PodStatus {
	return corev1.PodStatus{ContainerStatuses: containers}
}

func withInit(init corev1.ContainerStatus) corev1.PodStatus {
	return corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{init}, ContainerStatuses: []corev1.ContainerStatus{waiting("PodInitializing", "")}}
}

func withCondition(kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) corev1.PodStatus {
	return corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: kind, Status: status, Reason: reason, Message: message}}}
}

// Who waits for a server is told why it is not ready, and at once when waiting is in vain; never that it is in vain when it may not be.
func TestDiagnose(t *testing.T) {
	for _, c := range []struct {
		name   string
		pods   []corev1.PodStatus
		reason string // empty: nothing to say
		fatal  bool
		says   string
	}{
		{"no pods", nil, "", false, ""},
		{"first pull failed", []corev1.PodStatus{with(waiting("ErrImagePull", "not found"))}, "ErrImagePull", false, "container main is waiting: not found"},
		{"pull fails", []corev1.PodStatus{with(waiting("ImagePullBackOff", `Back-off pulling image "x"`))}, "ImagePullBackOff", true, `pulling image "x"`},
		{"no such name", []corev1.PodStatus{with(waiting("InvalidImageName", ""))}, "InvalidImageName", true, "pod a: container main"},
		{"never to be pulled", []corev1.PodStatus{with(waiting("ErrImageNeverPull", ""))}, "ErrImageNeverPull", true, ""},
		{"no ConfigMap", []corev1.PodStatus{with(waiting("CreateContainerConfigError", `configmap "c" not found`))}, "CreateContainerConfigError", true, `"c" not found`},
		{"not created", []corev1.PodStatus{with(waiting("CreateContainerError", ""))}, "CreateContainerError", true, ""},
		{"not run", []corev1.PodStatus{with(waiting("RunContainerError", "no such file"))}, "RunContainerError", true, "no such file"},
		{"crashes", []corev1.PodStatus{with(crashing(ended(2, "Error")))}, "CrashLoopBackOff", true, "last with exit code 2"},
		{"crashes for lack of memory", []corev1.PodStatus{with(crashing(ended(137, "OOMKilled")))}, "OOMKilled", true, "exit code 137 (OOMKilled)"},
		{"crashes, not known how", []corev1.PodStatus{with(crashing(nil))}, "CrashLoopBackOff", true, "again and again"},
		{
			"crashed once",
			[]corev1.PodStatus{with(corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Terminated: ended(1, "Error")}})},
			"Crashed", false, "exit code 1 and is tried again",
		},
		{
			"out of memory once",
			[]corev1.PodStatus{with(corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Terminated: ended(137, "OOMKilled")}})},
			"OOMKilled", false, "tried again",
		},
		{
			"no node",
			[]corev1.PodStatus{withCondition(corev1.PodScheduled, "False", "Unschedulable", "0/3 nodes are available")},
			"Unschedulable", false, "still trying: 0/3 nodes are available",
		},
		{"held back", []corev1.PodStatus{withCondition(corev1.PodScheduled, "False", "SchedulingGated", "")}, "SchedulingGated", false, "no node takes it"},
		{"being created", []corev1.PodStatus{with(waiting("ContainerCreating", ""))}, "ContainerCreating", false, ""},
		{"init container crashes", []corev1.PodStatus{withInit(crashing(ended(1, "")))}, "CrashLoopBackOff", true, "init container main"},
		{"init container runs", []corev1.PodStatus{withInit(running(false))}, "NotReady", false, "init container main runs"},
		{
			"init container is done",
			[]corev1.PodStatus{withInit(corev1.ContainerStatus{State: corev1.ContainerState{Terminated: ended(0, "Completed")}})},
			"PodInitializing", false, "container main",
		},
		{"runs, not ready", []corev1.PodStatus{with(running(false))}, "NotReady", false, "container main runs and is not ready yet"},
		{"one of two is not ready", []corev1.PodStatus{with(running(true), corev1.ContainerStatus{Name: "proxy", State: running(false).State})}, "NotReady", false, "container proxy"},
		{"ready but for a gate", []corev1.PodStatus{{ContainerStatuses: []corev1.ContainerStatus{running(true)}, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: "False", Message: `"lb" does not exist`},
		}}}, "NotReady", false, `"lb" does not exist`},
		{"nothing has happened", []corev1.PodStatus{{Phase: corev1.PodPending}}, "Pending", false, ""},
		{"evicted", []corev1.PodStatus{{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"}}, "Evicted", false, "low on memory"},
		{"ready", []corev1.PodStatus{withCondition(corev1.PodReady, "True", "", "")}, "", false, ""},
		{"one ready, one crashes", []corev1.PodStatus{withCondition(corev1.PodReady, "True", "", ""), with(crashing(nil))}, "CrashLoopBackOff", true, "pod b"},
		{"the fatal one counts", []corev1.PodStatus{with(waiting("ContainerCreating", "")), with(waiting("ImagePullBackOff", ""))}, "ImagePullBackOff", true, "pod b"},
		{"the first of equals", []corev1.PodStatus{with(crashing(nil)), with(waiting("ImagePullBackOff", ""))}, "CrashLoopBackOff", true, "pod a"},
	} {
		var pods []*corev1.Pod
		for i, status := range c.pods {
			pods = append([]*corev1.Pod{podWith(string(rune('a'+i)), status)}, pods...)
		}
		d := diagnose(pods)
		if d.Reason != c.reason || d.Fatal != c.fatal || !strings.Contains(d.Text, c.says) {
			t.Errorf("%s: got %+v, want %s, fatal %v, %q", c.name, d, c.reason, c.fatal, c.says)
		}
	}
}
