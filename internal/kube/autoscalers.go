package kube

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// watchedAutoscalers are the HorizontalPodAutoscalers of a region.
func (r *region) watchedAutoscalers() source {
	client := r.cache.client.AutoscalingV2().HorizontalPodAutoscalers(r.namespace)
	return source{
		kind: "horizontal pod autoscalers", example: &autoscalingv2.HorizontalPodAutoscaler{},
		reads: request{resource: "horizontalpodautoscalers.autoscaling", namespace: r.namespace},
		only:  func(*metav1.ListOptions) {},
		list:  plain(client.List), watch: client.Watch,
	}
}

func trimAutoscaler(obj any) (any, error) {
	hpa, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return obj, nil
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: hpa.Namespace, Name: hpa.Name, ResourceVersion: hpa.ResourceVersion, OwnerReferences: hpa.OwnerReferences},
		Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: hpa.Spec.ScaleTargetRef},
	}, nil
}

// keepAutoscaler returns the server that an HPA of KEDA scales. Such an HPA is how a ScaledObject shows without the rights to read
// ScaledObjects, and without asking whether KEDA is installed. Any other HPA is no rival: it leaves zero replicas alone.
func keepAutoscaler(obj any) (target scaler.ID, keda bool) {
	hpa, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return scaler.ID{}, false
	}
	owner := metav1.GetControllerOf(hpa)
	if owner == nil || owner.Kind != "ScaledObject" || groupOf(owner.APIVersion) != "keda.sh" {
		return scaler.ID{}, false
	}
	scaled := hpa.Spec.ScaleTargetRef
	if scaled.Kind != "Deployment" || scaled.APIVersion != "" && groupOf(scaled.APIVersion) != "apps" {
		return scaler.ID{}, false
	}
	return scaler.ID{Namespace: hpa.Namespace, Name: scaled.Name}, true
}

func groupOf(version string) string {
	parsed, _ := schema.ParseGroupVersion(version)
	return parsed.Group
}

func sameTarget(a, b scaler.ID) bool { return a == b }

// findRivals notes which servers the autoscalers of the region scale.
func (r *region) findRivals() {
	r.rivals = make(map[scaler.ID]string)
	for _, target := range r.autoscalers.known {
		r.rivals[target] = policy.KEDA
	}
}

// rivalOf says who else decides about the replicas of a server, by its nature; empty when nobody does.
func (c *Cache) rivalOf(id scaler.ID) string {
	if r := c.region(id.Namespace); r != nil {
		return r.rivals[id]
	}
	return ""
}
