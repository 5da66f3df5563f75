package kube

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	resourcehelper "k8s.io/component-helpers/resource"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// annotate writes a setting on the namespace.
func (w *world) annotate(key, value string) {
	w.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, prefix+key, value)
	if _, err := w.admin.CoreV1().Namespaces().Patch(w.t.Context(), w.namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// What is written on a namespace reaches its servers at once, whether one namespace is watched or all, and what scales them, too; in all
// this nothing is asked of the API server once it is watched.
func TestSettingsOfNamespacesForReal(t *testing.T) {
	w := newWorld(t)
	w.annotate("idle-after", "1h")
	w.deploy("web", 1, "web:1")
	w.wait("web", "ready", func(s *scaler.Server) bool { return s.Ready == 1 && s.Observed == s.Generation })
	for what, namespaces := range map[string][]string{"one namespace": {w.namespace}, "all namespaces": nil} {
		counted := new(requests)
		config := rest.CopyConfig(w.config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counter{next, counted.add} })
		cache, err := NewCache(kubernetes.NewForConfigOrDie(config), Scope{Namespaces: namespaces, Selector: "app.kubernetes.io/component=mcp-server"}, testConfig, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		w.cache = cache
		w.run(cache.Run)
		wait.Until(t, "the lists", func() bool { return cache.Synced() && cache.Missing() == "" })
		before := w.wait("web", "idle-after of its namespace", func(s *scaler.Server) bool { return s.Settings.IdleAfter == time.Hour })
		if before.Bad != nil || before.Sources["idle-after"] != policy.FromNamespace || before.Rival != "" {
			t.Errorf("%s: %v, from %v, rival %q", what, before.Bad, before.Sources, before.Rival)
		}
		counted.taken()

		w.annotate("idle-after", "2h")
		after := w.wait("web", "the new idle-after", func(s *scaler.Server) bool { return s.Settings.IdleAfter == 2*time.Hour })
		if after.Version != before.Version || before.Settings.IdleAfter != time.Hour {
			t.Errorf("%s: version %s, it was %s with %s", what, after.Version, before.Version, before.Settings.IdleAfter)
		}
		w.annotate("idle-after", "soon")
		w.wait("web", "word that it can't be read", func(s *scaler.Server) bool { return s.Bad != nil })
		w.annotate("idle-after", "1h")

		hpas := w.admin.AutoscalingV2().HorizontalPodAutoscalers(w.namespace)
		plain := autoscaler("plain", "web")
		plain.Namespace, plain.ResourceVersion, plain.OwnerReferences = "", "", nil
		ofKEDA := autoscaler("keda-hpa-web", "web")
		ofKEDA.Namespace, ofKEDA.ResourceVersion = "", ""
		if _, err := hpas.Create(t.Context(), plain, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := hpas.Create(t.Context(), ofKEDA, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wait("web", "KEDA", func(s *scaler.Server) bool { return s.Rival == policy.KEDA })
		if err := hpas.Delete(t.Context(), "keda-hpa-web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wait("web", "no KEDA: an ordinary HPA is no rival", func(s *scaler.Server) bool { return s.Rival == "" && s.Bad == nil })
		if err := hpas.Delete(t.Context(), "plain", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if asked := counted.taken(); len(asked) > 0 {
			t.Errorf("%s: asked of the API server: %v", what, asked)
		}
	}
}

// What a server requests is what the pods request that Kubernetes makes for it.
func TestRequestsForReal(t *testing.T) {
	w := newWorld(t)
	for i, size := range sizes {
		name := fmt.Sprintf("size-%d", i)
		spec := size.spec.DeepCopy()
		for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
			for j := range containers {
				containers[j].Name, containers[j].Image = fmt.Sprintf("c%d-%d", cap(containers), j), "web:1"
			}
		}
		for j := range spec.InitContainers {
			spec.InitContainers[j].Name = fmt.Sprintf("init-%d", j)
		}
		labels := map[string]string{"app": name}
		server := w.create(&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/component": "mcp-server"}},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *spec},
			},
		})
		if server.Requests != size.want {
			t.Errorf("%s: %+v, want %+v", size.name, server.Requests, size.want)
		}
		var pods *corev1.PodList
		wait.Until(t, "a pod of "+size.name, func() (there bool) {
			var err error
			pods, err = w.admin.CoreV1().Pods(w.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
			return err == nil && len(pods.Items) == 1
		})
		list := resourcehelper.PodRequests(&pods.Items[0], resourcehelper.PodResourcesOptions{})
		if got := (scaler.Resources{MilliCPU: list.Cpu().MilliValue(), Memory: list.Memory().Value()}); got != size.want {
			t.Errorf("%s: its pod requests %+v, want %+v", size.name, got, size.want)
		}
	}
}
