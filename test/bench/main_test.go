// Package bench measures the ratios that docs/performance.md asks for, which has the figures: the daemon's way to the API server beside that of
// client-go alone, in the same run and in turns, so that whatever else the machine does hits both.
package bench

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"idle-scaler/activity"
	"idle-scaler/internal/kube"
	"idle-scaler/internal/ops"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/clustertest"
)

// startCluster starts a control plane when the first benchmark needs it, and returns its kubeconfig.
var startCluster = sync.OnceValues(func() (string, error) {
	kubeconfig, stop, err := clustertest.Start()
	if err == nil {
		stopCluster = stop
	}
	return kubeconfig, err
})

var stopCluster = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopCluster()
	os.Exit(code)
}

// world is the daemon's way from a command to the API server, without NATS on either end, and a client of the same kind beside it.
type world struct {
	core     *scaler.Scaler
	tracker  *activity.Tracker
	cache    *kube.Cache
	cluster  *timed
	client   *kubernetes.Clientset // client-go alone
	sent     counts                // by our side
	sequence atomic.Uint64         // of the last command
}

// newWorld returns a world that leads, watching a namespace (empty: all) of the API server of config.
func newWorld(b *testing.B, config *rest.Config, namespace string) *world {
	b.Helper()
	w := &world{tracker: activity.NewTracker(0)}
	config.QPS = -1
	w.client = newClient(b, config)
	ours := rest.CopyConfig(config)
	ours.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counting{next, &w.sent} })
	var err error
	w.cache, err = kube.NewCache(newClient(b, ours), kube.Scope{Namespaces: []string{namespace}, Selector: "app.kubernetes.io/component=mcp-server"},
		policy.Layer{Source: policy.FromConfig, Written: map[string]string{"idle-after": "30m"}}, time.Now, slog.New(slog.DiscardHandler))
	check(b, err)
	w.cluster = &timed{Cluster: kube.NewCluster(w.cache), written: make(chan time.Time, 1<<14)}
	w.core = scaler.New(scaler.DefaultConfig(), w.tracker, scaler.World{
		Cache: w.cache, Cluster: w.cluster, Pods: kube.NewPods(w.cache), Endpoints: kube.NewServices(w.cache),
		Log: open{}, Pauses: scaler.NewPauses(), Events: deaf{}, Meter: ops.NewMetrics("bench"), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	w.cache.OnChange = w.core.Enqueue
	schedule, err := policy.ParseSchedule("0 0 1 1 *")
	check(b, err)

	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.cache.Run(ctx) })
	eventually(b, "the lists of the cluster", w.cache.Synced)
	running.Go(func() { w.core.Lead(ctx, schedule, func() bool { return true }) })
	eventually(b, "leadership", w.core.Leads)
	b.Cleanup(func() { stop(); running.Wait() })
	return w
}

func newClient(b *testing.B, config *rest.Config) *kubernetes.Clientset {
	b.Helper()
	client, err := kubernetes.NewForConfig(config)
	check(b, err)
	return client
}

// submit gives the scaler a command, as a session does.
func (w *world) submit(verb scaler.Verb, id scaler.ID, finish func(scaler.Outcome)) {
	w.core.Submit(context.Background(), scaler.Command{
		Stamp: activity.Stamp{Sequence: w.sequence.Add(1), Time: time.Now()}, Verb: verb, Server: id, ID: "bench-1", Actor: "gateway",
	}, finish)
}

// do gives the scaler a command and waits for its end.
func (w *world) do(b *testing.B, verb scaler.Verb, id scaler.ID) {
	done := make(chan error, 1)
	w.submit(verb, id, func(o scaler.Outcome) { done <- o.Err })
	check(b, <-done)
}

// settled waits until the controllers have seen what was last written, and have no more to say to it.
func (w *world) settled(b *testing.B, ids ...scaler.ID) {
	b.Helper()
	var before []string
	eventually(b, "the controllers to be done", func() bool {
		var now []string
		for _, id := range ids {
			s, ok := w.cache.Get(id)
			if !ok || s.Observed < s.Generation || s.Total > 0 {
				return false
			}
			now = append(now, s.Version)
		}
		still := slices.Equal(now, before)
		if before = now; !still {
			time.Sleep(100 * time.Millisecond)
		}
		return still
	})
}

// timed notes when a write was accepted.
type timed struct {
	scaler.Cluster
	written chan time.Time
}

func (c *timed) Write(ctx context.Context, server *scaler.Server, replicas int, mark scaler.Mark) (*scaler.Server, error) {
	written, err := c.Cluster.Write(ctx, server, replicas, mark)
	if err == nil {
		c.written <- time.Now()
	}
	return written, err
}

// counts are those of the requests to the API server; a watch is one read.
type counts struct{ patches, reads atomic.Int64 }

// counting counts requests.
type counting struct {
	next http.RoundTripper
	*counts
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch {
		c.patches.Add(1)
	} else {
		c.reads.Add(1)
	}
	return c.next.RoundTrip(r)
}

func (c *counting) WrappedRoundTripper() http.RoundTripper { return c.next }

// open is an activity log that is always known to its end.
type open struct{}

func (open) Prove(context.Context) error { return nil }

// deaf takes every event: what NATS costs is not measured here.
type deaf struct{}

func (deaf) Publish(context.Context, scaler.Event) error    { return nil }
func (deaf) Known(context.Context) (map[string]bool, error) { return map[string]bool{}, nil }

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func eventually(b *testing.B, what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain for %s", what)
		}
	}
}

// median of some durations, which are sorted by it.
func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}
