package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const ns = metav1.NamespaceDefault

// One cluster for all checks, then a second one on the same directory.
func TestCluster(t *testing.T) {
	dir := t.TempDir()
	config, stop := boot(t, dir)
	client := kubernetes.NewForConfigOrDie(config)

	t.Run("a Deployment wakes, sleeps and is deleted with its pods", func(t *testing.T) {
		createDeployment(t, client, "web", 0, "web:1")
		scale(t, client, "web", 1)
		began := time.Now()
		eventually(t, "ready", func() bool { return deploymentOf(t, client, "web").Status.ReadyReplicas == 1 })
		t.Logf("0 -> 1 in %v", time.Since(began))
		scale(t, client, "web", 0)
		eventually(t, "no pods", func() bool { return len(pods(t, client, "web")) == 0 })

		scale(t, client, "web", 2)
		eventually(t, "two pods", func() bool { return deploymentOf(t, client, "web").Status.ReadyReplicas == 2 })
		if err := client.AppsV1().Deployments(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no pods", func() bool { return len(pods(t, client, "web")) == 0 })
	})

	t.Run("an image that cannot be pulled is told", func(t *testing.T) {
		createDeployment(t, client, "pull", 1, "fail/pull:1")
		eventually(t, "ImagePullBackOff", func() bool { return waitingReason(t, client, "pull") == "ImagePullBackOff" })
	})

	t.Run("a crashing container is restarted", func(t *testing.T) {
		createDeployment(t, client, "crash", 1, "fail/crash:1")
		eventually(t, "two restarts", func() bool {
			list := pods(t, client, "crash")
			return len(list) == 1 && len(list[0].Status.ContainerStatuses) == 1 && list[0].Status.ContainerStatuses[0].RestartCount >= 2
		})
		if reason := waitingReason(t, client, "crash"); reason != "CrashLoopBackOff" {
			t.Errorf("waiting reason %q", reason)
		}
	})

	t.Run("a pod that fits nowhere stays pending", func(t *testing.T) {
		createDeployment(t, client, "huge", 1, "fail/schedule:1")
		eventually(t, "Unschedulable", func() bool {
			list := pods(t, client, "huge")
			return len(list) == 1 && list[0].Spec.NodeName == "" && len(list[0].Status.Conditions) > 0 &&
				list[0].Status.Conditions[0].Reason == v1.PodReasonUnschedulable
		})
	})

	t.Run("a stop delay keeps a pod until it is forced", func(t *testing.T) {
		createDeployment(t, client, "slow", 1, "slow:1")
		eventually(t, "ready", func() bool { return deploymentOf(t, client, "slow").Status.ReadyReplicas == 1 })
		scale(t, client, "slow", 0)
		eventually(t, "terminating", func() bool { return pods(t, client, "slow")[0].DeletionTimestamp != nil })
		time.Sleep(300 * time.Millisecond)
		list := pods(t, client, "slow")
		if len(list) != 1 {
			t.Fatalf("%d pods while one should be terminating", len(list))
		}
		if err := client.CoreV1().Pods(ns).Delete(t.Context(), list[0].Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no pods", func() bool { return len(pods(t, client, "slow")) == 0 })
	})

	t.Run("a quota without pods makes ReplicaFailure", func(t *testing.T) {
		const full = "full"
		createNamespace(t, client, full)
		quota := &v1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "none"},
			Spec:       v1.ResourceQuotaSpec{Hard: v1.ResourceList{v1.ResourcePods: resource.MustParse("0")}},
		}
		if _, err := client.CoreV1().ResourceQuotas(full).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.AppsV1().Deployments(full).Create(t.Context(), newDeployment("web", 1, "web:1"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "ReplicaFailure", func() bool {
			d, err := client.AppsV1().Deployments(full).Get(t.Context(), "web", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range d.Status.Conditions {
				if c.Type == appsv1.DeploymentReplicaFailure && c.Status == v1.ConditionTrue {
					return strings.Contains(c.Message, "exceeded quota")
				}
			}
			return false
		})
	})

	tenant := rest.AnonymousClientConfig(config)
	t.Run("a token may do what its roles say", func(t *testing.T) {
		tenant.BearerToken = createTenant(t, client)
		checkTenant(t, tenant)
	})

	t.Run("requests are counted", func(t *testing.T) {
		metrics, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
		if err != nil || !strings.Contains(string(metrics), "apiserver_request_total{") {
			t.Fatalf("no apiserver_request_total, error %v", err)
		}
	})

	stop()
	t.Run("a restart keeps objects and credentials", func(t *testing.T) {
		config, stop := boot(t, dir)
		defer stop()
		client := kubernetes.NewForConfigOrDie(config)
		if image := deploymentOf(t, client, "pull").Spec.Template.Spec.Containers[0].Image; image != "fail/pull:1" {
			t.Errorf("image %q", image)
		}
		tenant.Host = config.Host
		checkTenant(t, tenant)
		createDeployment(t, client, "again", 1, "web:1")
		eventually(t, "ready", func() bool { return deploymentOf(t, client, "again").Status.ReadyReplicas == 1 })
	})
}

// boot runs a cluster on dir and returns the admin's way in, and what ends it.
func boot(t *testing.T, dir string) (*rest.Config, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		err := run(ctx, config{dir: dir}, writer)
		writer.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("cluster did not start: %v", <-ended)
	}
	t.Logf("booted in %v", time.Since(began))
	stop := func() {
		began := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("cluster ended with %v", err)
		}
		t.Logf("stopped in %v", time.Since(began))
	}
	admin, err := clientcmd.BuildConfigFromFlags("", strings.TrimPrefix(strings.TrimSpace(line), "KUBECONFIG="))
	if err != nil {
		stop()
		t.Fatal(err)
	}
	admin.QPS = -1
	return admin, stop
}

func newDeployment(name string, replicas int32, image string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	template := v1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "main", Image: image}}},
	}
	if strings.HasPrefix(image, "slow") {
		template.Annotations = map[string]string{startDelayAnnotation: "50ms", stopDelayAnnotation: "1m"}
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}
}

func createDeployment(t *testing.T, client kubernetes.Interface, name string, replicas int32, image string) {
	t.Helper()
	if _, err := client.AppsV1().Deployments(ns).Create(t.Context(), newDeployment(name, replicas, image), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func createNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	namespace := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func scale(t *testing.T, client kubernetes.Interface, name string, replicas int) {
	t.Helper()
	patch := []byte(`{"spec":{"replicas":` + string(rune('0'+replicas)) + `}}`)
	if _, err := client.AppsV1().Deployments(ns).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func deploymentOf(t *testing.T, client kubernetes.Interface, name string) *appsv1.Deployment {
	t.Helper()
	d, err := client.AppsV1().Deployments(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func pods(t *testing.T, client kubernetes.Interface, app string) []v1.Pod {
	t.Helper()
	list, err := client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func waitingReason(t *testing.T, client kubernetes.Interface, app string) string {
	t.Helper()
	for _, pod := range pods(t, client, app) {
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Waiting != nil {
				return c.State.Waiting.Reason
			}
		}
	}
	return ""
}

// createTenant returns the token of a ServiceAccount that may only read Deployments.
func createTenant(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	account := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "tenant"}}
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "list"}}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "tenant", Namespace: ns}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
	}
	if _, err := client.CoreV1().ServiceAccounts(ns).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RbacV1().Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RbacV1().RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := client.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "tenant", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

func checkTenant(t *testing.T, config *rest.Config) {
	t.Helper()
	client := kubernetes.NewForConfigOrDie(config)
	// The server's authorizer learns of a new binding by a watch.
	eventually(t, "list allowed", func() bool {
		_, err := client.AppsV1().Deployments(ns).List(t.Context(), metav1.ListOptions{})
		return err == nil
	})
	if err := client.AppsV1().Deployments(ns).Delete(t.Context(), "pull", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("delete: want forbidden, got %v", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
