package kube

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// podsOf returns the names of the pods that have the label app, by UID.
func (w *world) podsOf(app string) map[string]string {
	w.t.Helper()
	list, err := w.admin.CoreV1().Pods(w.namespace).List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		w.t.Fatal(err)
	}
	pods := make(map[string]string)
	for _, pod := range list.Items {
		pods[string(pod.UID)] = pod.Name
	}
	return pods
}

// Only the pods that belong to the Deployment are killed: not those of another with the same labels, nor one that nobody owns; and they
// are gone although they take their time to stop.
func TestKillForReal(t *testing.T) {
	w := newWorld(t)
	labels := map[string]string{"app": "twin"}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"cluster.test/stop-delay": "1h"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
	}
	bare, err := w.admin.CoreV1().Pods(w.namespace).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare", Labels: labels}, Spec: template.Spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	replicas := int32(2)
	twin := func(name string) *scaler.Server {
		w.create(&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/component": "mcp-server"}},
			Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
		})
		return w.wait(name, "ready", func(s *scaler.Server) bool { return s.Ready == 2 })
	}
	other := twin("other")
	others := w.podsOf("twin")
	target := twin("target")
	if all := w.podsOf("twin"); len(others) != 3 || len(all) != 5 {
		t.Fatalf("%d, then %d pods", len(others), len(all))
	}
	w.write("target", 0, scaler.Mark{Restore: 2})
	w.wait("target", "zero", func(s *scaler.Server) bool { return s.Total == 0 && s.Observed == s.Generation })
	if all := w.podsOf("twin"); len(all) != 5 {
		t.Fatalf("%d pods while two are stopping", len(all))
	}

	pods := NewPods(w.cache)
	if err := pods.Kill(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if left := w.podsOf("twin"); !maps.Equal(left, others) || left[string(bare.UID)] != "bare" {
		t.Errorf("left are %v, want %v", left, others)
	}
	if err := pods.Kill(t.Context(), target); err != nil {
		t.Errorf("kill again: %v", err)
	}

	if err := w.admin.AppsV1().Deployments(w.namespace).Delete(t.Context(), "other", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the other to go", func() bool { _, ok := w.cache.Get(other.ID); return !ok })
	mustBe(t, "kill the pods of one that is gone", pods.Kill(t.Context(), other), scaler.ErrUnknown, "was deleted")
}

// Who wakes a server that does not get ready is told why, as it changes, until he does not listen any more.
func TestDiagnoseForReal(t *testing.T) {
	w := newWorld(t)
	pods := NewPods(w.cache)
	for _, c := range []struct {
		image  string
		reason string
		fatal  bool
		says   string
	}{
		{"fail/pull:1", "ImagePullBackOff", true, "not found"},
		{"fail/crash:1", "CrashLoopBackOff", true, "exit code 1"},
		{"fail/schedule:1", "Unschedulable", false, "Insufficient memory"},
		{"fail/ready:1", "NotReady", false, "container main runs"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			server := w.deploy(strings.ToLower(c.reason), 1, c.image)
			ctx, stop := context.WithTimeout(t.Context(), deadline)
			defer stop()
			var heard []scaler.Diagnosis
			diagnoses := pods.Diagnose(ctx, server)
			for d := range diagnoses {
				heard = append(heard, d)
				if d.Reason == c.reason && d.Fatal == c.fatal && strings.Contains(d.Text, c.says) {
					break
				}
			}
			if ctx.Err() != nil {
				t.Fatalf("heard only %+v", heard)
			}
			stop()
			for range diagnoses { // closed when nobody listens
			}
			if distinct := slices.Compact(slices.Clone(heard)); len(distinct) != len(heard) {
				t.Errorf("told the same again: %+v", heard)
			}
		})
	}
}

// Pods of others with the same labels say nothing about a server, and a new version of the template is judged by its own pods, also when it is an old
// one that "kubectl rollout undo" has made the newest again.
func TestDiagnoseOwnPodsForReal(t *testing.T) {
	w := newWorld(t)
	w.deploy("web", 1, "fail/crash:1")
	foreign := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "aaa", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "fail/pull:1"}}},
	}
	if _, err := w.admin.CoreV1().Pods(w.namespace).Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the foreign pod to fail", func() bool {
		pod, err := w.admin.CoreV1().Pods(w.namespace).Get(t.Context(), "aaa", metav1.GetOptions{})
		return err == nil && diagnosePod(pod).Fatal
	})
	server := w.wait("web", "a pod", func(s *scaler.Server) bool { return s.Total == 1 })
	ctx, stop := context.WithTimeout(t.Context(), deadline)
	defer stop()
	diagnoses := NewPods(w.cache).Diagnose(ctx, server)
	next := func(reason string) {
		t.Helper()
		for d := range diagnoses {
			if strings.Contains(d.Text, "pod aaa") {
				t.Fatalf("a foreign pod was looked at: %+v", d)
			}
			if d.Reason == reason {
				return
			}
		}
		t.Fatalf("%s was not told", reason)
	}
	next("CrashLoopBackOff")
	roll := func(image string) {
		t.Helper()
		body := []byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + image + `"}]`)
		if _, err := w.admin.AppsV1().Deployments(w.namespace).Patch(t.Context(), "web", "application/json-patch+json", body, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	roll("fail/schedule:2")
	next("Unschedulable") // although the former version goes on crashing
	roll("fail/crash:1")
	next("CrashLoopBackOff")
}
