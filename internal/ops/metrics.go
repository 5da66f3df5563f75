package ops

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// Metrics collects the figures of this process. It implements scaler.Meter. All methods may be
// called concurrently.
type Metrics struct {
	Registry    *prometheus.Registry
	events      *prometheus.CounterVec
	wakes       *prometheus.HistogramVec
	sweeps      prometheus.Counter
	sweepTime   prometheus.Histogram
	decisions   *prometheus.GaugeVec
	misSleeps   *prometheus.CounterVec
	panics      prometheus.Counter
	apiRequests *prometheus.CounterVec
	leader      prometheus.Gauge
}

// NewMetrics returns Metrics with everything at zero.
func NewMetrics(version string) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	in := promauto.With(registry)
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return in.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Registry: registry,
		events:   counters("idle_scaler_events_total", "Published events, by type and cause.", "type", "cause"),
		wakes: in.NewHistogramVec(prometheus.HistogramOpts{
			Name: "idle_scaler_wake_seconds",
			Help: "Seconds of a wake by phase: queued (from the start command to the begin of its work), " +
				"patch (the request to the API server), ready (from the write to the first ready replica).",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
		}, []string{"phase"}),
		sweeps: in.NewCounter(prometheus.CounterOpts{Name: "idle_scaler_sweeps_total", Help: "Ended sweeps."}),
		sweepTime: in.NewHistogram(prometheus.HistogramOpts{
			Name: "idle_scaler_sweep_seconds", Help: "Seconds of a sweep.", Buckets: prometheus.ExponentialBuckets(.0001, 4, 10),
		}),
		decisions: in.NewGaugeVec(prometheus.GaugeOpts{
			Name: "idle_scaler_decisions", Help: "Servers by the reason of their decision in the last sweep.",
		}, []string{"reason"}),
		misSleeps: counters("idle_scaler_mis_sleeps_total", "Servers that were wanted less than 2 minutes "+
			"after they were put to sleep; with dry_run, after they would have been.", "dry_run"),
		panics: in.NewCounter(prometheus.CounterOpts{
			Name: "idle_scaler_panics_total", Help: "Panics caught in the work on one server. Each is a bug.",
		}),
		apiRequests: counters("idle_scaler_api_requests_total",
			"Requests to the Kubernetes API server, by verb and HTTP status code.", "verb", "code"),
		leader: in.NewGauge(prometheus.GaugeOpts{Name: "idle_scaler_leader", Help: "1 while this process leads."}),
	}
	in.NewGauge(prometheus.GaugeOpts{
		Name: "idle_scaler_build_info", Help: "Always 1; the label has the version.",
		ConstLabels: prometheus.Labels{"version": version},
	}).Set(1)
	for _, dryRun := range []string{"false", "true"} {
		m.misSleeps.WithLabelValues(dryRun) // a rate does not see the first count of a new series
	}
	return m
}

// Event counts an event.
func (m *Metrics) Event(e scaler.Event) {
	m.events.WithLabelValues(string(e.Type), string(e.Cause)).Inc()
}

// Wake observes how long a phase of a wake took.
func (m *Metrics) Wake(phase string, took time.Duration) {
	m.wakes.WithLabelValues(phase).Observe(max(0, took).Seconds()) // the clock of NATS may be ahead
}

// Swept observes a sweep.
func (m *Metrics) Swept(s scaler.Sweep) {
	m.sweeps.Inc()
	m.sweepTime.Observe(s.Took.Seconds())
	m.decisions.Reset()
	for reason, n := range s.Decisions {
		m.decisions.WithLabelValues(string(reason)).Set(float64(n))
	}
}

// MisSlept counts a sleep that demand followed at once, or with dryRun one that would have been.
func (m *Metrics) MisSlept(dryRun bool) {
	m.misSleeps.WithLabelValues(strconv.FormatBool(dryRun)).Inc()
}

// Panic counts a panic.
func (m *Metrics) Panic() { m.panics.Inc() }

// APIRequest counts a request to the API server.
func (m *Metrics) APIRequest(verb, code string) { m.apiRequests.WithLabelValues(verb, code).Inc() }

// Leads says whether this process leads.
func (m *Metrics) Leads(leads bool) {
	if leads {
		m.leader.Set(1)
		return
	}
	m.leader.Set(0)
	m.decisions.Reset() // only the leader decides
}

// Gauge adds a value that each scrape reads.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	promauto.With(m.Registry).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

// Counter adds a count that each scrape reads. Labels tell it apart from others of the same name.
func (m *Metrics) Counter(name, help string, labels map[string]string, count func() uint64) {
	promauto.With(m.Registry).NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
		func() float64 { return float64(count()) })
}

// Drops adds a count of drops that each scrape reads. What names the dropped things:
// "nats-message".
func (m *Metrics) Drops(what string, count func() uint64) {
	const help = "Drops of what came faster than it could be handled. The log says more."
	m.Counter("idle_scaler_drops_total", help, map[string]string{"what": what}, count)
}

// Servers adds the count of servers by status, which each scrape reads.
func (m *Metrics) Servers(count func() map[policy.Status]int) {
	desc := prometheus.NewDesc("idle_scaler_servers", "Servers by status.", []string{"status"}, nil)
	m.Registry.MustRegister(servers{count, desc})
}

type servers struct {
	count func() map[policy.Status]int
	desc  *prometheus.Desc
}

func (s servers) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

func (s servers) Collect(ch chan<- prometheus.Metric) {
	for status, n := range s.count() {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(n), string(status))
	}
}

var _ scaler.Meter = (*Metrics)(nil)
