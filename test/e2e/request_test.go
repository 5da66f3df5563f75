package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/clustertest"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// A wake is one PATCH and reads nothing, for a ping and for a request, for one server and for many
// at once. A sleep is one PATCH. A daemon at rest asks for nothing but its Lease, however often it
// sweeps.
//
// The API server counts. The control plane is the test's own, so that nobody else is counted; its
// controllers touch Deployments, ReplicaSets and Pods only by PUT, POST and the status.
func TestRequestsToTheAPIServer(t *testing.T) {
	t.Parallel()
	config, stop, err := clustertest.Start()
	natstest.Check(t, err)
	t.Cleanup(stop)
	_, client, err := connectCluster(config)
	natstest.Check(t, err)
	w := newWorldOn(t, cluster{config, client})
	const many = 30
	names := []string{"pinged", "started"}
	for n := range many {
		names = append(names, fmt.Sprintf("s%d", n))
	}
	for _, name := range names {
		w.deploy(name)
	}
	w.awaitAll(1)

	before := requests(t, client)
	events := w.events()
	w.run(alone...)
	w.ping("somebody-else")
	for _, name := range names {
		events.next(scaler.Slept, name)
	}
	w.stop()
	asked := since(t, client, before)
	// A sleep that met the controller's status gave up, and was tried in a later sweep.
	conflicts := asked["PATCH deployments 409"]
	delete(asked, "PATCH deployments 409")
	t.Logf("sleeps of %d servers met %d conflicts", len(names), conflicts)
	delete(asked, "LIST deployments 200") // of its begin
	if want := map[string]int{"PATCH deployments 200": len(names)}; !maps.Equal(asked, want) {
		t.Errorf("%d sleeps asked for %v", len(names), asked)
	}

	w.awaitAll(0)
	d := w.run("--schedule", "@every 1s")
	events = w.events()
	w.ping("somebody-else")
	measure := func(what string, want map[string]int, do func()) {
		t.Helper()
		before, began := requests(t, client), time.Now()
		do()
		took := time.Since(began)
		asked := since(t, client, before)
		if want["PATCH deployments 200"] > 0 && took > 2*time.Second { // after 3 s the daemon looks why a server is not ready
			maps.DeleteFunc(asked, func(request string, _ int) bool {
				return strings.HasPrefix(request, "LIST replicasets") || strings.HasPrefix(request, "LIST pods")
			})
		}
		if !maps.Equal(asked, want) {
			t.Errorf("%s asked for %v, want %v", what, asked, want)
		}
	}
	measure("a ping", map[string]int{"PATCH deployments 200": 1}, func() {
		w.ping("pinged")
		events.next(scaler.Ready, "pinged")
	})
	measure("a start", map[string]int{"PATCH deployments 200": 1}, func() {
		_, err := w.Start(t.Context(), w.id("started"), wait.Patience, wire.Sender{})
		natstest.Check(t, err)
	})
	measure("pings to many", map[string]int{"PATCH deployments 200": many}, func() {
		var ids []scaler.ID
		for _, name := range names[2:] {
			ids = append(ids, w.id(name))
		}
		natstest.Check(t, w.Ping(t.Context(), ids...))
		for _, name := range names[2:] {
			events.next(scaler.Ready, name)
		}
	})
	w.awaitAll(1)

	own := func() map[string]int { return d.counts("idle_scaler_api_requests_total") }
	wait.Eventually(t, "the Kubernetes Events of the wakes are written", func() error {
		first := own()
		time.Sleep(time.Second)
		total := own()[`{code="201",verb="POST"}`]
		if posted := total - first[`{code="201",verb="POST"}`]; posted > 0 || total < 2*len(names) { // woken and ready
			return fmt.Errorf("%d more, %d in all", posted, total)
		}
		return nil
	})
	former := own()
	measure("a daemon at rest", map[string]int{}, func() {
		sweeps := func() int { return d.counts("idle_scaler_sweeps_total")[""] }
		enough := sweeps() + 15 // and three looks at the log
		wait.Eventually(t, "fifteen sweeps", func() error {
			if n := sweeps(); n < enough {
				return fmt.Errorf("%d are missing", enough-n)
			}
			return nil
		})
	})
	for series, n := range own() {
		if n != former[series] && series != `{code="200",verb="PUT"}` {
			t.Errorf("at rest it asked for %s %d times", series, n-former[series])
		}
	}
}

// awaitAll waits until each server of the namespace has so many replicas, and none is under way.
func (w *world) awaitAll(want int32) {
	w.t.Helper()
	wait.Within(w.t, 3*wait.Patience, fmt.Sprintf("all have %d replicas", want), func() error { // they may be many
		list, err := w.kube.AppsV1().Deployments(w.namespace).List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, d := range list.Items {
			s := d.Status
			if *d.Spec.Replicas != want || s.ReadyReplicas != want || s.Replicas != want || s.ObservedGeneration < d.Generation {
				return fmt.Errorf("%s has %d, %d of %d ready", d.Name, *d.Spec.Replicas, s.ReadyReplicas, s.Replicas)
			}
		}
		return nil
	})
}

// requests returns how often the API server was asked for what the daemon could ask for: by "VERB
// RESOURCE CODE".
func requests(t *testing.T, client *kubernetes.Clientset) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	body, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
	natstest.Check(t, err)
	for labels, n := range parseCounts(string(body), "apiserver_request_total") {
		label := func(name string) string {
			_, rest, _ := strings.Cut(labels, name+`="`)
			value, _, _ := strings.Cut(rest, `"`)
			return value
		}
		verb, resource := label("verb"), label("resource")
		switch {
		case resource == "deployments" && label("subresource") != "status",
			resource == "replicasets" && verb == "LIST", resource == "pods" && verb == "LIST",
			resource == "services", resource == "secrets":
		default:
			continue
		}
		if verb != "WATCH" { // those are counted when they end
			counts[verb+" "+resource+" "+label("code")] += n
		}
	}
	return counts
}

// since returns what was asked for since before.
func since(t *testing.T, client *kubernetes.Clientset, before map[string]int) map[string]int {
	t.Helper()
	asked := requests(t, client)
	for key := range asked {
		if asked[key] -= before[key]; asked[key] == 0 {
			delete(asked, key)
		}
	}
	return asked
}
