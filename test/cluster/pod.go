package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// A pod template says with annotations how long its pods take, and with parts of image names what goes wrong.
const (
	startDelayAnnotation = "cluster.test/start-delay" // a duration, from creation to ready
	stopDelayAnnotation  = "cluster.test/stop-delay"  // a duration, from deletion to gone

	failPull     = "fail/pull"     // ErrImagePull, then ImagePullBackOff
	failCrash    = "fail/crash"    // CrashLoopBackOff, restarts counted up
	failSchedule = "fail/schedule" // never bound to a node
	failReady    = "fail/ready"    // runs, never ready
)

// The pauses between the attempts of a container that fails: far shorter than a kubelet's, for tests to see two soon.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
)

// creating is the attempt at which no container has been tried yet.
const creating = -1

// podTiming is how long pods take that do not say it themselves.
type podTiming struct{ delay, spread time.Duration }

func (t podTiming) startDelay(pod *v1.Pod) time.Duration {
	if delay, ok := durationOf(pod, startDelayAnnotation); ok {
		return delay
	}
	if t.spread <= 0 {
		return t.delay
	}
	return t.delay + rand.N(t.spread)
}

func (t podTiming) stopDelay(pod *v1.Pod) time.Duration {
	delay, _ := durationOf(pod, stopDelayAnnotation)
	return delay
}

func durationOf(pod *v1.Pod, annotation string) (time.Duration, bool) {
	text, ok := pod.Annotations[annotation]
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		klog.ErrorS(err, "Annotation ignored", "pod", klog.KObj(pod), "annotation", annotation)
		return 0, false
	}
	return d, true
}

func fails(pod *v1.Pod, how string) bool {
	for _, c := range pod.Spec.Containers {
		if strings.Contains(c.Image, how) {
			return true
		}
	}
	return false
}

func isReady(pod *v1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// settled says whether a pod's status stays as it is after this attempt.
func settled(pod *v1.Pod, attempt int) bool {
	if fails(pod, failCrash) {
		return false
	}
	return !fails(pod, failPull) || attempt > 0
}

func unschedulable(now metav1.Time) v1.PodStatus {
	return v1.PodStatus{
		Phase: v1.PodPending,
		Conditions: []v1.PodCondition{{
			Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: v1.PodReasonUnschedulable, LastTransitionTime: now,
			Message: "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
		}},
	}
}

// podStatus is what a kubelet writes after it tried the pod's containers for the given time (0 is the first).
func podStatus(pod *v1.Pod, attempt int, ip string, now metav1.Time) v1.PodStatus {
	status := v1.PodStatus{
		Phase:     v1.PodRunning,
		HostIP:    nodeIP,
		HostIPs:   []v1.HostIP{{IP: nodeIP}},
		StartTime: &now,
	}
	if ip != "" {
		status.PodIP, status.PodIPs = ip, []v1.PodIP{{IP: ip}}
	}
	var unready []string
	for _, c := range pod.Spec.Containers {
		container := containerStatus(pod, c, attempt, now)
		status.ContainerStatuses = append(status.ContainerStatuses, container)
		if !container.Ready {
			unready = append(unready, c.Name)
		}
		if container.State.Waiting != nil && container.RestartCount == 0 {
			status.Phase = v1.PodPending // Some container has never run.
		}
	}
	for _, c := range pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses, initStatus(c, attempt, now))
	}

	is := func(kind v1.PodConditionType, yes bool) v1.PodCondition {
		if yes {
			return v1.PodCondition{Type: kind, Status: v1.ConditionTrue, LastTransitionTime: now}
		}
		return v1.PodCondition{
			Type: kind, Status: v1.ConditionFalse, LastTransitionTime: now, Reason: "ContainersNotReady",
			Message: fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " ")),
		}
	}
	ready := len(unready) == 0
	status.Conditions = []v1.PodCondition{
		is(v1.PodScheduled, true),
		is(v1.PodInitialized, attempt != creating || len(pod.Spec.InitContainers) == 0),
		is(v1.ContainersReady, ready),
		is(v1.PodReady, ready),
	}
	return status
}

func containerStatus(pod *v1.Pod, c v1.Container, attempt int, now metav1.Time) v1.ContainerStatus {
	status := v1.ContainerStatus{Name: c.Name, Image: c.Image, Started: new(bool)}
	wait := func(reason, message string) {
		status.State.Waiting = &v1.ContainerStateWaiting{Reason: reason, Message: message}
	}
	switch {
	case attempt == creating:
		wait("ContainerCreating", "")
	case strings.Contains(c.Image, failPull):
		cause := fmt.Sprintf("failed to pull and unpack image %q: not found", c.Image)
		if attempt == 0 {
			wait("ErrImagePull", cause)
		} else {
			wait("ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", c.Image, cause))
		}
	case strings.Contains(c.Image, failCrash):
		id := containerID(pod, c)
		exit := &v1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", StartedAt: now, FinishedAt: now, ContainerID: id}
		status.ImageID, status.ContainerID, status.RestartCount = c.Image, id, int32(attempt)
		if attempt == 0 {
			status.State.Terminated = exit
		} else {
			status.LastTerminationState.Terminated = exit
			wait("CrashLoopBackOff", fmt.Sprintf("back-off 10s restarting failed container=%s pod=%s_%s(%s)", c.Name, pod.Name, pod.Namespace, pod.UID))
		}
	default:
		status.ImageID, status.ContainerID = c.Image, containerID(pod, c)
		status.State.Running = &v1.ContainerStateRunning{StartedAt: now}
		*status.Started = true
		status.Ready = !strings.Contains(c.Image, failReady)
	}
	return status
}

// initStatus: init containers always succeed, those that go on beside the others (sidecars) run.
func initStatus(c v1.Container, attempt int, now metav1.Time) v1.ContainerStatus {
	status := v1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: attempt != creating}
	switch {
	case attempt == creating:
		status.State.Waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
	case c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways:
		status.State.Running = &v1.ContainerStateRunning{StartedAt: now}
	default:
		status.State.Terminated = &v1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}
	}
	return status
}

func containerID(pod *v1.Pod, c v1.Container) string {
	return fmt.Sprintf("fake://%s-%s", pod.UID, c.Name)
}
