package kube

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"idle-scaler/scaler"
	"idle-scaler/test/clustertest"
	"idle-scaler/test/wait"
)

// The tests of real_*_test.go need a real API server (test/cluster): it has the controllers that
// make Deployments work, and a kubelet that only pretends. go test -short skips them.
func TestMain(m *testing.M) {
	code := m.Run()
	stopCluster()
	os.Exit(code)
}

var stopCluster = func() {}

// startCluster starts the one cluster of all tests, when the first of them needs it, and returns its
// kubeconfig.
var startCluster = sync.OnceValues(func() (string, error) {
	kubeconfig, stop, err := clustertest.Start()
	if err == nil {
		stopCluster = stop
	}
	return kubeconfig, err
})

// requests counts what is asked of the API server.
type requests struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *requests) add(verb, code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = make(map[string]int)
	}
	r.count[verb+" "+code]++
}

// taken returns the counts since the last call.
func (r *requests) taken() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := r.count
	r.count = nil
	return count
}

// world is one namespace of the real cluster, and the package at work on it.
type world struct {
	t         *testing.T
	namespace string
	config    *rest.Config
	admin     *kubernetes.Clientset
	requests  *requests
	cache     *Cache
	cluster   *Cluster
}

// newWorld makes a namespace, and a cache that watches it as the client of config, nil for the admin.
func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("it needs the control plane: make e2e")
	}
	kubeconfig, err := startCluster()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, requests: new(requests)}
	w.config, err = Connect(kubeconfig, "", "test", w.requests.add)
	if err != nil {
		t.Fatal(err)
	}
	w.admin = kubernetes.NewForConfigOrDie(w.config)
	namespace, err := w.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kube-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.namespace = namespace.Name
	wait.Until(t, "the default ServiceAccount", func() bool {
		_, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	w.watch(w.admin)
	return w
}

// watch begins to watch the namespace with a client.
func (w *world) watch(client kubernetes.Interface) {
	w.t.Helper()
	cache, err := NewCache(client, Scope{Namespaces: []string{w.namespace}, Selector: "app.kubernetes.io/component=mcp-server"}, testConfig, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.cache, w.cluster = cache, NewCluster(cache)
	w.run(cache.Run)
	wait.Until(w.t, "the lists", func() bool { return cache.Synced() && cache.Missing() == "" })
}

// run runs something until the test ends.
func (w *world) run(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

// deploy makes a Deployment and returns its server as soon as the cache has it.
func (w *world) deploy(name string, replicas int32, image string) *scaler.Server {
	w.t.Helper()
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/component": "mcp-server"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}}},
		},
	}
	return w.create(d)
}

func (w *world) create(d *appsv1.Deployment) *scaler.Server {
	w.t.Helper()
	_, err := w.admin.AppsV1().Deployments(w.namespace).Create(w.t.Context(), d, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.wait(d.Name, "it", func(*scaler.Server) bool { return true })
}

// wait waits until the server in the cache is as wanted.
func (w *world) wait(name, what string, wanted func(*scaler.Server) bool) *scaler.Server {
	w.t.Helper()
	id := scaler.ID{Namespace: w.namespace, Name: name}
	changed, stop := w.cache.Watch(id)
	defer stop()
	deadline, cancel := context.WithTimeout(w.t.Context(), deadline)
	defer cancel()
	for {
		server, ok := w.cache.Get(id)
		if ok && wanted(server) {
			return server
		}
		select {
		case <-changed:
		case <-deadline.Done():
			w.t.Fatalf("waited for %s: %s; it is %+v", id, what, server)
		}
	}
}

func mustBe(t *testing.T, what string, err, kind error, says ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got %v, want %v", what, err, kind)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: %q does not say %q", what, err, s)
		}
	}
}
