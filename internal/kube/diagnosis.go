package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"idle-scaler/scaler"
)

// fine is the diagnosis of pods of which there is nothing to say.
var fine scaler.Diagnosis

// hopeless are the reasons of a waiting container that waiting does not cure: somebody has to change something. ErrImagePull is not
// among them, it is the first attempt.
var hopeless = map[string]bool{
	"ImagePullBackOff":           true,
	"InvalidImageName":           true,
	"ErrImageNeverPull":          true,
	"ImageInspectError":          true,
	"CreateContainerConfigError": true,
	"CreateContainerError":       true,
	"RunContainerError":          true,
	"CrashLoopBackOff":           true,
}

const oomKilled = "OOMKilled"

// diagnose says why the pods are not ready: the worst of what ails them, of the first that it ails.
func diagnose(pods []*corev1.Pod) scaler.Diagnosis {
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	worst := fine
	for _, pod := range pods {
		if d := diagnosePod(pod); d != fine && (worst == fine || d.Fatal && !worst.Fatal) {
			worst = d
		}
	}
	return worst
}

func diagnosePod(pod *corev1.Pod) scaler.Diagnosis {
	if pod.Status.Phase == corev1.PodFailed {
		return ailing(pod, cmp.Or(pod.Status.Reason, "Failed"), false, "it ended and is replaced", pod.Status.Message)
	}
	scheduled, ready := condition(pod, corev1.PodScheduled), condition(pod, corev1.PodReady)
	if ready.Status == corev1.ConditionTrue {
		return fine
	}
	if scheduled.Status == corev1.ConditionFalse {
		return ailing(pod, cmp.Or(scheduled.Reason, "Unschedulable"), false, "no node takes it, still trying", scheduled.Message)
	}
	for _, c := range pod.Status.InitContainerStatuses { // in their order: the others wait for the first that is not done
		if d := diagnoseContainer(pod, "init container "+c.Name, c); d != fine {
			return d
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if d := diagnoseContainer(pod, "container "+c.Name, c); d != fine {
			return d
		}
	}
	if len(pod.Status.ContainerStatuses) == 0 {
		return ailing(pod, "Pending", false, "its node has not begun to start it", "")
	}
	return ailing(pod, "NotReady", false, "its containers are ready, it is not", ready.Message)
}

func diagnoseContainer(pod *corev1.Pod, name string, c corev1.ContainerStatus) scaler.Diagnosis {
	switch waiting, ended := c.State.Waiting, c.State.Terminated; {
	case waiting != nil && waiting.Reason == "CrashLoopBackOff":
		last := c.LastTerminationState.Terminated
		if last == nil {
			return ailing(pod, waiting.Reason, true, name+" crashes again and again", waiting.Message)
		}
		reason := waiting.Reason
		if last.Reason == oomKilled {
			reason = oomKilled
		}
		return ailing(pod, reason, true, name+" crashes again and again, last with "+exit(last), last.Message)
	case waiting != nil:
		return ailing(pod, cmp.Or(waiting.Reason, "Waiting"), hopeless[waiting.Reason], name+" is waiting", waiting.Message)
	case ended != nil && ended.ExitCode != 0:
		reason := "Crashed"
		if ended.Reason == oomKilled {
			reason = oomKilled
		}
		return ailing(pod, reason, false, name+" ended with "+exit(ended)+" and is tried again", ended.Message)
	case ended == nil && !c.Ready:
		return ailing(pod, "NotReady", false, name+" runs and is not ready yet", "")
	}
	return fine
}

func exit(t *corev1.ContainerStateTerminated) string {
	if t.Reason == "" || t.Reason == "Error" {
		return fmt.Sprintf("exit code %d", t.ExitCode)
	}
	return fmt.Sprintf("exit code %d (%s)", t.ExitCode, t.Reason)
}

// ailing makes a diagnosis of a pod: what we see, and what Kubernetes says about it.
func ailing(pod *corev1.Pod, reason string, fatal bool, seen, said string) scaler.Diagnosis {
	text := fmt.Sprintf("pod %s: %s", pod.Name, seen)
	if said = strings.TrimSpace(said); said != "" {
		text += ": " + said
	}
	return scaler.Diagnosis{Reason: reason, Text: cut(text, 2*maxText), Fatal: fatal}
}

// blocked is the diagnosis when the pods can't be looked at.
func blocked(err error) scaler.Diagnosis {
	return scaler.Diagnosis{Reason: "Unknown", Text: "cannot look at its pods: " + err.Error()}
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}
