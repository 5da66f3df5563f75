package e2e

import (
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// deploy makes a server with one replica, changed by with, and waits for nothing.
func (w *world) deploy(name string, with ...func(*appsv1.Deployment)) *appsv1.Deployment {
	w.t.Helper()
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{"app.kubernetes.io/component": "mcp-server"}, Annotations: map[string]string{},
		},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "mcp", Image: "example.com/" + name}}},
			},
		},
	}
	for _, change := range with {
		change(d)
	}
	d, err := w.kube.AppsV1().Deployments(w.namespace).Create(w.t.Context(), d, metav1.CreateOptions{})
	natstest.Check(w.t, err)
	return d
}

func replicas(n int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Replicas = &n }
}

func annotation(key, value string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Annotations["idle-scaler/"+key] = value }
}

func image(image string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image }
}

// podAnnotation sets one of those that the fake kubelet obeys: start-delay, stop-delay.
func podAnnotation(key, value string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Annotations["cluster.test/"+key] = value }
}

// paused makes a server without pods, for tests in which only the writes matter.
func paused(d *appsv1.Deployment) { d.Spec.Paused = true }

// deployment reads a Deployment from the API server.
func (w *world) deployment(name string) *appsv1.Deployment {
	w.t.Helper()
	d, err := w.kube.AppsV1().Deployments(w.namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	natstest.Check(w.t, err)
	return d
}

// mark returns an annotation of a Deployment.
func (w *world) mark(name, key string) string {
	return w.deployment(name).Annotations["idle-scaler/"+key]
}

// patch writes a Deployment as somebody else: a merge patch by a field manager.
func (w *world) patch(name, manager, patch string) {
	w.t.Helper()
	_, err := w.kube.AppsV1().Deployments(w.namespace).Patch(w.t.Context(), name, types.MergePatchType, []byte(patch),
		metav1.PatchOptions{FieldManager: manager})
	natstest.Check(w.t, err)
}

// set writes a setting on a server.
func (w *world) set(name, key, value string) {
	w.t.Helper()
	w.patch(name, "kubectl-annotate", fmt.Sprintf(`{"metadata":{"annotations":{"idle-scaler/%s":%q}}}`, key, value))
}

// scale does what "kubectl scale" does.
func (w *world) scale(name string, to int32) {
	w.t.Helper()
	_, err := w.kube.AppsV1().Deployments(w.namespace).UpdateScale(w.t.Context(), name, &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: to},
	}, metav1.UpdateOptions{FieldManager: "kubectl"})
	natstest.Check(w.t, err)
}

// awaitReplicas waits until so many replicas are wanted and ready.
func (w *world) awaitReplicas(name string, want int32) {
	w.t.Helper()
	wait.Eventually(w.t, fmt.Sprintf("%s has %d replicas", name, want), func() error {
		d := w.deployment(name)
		if *d.Spec.Replicas != want || d.Status.ReadyReplicas != want || d.Status.ObservedGeneration < d.Generation {
			return fmt.Errorf("%d are wanted, %d ready", *d.Spec.Replicas, d.Status.ReadyReplicas)
		}
		return nil
	})
}

// wants is an error unless these servers want so many replicas.
func (w *world) wants(want int32, names ...string) error {
	for _, name := range names {
		if got := *w.deployment(name).Spec.Replicas; got != want {
			return fmt.Errorf("%s has %d replicas", name, got)
		}
	}
	return nil
}

// staying checks again and again that these servers want so many replicas.
func (w *world) staying(want int32, names ...string) func() error {
	return func() error { return w.wants(want, names...) }
}

// pods are those with the labels of a server.
func (w *world) pods(name string) []corev1.Pod {
	w.t.Helper()
	list, err := w.kube.CoreV1().Pods(w.namespace).List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	natstest.Check(w.t, err)
	return list.Items
}

// awaitPods waits until there are so many pods with the labels of a server.
func (w *world) awaitPods(name string, want int) {
	w.t.Helper()
	wait.Eventually(w.t, fmt.Sprintf("%s has %d pods", name, want), func() error {
		if pods := w.pods(name); len(pods) != want {
			return fmt.Errorf("there are %d", len(pods))
		}
		return nil
	})
}

// makeReady waits until so many pods of a server run, and says that they are ready: for those of
// the image fail/ready, which the fake kubelet lets run and leaves alone.
func (w *world) makeReady(name string, want int) {
	w.t.Helper()
	status, err := json.Marshal(map[string]any{"status": corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
	}}})
	natstest.Check(w.t, err)
	isReady := func(pod corev1.Pod) bool {
		return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
	}
	wait.Eventually(w.t, fmt.Sprintf("%d pods of %s are ready", want, name), func() error {
		missing := want
		var running []string
		for _, pod := range w.pods(name) {
			if isReady(pod) {
				missing--
			} else if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
				running = append(running, pod.Name)
			}
		}
		if len(running) < missing {
			return fmt.Errorf("%d are missing", missing)
		}
		for _, pod := range running[:max(missing, 0)] {
			_, err := w.kube.CoreV1().Pods(w.namespace).Patch(w.t.Context(), pod, types.MergePatchType, status,
				metav1.PatchOptions{}, "status")
			if err != nil {
				return err
			}
		}
		return nil
	})
}
