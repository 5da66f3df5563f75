package kube

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"idle-scaler/scaler"
)

// sized returns a pod's spec with nothing in it but how much its pods request: one without containers, all of whose requests are overhead.
func sized(spec *corev1.PodSpec) corev1.PodSpec {
	return corev1.PodSpec{Overhead: requested(spec)}
}

// requestsOf returns what the scheduler will keep free for a pod of the spec, as far as that stands there: what a LimitRange or a
// RuntimeClass of the cluster adds to pods it can't know.
func requestsOf(spec *corev1.PodSpec) scaler.Resources {
	list := requested(spec)
	return scaler.Resources{MilliCPU: list.Cpu().MilliValue(), Memory: list.Memory().Value()}
}

func requested(spec *corev1.PodSpec) corev1.ResourceList {
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		Containers: slices.Clone(spec.Containers), InitContainers: slices.Clone(spec.InitContainers),
		Overhead: spec.Overhead, Resources: spec.Resources,
	}}
	withDefaults(pod)
	return resource.PodRequests(pod, resource.PodResourcesOptions{})
}

// withDefaults does to a pod what the API server does when one is made: a request that is not written is the limit. In the template of a
// Deployment it stays unwritten.
func withDefaults(pod *corev1.Pod) {
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			r := &containers[i].Resources
			r.Requests = filled(r.Requests, r.Limits)
		}
	}
	whole := pod.Spec.Resources
	if whole == nil || len(whole.Limits) == 0 {
		return
	}
	written := filled(whole.Requests, resource.AggregateContainerRequests(pod, resource.PodResourcesOptions{}))
	pod.Spec.Resources = &corev1.ResourceRequirements{Requests: filled(written, whole.Limits), Limits: whole.Limits}
}

// filled returns the list with what only the other has. It changes neither.
func filled(list, other corev1.ResourceList) corev1.ResourceList {
	if len(other) == 0 {
		return list
	}
	both := maps.Clone(other)
	maps.Copy(both, list)
	return both
}
