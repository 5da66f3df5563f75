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
)

// What the daemon asks of the API server, as that counts it. The control plane is the test's own, so that nobody else is counted; what
// its controllers do is nothing to Deployments, ReplicaSets and Pods but by PUT, POST and the status.
//
// A wake is one PATCH and reads nothing, for a ping and for a request, for one server and for a hundred at once. A sleep is one PATCH. A
// daemon at rest asks for nothing but its Lease, however often it sweeps.
func TestRequestsToTheAPIServer(t *testing.T) {
	t.Parallel()
	config, stop, err := clustertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	_, client, err := connectCluster(config)
	if err != nil {
		t.Fatal(err)
	}
	b := newBenchOn(t, cluster{config, client})
	const many = 100
	names := []string{"pinged", "started"}
	for n := range many {
		names = append(names, fmt.Sprintf("s%d", n))
	}
	for _, name := range names {
		b.deploy(name)
	}
	b.awaitAll(3*patience, 1) // so many, and the control plane has just started

	before := requests(t, client)
	events := b.events()
	b.run(alone...)
	b.ping("somebody-else")
	for _, name := range names {
		events.next(scaler.Slept, name)
	}
	b.stop()
	asked := since(t, client, before)
	// How often it met the controller's status: each of these gave up, and was tried in a later sweep.
	conflicts := asked["PATCH deployments 409"]
	delete(asked, "PATCH deployments 409")
	t.Logf("sleeps of %d servers met %d conflicts", len(names), conflicts)
	delete(asked, "LIST deployments 200") // of its begin
	if want := map[string]int{"PATCH deployments 200": len(names)}; !maps.Equal(asked, want) {
		t.Errorf("%d sleeps asked for %v", len(names), asked)
	}

	b.awaitAll(patience, 0)
	d := b.run("--schedule", "@every 1s")
	events = b.events()
	b.ping("somebody-else")
	measure := func(what string, want map[string]int, do func()) {
		t.Helper()
		before, began := requests(t, client), time.Now()
		do()
		took := time.Since(began)
		asked := since(t, client, before)
		if want["PATCH deployments 200"] > 0 && took > 2*time.Second { // a busy machine: after 3 s it is looked why a server is not ready
			maps.DeleteFunc(asked, func(request string, _ int) bool {
				return strings.HasPrefix(request, "LIST replicasets") || strings.HasPrefix(request, "LIST pods")
			})
		}
		if !maps.Equal(asked, want) {
			t.Errorf("%s asked for %v, want %v", what, asked, want)
		}
	}
	measure("a ping", map[string]int{"PATCH deployments 200": 1}, func() {
		b.ping("pinged")
		events.next(scaler.Ready, "pinged")
	})
	measure("a start", map[string]int{"PATCH deployments 200": 1}, func() {
		if _, err := b.Start(t.Context(), b.id("started"), patience, wire.Sender{}); err != nil {
			t.Error(err)
		}
	})
	measure("pings to many", map[string]int{"PATCH deployments 200": many}, func() {
		var ids []scaler.ID
		for _, name := range names[2:] {
			ids = append(ids, b.id(name))
		}
		if err := b.Ping(t.Context(), ids...); err != nil {
			t.Error(err)
		}
		for _, name := range names[2:] {
			events.next(scaler.Ready, name)
		}
	})
	b.awaitAll(patience, 1)

	// Thirty seconds: about thirty sweeps and six looks at the log.
	own := func() map[string]int { return d.counts(t, "idle_scaler_api_requests_total") }
	eventually(t, "the Kubernetes Events of the wakes are written", func() error {
		first := own()
		time.Sleep(time.Second)
		total := own()[`{code="201",verb="POST"}`]
		if posted := total - first[`{code="201",verb="POST"}`]; posted > 0 || total < 2*len(names) { // that it is woken, and that it is ready
			return fmt.Errorf("%d more, %d in all", posted, total)
		}
		return nil
	})
	former := own()
	measure("a daemon at rest", map[string]int{}, func() {
		sweeps := d.counts(t, "idle_scaler_sweeps_total")[""]
		time.Sleep(30 * time.Second)
		if swept := d.counts(t, "idle_scaler_sweeps_total")[""] - sweeps; swept < 20 {
			t.Errorf("only %d sweeps in thirty seconds: the rest was not that of a daemon at work", swept)
		}
	})
	for series, n := range own() {
		if n != former[series] && series != `{code="200",verb="PUT"}` {
			t.Errorf("at rest it asked for %s %d times", series, n-former[series])
		}
	}
}

// awaitAll waits until each server of the namespace has so many replicas, and none is under way.
func (b *bench) awaitAll(most time.Duration, want int32) {
	b.t.Helper()
	within(b.t, most, fmt.Sprintf("all have %d replicas", want), func() error {
		list, err := b.kube.AppsV1().Deployments(b.namespace).List(b.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, d := range list.Items {
			if s := d.Status; *d.Spec.Replicas != want || s.ReadyReplicas != want || s.Replicas != want || s.ObservedGeneration < d.Generation {
				return fmt.Errorf("%s has %d, %d of %d ready", d.Name, *d.Spec.Replicas, s.ReadyReplicas, s.Replicas)
			}
		}
		return nil
	})
}

// requests returns how often the API server was asked for what the daemon could ask for: by "VERB RESOURCE CODE".
func requests(t *testing.T, client *kubernetes.Clientset) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	body, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for labels, n := range parseCounts(string(body), "apiserver_request_total") {
		label := func(name string) string {
			_, rest, _ := strings.Cut(labels, name+`="`)
			value, _, _ := strings.Cut(rest, `"`)
			return value
		}
		verb, resource := label("verb"), label("resource")
		switch {
		case resource == "deployments" && label("subresource") == "":
		case (resource == "deployments" && label("subresource") == "scale"), resource == "replicasets" && verb == "LIST", resource == "pods" && verb == "LIST",
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

// counts returns a counter of the daemon by its labels.
func (d *daemon) counts(t *testing.T, name string) map[string]int {
	t.Helper()
	_, body, err := d.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return parseCounts(body, name)
}

// parseCounts reads a counter by its labels from what Prometheus would.
func parseCounts(text, name string) map[string]int {
	counts := make(map[string]int)
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		end := strings.LastIndexByte(rest, ' ')
		if !ok || end < 0 || end > 0 && rest[0] != '{' {
			continue
		}
		var n float64
		if _, err := fmt.Sscan(rest[end:], &n); err == nil {
			counts[rest[:end]] = int(n)
		}
	}
	return counts
}
