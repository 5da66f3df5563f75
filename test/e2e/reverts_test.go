package e2e

import (
	"fmt"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
	"idle-scaler/scaler"
)

// apply does what Argo CD does when it syncs a manifest that says replicas.
func (b *bench) apply(name, manager string, replicas int) {
	b.t.Helper()
	force := true
	manifest := fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q},"spec":{"replicas":%d}}`, name, replicas)
	_, err := b.kube.AppsV1().Deployments(b.namespace).Patch(b.t.Context(), name, types.ApplyPatchType, []byte(manifest),
		metav1.PatchOptions{FieldManager: manager, Force: &force})
	if err != nil {
		b.t.Fatal(err)
	}
}

// autoscale does what the HPA controller does: it writes the scale, unless there are no replicas, which turns it off.
func (b *bench) autoscale(name string, to int32) {
	b.t.Helper()
	scales := b.kube.AppsV1().Deployments(b.namespace)
	scale, err := scales.GetScale(b.t.Context(), name, metav1.GetOptions{})
	if err == nil && scale.Spec.Replicas > 0 && scale.Spec.Replicas != to {
		_, err = scales.UpdateScale(b.t.Context(), name, &autoscalingv1.Scale{
			ObjectMeta: scale.ObjectMeta, Spec: autoscalingv1.ScaleSpec{Replicas: to},
		}, metav1.UpdateOptions{FieldManager: "kube-controller-manager"})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// Somebody who raises the replicas after each sleep though nobody asked is named after the second time, with what he has to change, and
// the server is not put to sleep any more: until a command, or a changed setting. That holds over a restart, and for all who do so.
func TestARivalIsNamedAndLeftAlone(t *testing.T) {
	for manager, raise := range map[string]func(b *bench){
		"argocd-controller": func(b *bench) { b.apply("alpha", "argocd-controller", 2) },
		"helm":              func(b *bench) { b.apply("alpha", "helm", 2) },
		"kubectl-edit":      func(b *bench) { b.patch("alpha", "kubectl-edit", `{"spec":{"replicas":2}}`) },
		"keda":              func(b *bench) { b.patch("alpha", "keda", `{"spec":{"replicas":2}}`) },
		"anns-operator":     func(b *bench) { b.patch("alpha", "anns-operator", `{"spec":{"replicas":2}}`) },
	} {
		t.Run(manager, func(t *testing.T) {
			b := newBench(t)
			b.deploy("alpha", replicas(2))
			b.run(idle...)
			events := b.events()
			b.ping("alpha")
			for range policy.MaxReverts {
				events.next(scaler.Slept, "alpha")
				events = b.events()
				raise(b)
				if e := events.next(scaler.Woken, "alpha"); e.Cause != policy.CauseExternal || e.Actor != manager {
					t.Errorf("told %+v", e)
				}
			}
			s := b.awaitReason("alpha", policy.Contended)
			if s.Reverts == nil || s.Reverts.Count != 2 || s.Reverts.Writer != manager || s.Reverts.Advice != explain.Advice(manager) ||
				!containsAll(s.Decision.Text, manager, explain.Advice(manager)) {
				t.Errorf("its reverts are %+v: %s", s.Reverts, s.Decision.Text)
			}
			told := 0
			eventually(t, "it is told that it is contended", func() error {
				past, err := b.History(t.Context(), b.id("alpha"), time.Hour, 100)
				told = 0
				for _, e := range past.Events {
					if e.Type == string(scaler.Contended) {
						told++
					}
				}
				if err == nil && told == 0 {
					err = fmt.Errorf("told are %+v", past.Events)
				}
				return err
			})
			if told != 1 {
				t.Errorf("told %d times that it is contended", told)
			}
			b.kill()
			b.run(idle...)
			consistently(t, 5*time.Second, "contended, and asleep", b.staysAt("alpha", 2))
			b.awaitReason("alpha", policy.Contended)

			events = b.events()
			if manager == "helm" { // any other way would do as well
				b.patch("alpha", "kubectl-annotate", `{"metadata":{"annotations":{"idle-scaler/max-replicas":"5"}}}`)
			} else {
				b.order("start", "alpha", "")
			}
			events.next(scaler.Slept, "alpha")
		})
	}
}

// What was asked for is no revert: a server that is pinged while somebody else raises it sleeps as ever.
func TestARaiseWithDemandIsNoRevert(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", annotation("wake-on-activity", "true"))
	b.run(idle...)
	events := b.events()
	b.ping("alpha")
	for range 3 {
		events.next(scaler.Slept, "alpha")
		events = b.events()
		b.ping("alpha")
		b.apply("alpha", "argocd-controller", 1)
		events.next(scaler.Woken, "alpha")
	}
	if s, err := b.status("alpha"); err != nil || s.Decision.Reason == string(policy.Contended) {
		t.Errorf("%+v, %v", s.Decision, err)
	}
}

// An HPA and the daemon get along: it scales while the server is awake, zero turns it off, a wake restores what it had last set.
func TestAnHPAIsNoRival(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.run(idle...)
	b.awaitReplicas("alpha", 1)
	b.autoscale("alpha", 4) // before the first ping it does not sleep
	events := b.events()
	b.ping("alpha")
	for range 3 {
		events.next(scaler.Slept, "alpha")
		b.autoscale("alpha", 4)
		consistently(t, 1500*time.Millisecond, "raised", b.staysAt("alpha", 0))
		events = b.events()
		b.ping("alpha")
		if e := events.next(scaler.Woken, "alpha"); e.To != 4 {
			t.Errorf("told %+v", e)
		}
	}
	if s, err := b.status("alpha"); err != nil || s.Reverts != nil {
		t.Errorf("%+v, %v", s.Reverts, err)
	}
}

// What KEDA scales the daemon does not: it is never put to sleep, a stop is refused with the reason, and a start is not.
func TestWhatKEDAScalesIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.deploy("other")
	controller, minimum := true, int32(1)
	_, err := b.kube.AutoscalingV2().HorizontalPodAutoscalers(b.namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{
			Name:            "keda-hpa-alpha",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "alpha", UID: "4711", Controller: &controller}},
		},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "alpha"},
			MinReplicas:    &minimum, MaxReplicas: 3,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events := b.events()
	b.run(idle...)
	b.ping("alpha")
	events.next(scaler.Slept, "other")
	if s := b.awaitReason("alpha", policy.Autoscaled); !containsAll(s.Decision.Text, "KEDA", "ScaledObject") {
		t.Errorf("it says %q", s.Decision.Text)
	}
	consistently(t, 4*time.Second, "asleep", b.staysAt("alpha", 1))
	_, err = b.Stop(t.Context(), b.id("alpha"), false, wire.Sender{})
	refused(t, err, 409, "KEDA", "delete the ScaledObject")
	_, err = b.Hold(t.Context(), b.id("alpha"), true, "1h", wire.Sender{})
	refused(t, err, 409, "KEDA")
	if _, err = b.Start(t.Context(), b.id("alpha"), 0, wire.Sender{}); err != nil {
		t.Error(err)
	}
}
