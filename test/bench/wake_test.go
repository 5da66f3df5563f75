package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"idle-scaler/scaler"
)

// real returns a world in a new namespace of the real API server, with servers of two kinds: those that the daemon wakes and those that
// client-go alone does. They are paused for the Deployment controller: it notes what is written, and makes no pods, whose work would
// hide what is measured.
func real(b *testing.B, each int) (w *world, ours, theirs []scaler.ID) {
	b.Helper()
	kubeconfig, err := startCluster()
	check(b, err)
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	check(b, err)
	config.QPS = -1
	admin := newClient(b, config)
	ns, err := admin.CoreV1().Namespaces().Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}, metav1.CreateOptions{})
	check(b, err)
	for i := range each {
		ours = append(ours, id(ns.Name, fmt.Sprintf("ours-%04d", i)))
		theirs = append(theirs, id(ns.Name, fmt.Sprintf("theirs-%04d", i)))
	}
	all := append(append([]scaler.ID{}, ours...), theirs...)
	each64(all, func(id scaler.ID) {
		d := deployment(id.Namespace, id.Name, 1)
		d.Spec.Paused = true
		_, err := admin.AppsV1().Deployments(id.Namespace).Create(context.Background(), d, metav1.CreateOptions{FieldManager: "kubectl"})
		if err != nil {
			b.Error(err)
		}
	})
	w = newWorld(b, config, ns.Name)
	w.settled(b, all...)
	return w, ours, theirs
}

// each64 does something for each server, with as many in flight as the daemon has.
func each64(ids []scaler.ID, do func(scaler.ID)) {
	slots := make(chan struct{}, 64)
	var running sync.WaitGroup
	for _, id := range ids {
		slots <- struct{}{}
		running.Go(func() { do(id); <-slots })
	}
	running.Wait()
}

// patch is what the daemon would write, written by client-go alone: the same number of annotations of the same length, the same version
// to compare with. It returns when that was accepted.
func (w *world) patch(id scaler.ID, replicas int) (time.Time, error) {
	server, ok := w.cache.Get(id)
	if !ok {
		return time.Time{}, fmt.Errorf("%s is not there", id)
	}
	at := time.Now().UTC().Format(time.RFC3339Nano)
	last := fmt.Sprintf(`{"id":"%s-%s","type":"woken","at":"%s","from":0,"to":%d,"cause":"command","actor":"gateway","command":"bench-1"}`,
		server.UID, server.Version, at, replicas)
	annotations := map[string]any{"idle-scaler/command": "123@" + at + " bench-1", "idle-scaler/last": last}
	gone, set := []string{"asleep-since", "asleep-because", "replicas"}, map[string]any{"idle-scaler/awake-since": at}
	if replicas == 0 {
		gone, set = []string{"awake-since"}, map[string]any{"idle-scaler/asleep-since": at, "idle-scaler/asleep-because": "command", "idle-scaler/replicas": "1"}
	}
	for _, key := range gone {
		annotations["idle-scaler/"+key] = nil
	}
	for key, value := range set {
		annotations[key] = value
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": server.Version, "annotations": annotations},
		"spec":     map[string]any{"replicas": replicas},
	})
	if err != nil {
		return time.Time{}, err
	}
	_, err = w.client.AppsV1().Deployments(id.Namespace).Patch(context.Background(), id.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "idle-scaler"})
	return time.Now(), err
}

// BenchmarkWake is the time from a command to the patch that the API server has accepted, beside that of the same patch by client-go
// alone, in turns. Ratio is that of the medians; docs/performance.md asks for at most 1.2, and for one request.
func BenchmarkWake(b *testing.B) {
	w, ours, theirs := real(b, 1)
	reset := func() {
		w.settled(b, ours[0], theirs[0])
		w.do(b, scaler.Stop, ours[0])
		<-w.cluster.written
		_, err := w.patch(theirs[0], 0)
		check(b, err)
		w.settled(b, ours[0], theirs[0])
	}
	reset()
	var took, bare []time.Duration
	var patches, reads int64
	wake := func() {
		p, r := w.sent.patches.Load(), w.sent.reads.Load()
		began := time.Now()
		w.submit(scaler.Start, ours[0], func(scaler.Outcome) {})
		took = append(took, (<-w.cluster.written).Sub(began))
		patches, reads = patches+w.sent.patches.Load()-p, reads+w.sent.reads.Load()-r
	}
	patch := func() {
		began := time.Now()
		accepted, err := w.patch(theirs[0], 1)
		check(b, err)
		bare = append(bare, accepted.Sub(began))
	}
	for i := 0; b.Loop(); i++ {
		for range 10 {
			if i++; i%2 == 0 {
				wake()
				patch()
			} else {
				patch()
				wake()
			}
			reset()
		}
	}
	n := float64(len(took))
	b.ReportMetric(float64(median(took))/1e6, "ms/wake")
	b.ReportMetric(float64(median(bare))/1e6, "ms/bare")
	b.ReportMetric(float64(median(took))/float64(median(bare)), "ratio")
	b.ReportMetric(float64(patches)/n, "patches/wake")
	b.ReportMetric(float64(reads)/n, "reads/wake")
}

// BenchmarkThousandStarts is the time until 1,000 starts that come at once are accepted, beside that of client-go alone with 64
// in flight, in turns. Ratio is that of the medians; docs/performance.md asks for at most 1.2.
func BenchmarkThousandStarts(b *testing.B) {
	const starts = 1000
	w, ours, theirs := real(b, starts)
	accepted := func() {
		for range starts {
			<-w.cluster.written
		}
	}
	stop := func() {
		var done sync.WaitGroup
		for _, id := range ours {
			done.Add(1)
			w.submit(scaler.Stop, id, func(scaler.Outcome) { done.Done() })
		}
		accepted()
		done.Wait()
		each64(theirs, func(id scaler.ID) {
			if _, err := w.patch(id, 0); err != nil {
				b.Error(err)
			}
		})
		w.settled(b, append(append([]scaler.ID{}, ours...), theirs...)...)
	}
	var took, bare []time.Duration
	var patches, reads int64
	start := func() {
		p, r := w.sent.patches.Load(), w.sent.reads.Load()
		began := time.Now()
		for _, id := range ours {
			w.submit(scaler.Start, id, func(scaler.Outcome) {})
		}
		accepted()
		took = append(took, time.Since(began))
		patches, reads = patches+w.sent.patches.Load()-p, reads+w.sent.reads.Load()-r
	}
	patch := func() {
		began := time.Now()
		each64(theirs, func(id scaler.ID) {
			if _, err := w.patch(id, 1); err != nil {
				b.Error(err)
			}
		})
		bare = append(bare, time.Since(began))
	}
	stop()
	for i := 0; b.Loop(); i++ {
		turns := []func(){start, patch}
		if i%2 == 1 {
			turns = []func(){patch, start}
		}
		for _, turn := range turns {
			turn()
			w.settled(b, append(append([]scaler.ID{}, ours...), theirs...)...)
		}
		stop()
	}
	b.ReportMetric(median(took).Seconds(), "s/thousand")
	b.ReportMetric(median(bare).Seconds(), "s/bare")
	b.ReportMetric(float64(median(took))/float64(median(bare)), "ratio")
	b.ReportMetric(float64(patches)/float64(len(took))/starts, "patches/start")
	b.ReportMetric(float64(reads)/float64(len(took)), "reads/thousand") // of pods, once a wake takes more than 3 s: 128 at once
}
