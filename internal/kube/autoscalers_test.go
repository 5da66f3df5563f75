package kube

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// autoscaler is one in team-a for a Deployment, that of a ScaledObject.
func autoscaler(name, target string) *autoscalingv2.HorizontalPodAutoscaler {
	controls := true
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team-a", Name: name, ResourceVersion: "7",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: target, UID: "s1", Controller: &controls}},
		},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: target}, MaxReplicas: 5,
		},
	}
}

// An HPA is a rival if KEDA made it, and only of the Deployment that it scales.
func TestKeepAutoscaler(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*autoscalingv2.HorizontalPodAutoscaler)
		rival  bool
	}{
		{"of a ScaledObject", func(*autoscalingv2.HorizontalPodAutoscaler) {}, true},
		{"of a newer version of it", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.OwnerReferences[0].APIVersion = "keda.sh/v2" }, true},
		{"its target without a version", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.ScaleTargetRef.APIVersion = "" }, true},
		{"of nobody", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.OwnerReferences = nil }, false},
		{"owned, not controlled", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.OwnerReferences[0].Controller = nil }, false},
		{"of another kind", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.OwnerReferences[0].Kind = "Application" }, false},
		{"of another ScaledObject", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.OwnerReferences[0].APIVersion = "example.com/v1" }, false},
		{"of a StatefulSet", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.ScaleTargetRef.Kind = "StatefulSet" }, false},
		{"of another Deployment", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.ScaleTargetRef.APIVersion = "example.com/v1" }, false},
		{"of a version that is none", func(h *autoscalingv2.HorizontalPodAutoscaler) { h.OwnerReferences[0].APIVersion = "a/b/c" }, false},
	} {
		hpa := autoscaler("keda-hpa-search", "search")
		c.change(hpa)
		trimmed, _ := trimAutoscaler(hpa)
		for form, obj := range map[string]any{"whole": hpa, "trimmed": trimmed} {
			target, rival := keepAutoscaler(obj)
			if rival != c.rival || rival && target != testID {
				t.Errorf("%s, %s: %v, %v", c.name, form, target, rival)
			}
		}
	}
}

// A server has KEDA as its rival from when KEDA scales it until it does not any more, whoever of the two is seen first.
func TestRivals(t *testing.T) {
	c := newTestCache(t)
	elsewhere(c, "team-a")
	autoscalers := c.regions[""].autoscalers
	told := 0
	c.OnChange = func(scaler.ID) { told++ }
	check := func(when, want string, changes int) {
		t.Helper()
		if s, _ := c.Get(testID); s.Rival != want || told != changes {
			t.Errorf("%s: rival %q, told %d times; want %q, %d", when, s.Rival, told, want, changes)
		}
		told = 0
	}
	autoscalers.Add(autoscaler("one", "search"))
	c.put(at(9, "u", 0))
	check("KEDA was first", policy.KEDA, 1)
	autoscalers.Update(autoscaler("one", "search"))
	check("nothing new", policy.KEDA, 0)
	autoscalers.Update(autoscaler("one", "other"))
	check("it scales another", "", 1)
	autoscalers.Update(autoscaler("one", "search"))
	autoscalers.Add(autoscaler("two", "search"))
	check("twice", policy.KEDA, 1)
	autoscalers.Delete(autoscaler("one", "search"))
	check("once is left", policy.KEDA, 0)
	plain := autoscaler("two", "search")
	plain.OwnerReferences = nil
	autoscalers.Update(plain)
	check("it is not KEDA's any more", "", 1)
	autoscalers.Replace([]any{autoscaler("three", "search")}, "20")
	c.put(at(10, "u", 1))
	check("listed, and the server is another", policy.KEDA, 2)
	autoscalers.Replace(nil, "30")
	check("a list without it", "", 1)
}
