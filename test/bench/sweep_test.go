package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// BenchmarkSweep looks at 1,000, 10,000 and 40,000 servers that are awake and were used lately, as they mostly are: the API server is not
// asked, and a server leaves no garbage. Growth is the time per server beside that at a size before: 1 when the time grows as the number
// of servers does. From 1,000 to 10,000 it is more, because 10,000 do not fit into the processor's caches; from there on it is not.
func BenchmarkSweep(b *testing.B) {
	sizes := [...]int{1_000, 10_000, 40_000}
	var worlds [len(sizes)]*world
	for i, servers := range sizes {
		worlds[i] = sweeper(b, servers)
		worlds[i].sweep(b, servers)
	}
	var took [len(sizes)]time.Duration // of the processor: the more of it a sweep needs, the more often others interrupt it
	var before, after runtime.MemStats
	var swept, reads, rounds int64
	runtime.ReadMemStats(&before)
	for _, w := range worlds {
		reads -= w.sent.reads.Load()
	}
	for b.Loop() {
		rounds++
		for i, servers := range sizes {
			began := processorTime(b)
			for range sizes[len(sizes)-1] / servers {
				worlds[i].sweep(b, servers)
			}
			took[i] += processorTime(b) - began
			swept += int64(sizes[len(sizes)-1])
		}
	}
	runtime.ReadMemStats(&after)
	var each [len(sizes)]float64
	for i, w := range worlds {
		reads += w.sent.reads.Load()
		each[i] = float64(took[i]) / float64(rounds) / float64(sizes[len(sizes)-1])
		b.ReportMetric(each[i], fmt.Sprintf("ns/server@%d", sizes[i]))
	}
	b.ReportMetric(each[1]/each[0], "growth@10000")
	b.ReportMetric(each[2]/each[1], "growth@40000")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(swept), "allocs/server")
	b.ReportMetric(float64(reads), "api-reads")
}

// BenchmarkSweepAllocs is the same sweep without the readings of the memory between.
func BenchmarkSweepAllocs(b *testing.B) {
	w := sweeper(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		w.sweep(b, 10_000)
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	check(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func (w *world) sweep(b *testing.B, servers int) {
	sweep, err := w.core.Sweep()
	check(b, err)
	if sweep.Decisions[policy.Awake] != servers {
		b.Fatalf("not all %d are awake: %v", servers, sweep.Decisions)
	}
}

// sweeper returns a world with that many servers: the real cache, filled over HTTP by what stands for an API server.
func sweeper(b *testing.B, servers int) *world {
	b.Helper()
	now := time.Now()
	list := appsv1.DeploymentList{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DeploymentList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "100"},
	}
	for i := range servers {
		list.Items = append(list.Items, running(fmt.Sprintf("server-%05d", i), now.Add(-time.Hour)))
	}
	namespaces := corev1.NamespaceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NamespaceList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "100"},
		Items:    []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "team-a", ResourceVersion: "7"}}},
	}
	autoscalers := autoscalingv2.HorizontalPodAutoscalerList{
		TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscalerList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "100"},
	}
	lists := make(map[string][]byte)
	for path, list := range map[string]any{
		"/apis/apps/v1/deployments": list, "/api/v1/namespaces": namespaces, "/apis/autoscaling/v2/horizontalpodautoscalers": autoscalers,
	} {
		body, err := json.Marshal(list)
		check(b, err)
		lists[path] = body
	}
	api := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Get("sendInitialEvents") == "true": // then it lists
			out.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(out, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
		case r.URL.Query().Get("watch") != "":
			out.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_, _ = out.Write(lists[r.URL.Path])
		}
	}))
	b.Cleanup(func() { api.CloseClientConnections(); api.Close() })
	w := newWorld(b, &rest.Config{Host: api.URL}, "")
	w.tracker.CaughtUp(activity.Log{CompleteSince: now.Add(-time.Hour)}, now.Add(-time.Hour))
	for server := range w.cache.All {
		w.tracker.Ping(server.ID, activity.Stamp{Sequence: w.sequence.Add(1), Time: now})
	}
	return w
}

// running is a Deployment as the API server tells of it: one replica, ready for a while.
func running(name string, since time.Time) appsv1.Deployment {
	d := deployment("team-a", name, 1)
	d.UID, d.ResourceVersion, d.Generation = types.UID("uid-"+name), "42", 1
	d.CreationTimestamp = metav1.NewTime(since)
	d.Status = appsv1.DeploymentStatus{
		ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1,
		Conditions: []appsv1.DeploymentCondition{{
			Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(since),
		}},
	}
	return *d
}

// deployment is one that is a server.
func deployment(namespace, name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/component": "mcp-server"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/server"}}},
			},
		},
	}
}

func id(namespace, name string) scaler.ID { return scaler.ID{Namespace: namespace, Name: name} }
