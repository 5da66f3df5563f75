package ops

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// Metrics counts what happens. It implements scaler.Meter. All methods may be called concurrently.
type Metrics struct {
	Registry *prometheus.Registry

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
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idle_scaler_events_total", Help: "Events told, by type and cause.",
		}, []string{"type", "cause"}),
		wakes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "idle_scaler_wake_seconds",
			Help:    "Seconds of a wake by phase: queued (start command sent to begun), patch (request to the API server), ready (written to first ready replica).",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
		}, []string{"phase"}),
		sweeps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "idle_scaler_sweeps_total", Help: "Sweeps that have ended.",
		}),
		sweepTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "idle_scaler_sweep_seconds", Help: "Seconds that a sweep took.", Buckets: prometheus.ExponentialBuckets(.0001, 4, 10),
		}),
		decisions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "idle_scaler_decisions", Help: "Servers by the reason of the decision about them, in the last sweep.",
		}, []string{"reason"}),
		misSleeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idle_scaler_mis_sleeps_total",
			Help: "Servers that were wanted less than 2 minutes after they were put to sleep; or would have been, with dry_run.",
		}, []string{"dry_run"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "idle_scaler_panics_total", Help: "Panics caught while one server was handled. Each is a bug.",
		}),
		apiRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idle_scaler_api_requests_total", Help: "Requests to the Kubernetes API server, by verb and HTTP status code.",
		}, []string{"verb", "code"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "idle_scaler_leader", Help: "1 while this process leads.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "idle_scaler_build_info", Help: "Always 1; the version is in the label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	for _, dryRun := range []bool{false, true} { // a rate over a counter that is there from the begin misses no first one
		m.misSleeps.WithLabelValues(strconv.FormatBool(dryRun))
	}
	m.Registry.MustRegister(
		m.events, m.wakes, m.sweeps, m.sweepTime, m.decisions, m.misSleeps, m.panics, m.apiRequests, m.leader, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Event counts an event.
func (m *Metrics) Event(e scaler.Event) {
	m.events.WithLabelValues(string(e.Type), string(e.Cause)).Inc()
}

// Wake notes how long a phase of a wake took.
func (m *Metrics) Wake(phase string, took time.Duration) {
	m.wakes.WithLabelValues(phase).Observe(max(0, took).Seconds()) // the clock of NATS may be ahead
}

// Swept notes what a sweep came to.
func (m *Metrics) Swept(s scaler.Sweep) {
	m.sweeps.Inc()
	m.sweepTime.Observe(s.Took.Seconds())
	m.decisions.Reset()
	for reason, n := range s.Decisions {
		m.decisions.WithLabelValues(string(reason)).Set(float64(n))
	}
}

// MisSlept counts a sleep, or a would-be sleep of a dry run, that was a mistake: demand followed at once.
func (m *Metrics) MisSlept(dryRun bool) {
	m.misSleeps.WithLabelValues(strconv.FormatBool(dryRun)).Inc()
}

// Panic counts a panic.
func (m *Metrics) Panic() { m.panics.Inc() }

// APIRequest counts a request to the API server.
func (m *Metrics) APIRequest(verb, code string) { m.apiRequests.WithLabelValues(verb, code).Inc() }

// Leads notes whether this process leads.
func (m *Metrics) Leads(leads bool) {
	if leads {
		m.leader.Set(1)
	} else {
		m.leader.Set(0)
		m.decisions.Reset()
	}
}

// Gauge registers a value that is read at each scrape.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// Counter registers a count, kept elsewhere, that is read at each scrape.
func (m *Metrics) Counter(name, help string, value func() float64) {
	m.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
}

// Drops registers how much of something was dropped, kept elsewhere, that is read at each scrape. What names it: "nats-message".
func (m *Metrics) Drops(what string, count func() uint64) {
	m.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "idle_scaler_drops_total", Help: "What was dropped because it came faster than it could be handled. The log says more.",
		ConstLabels: prometheus.Labels{"what": what},
	}, func() float64 { return float64(count()) }))
}

// Servers registers the count of servers by status, which count yields at each scrape.
func (m *Metrics) Servers(count func() map[policy.Status]int) {
	m.Registry.MustRegister(&servers{count, prometheus.NewDesc("idle_scaler_servers", "Servers by status.", []string{"status"}, nil)})
}

type servers struct {
	count func() map[policy.Status]int
	desc  *prometheus.Desc
}

func (s *servers) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

func (s *servers) Collect(ch chan<- prometheus.Metric) {
	for status, n := range s.count() {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(n), string(status))
	}
}

var _ scaler.Meter = (*Metrics)(nil)
