// Package ops shows operators how the daemon is: [Metrics] counts for Prometheus, [Handler] answers /healthz, /readyz and
// /metrics. It knows the domain, and neither NATS nor Kubernetes.
package ops
