// Package ops shows operators how the daemon does: [Metrics] collects figures for Prometheus, and
// [Handler] serves /healthz, /readyz and /metrics. It knows neither NATS nor Kubernetes.
package ops
