package e2e

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// newNamespace makes a namespace that no other test has.
func newNamespace(t *testing.T, kube *kubernetes.Clientset) string {
	t.Helper()
	ns, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// deploy makes a server with one replica, changed by with, and waits for nothing.
func (b *bench) deploy(name string, with ...func(*appsv1.Deployment)) *appsv1.Deployment {
	b.t.Helper()
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
	for _, w := range with {
		w(d)
	}
	d, err := b.kube.AppsV1().Deployments(b.namespace).Create(b.t.Context(), d, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
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

// deployment reads a Deployment from the API server.
func (b *bench) deployment(name string) *appsv1.Deployment {
	b.t.Helper()
	d, err := b.kube.AppsV1().Deployments(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// mark returns an annotation of a Deployment.
func (b *bench) mark(name, key string) string {
	return b.deployment(name).Annotations["idle-scaler/"+key]
}

// patch writes a Deployment as somebody else: a merge patch by a field manager.
func (b *bench) patch(name, manager, patch string) {
	b.t.Helper()
	_, err := b.kube.AppsV1().Deployments(b.namespace).Patch(b.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		b.t.Fatal(err)
	}
}

// awaitReplicas waits until so many replicas are wanted and ready.
func (b *bench) awaitReplicas(name string, want int32) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("%s has %d replicas", name, want), func() error {
		d := b.deployment(name)
		if *d.Spec.Replicas != want || d.Status.ReadyReplicas != want || d.Status.ObservedGeneration < d.Generation {
			return fmt.Errorf("%d are wanted, %d ready", *d.Spec.Replicas, d.Status.ReadyReplicas)
		}
		return nil
	})
}

// staysAt expects that so many replicas stay wanted.
func (b *bench) staysAt(name string, want int32) func() error {
	return func() error {
		if got := *b.deployment(name).Spec.Replicas; got != want {
			return fmt.Errorf("%s has %d replicas", name, got)
		}
		return nil
	}
}
