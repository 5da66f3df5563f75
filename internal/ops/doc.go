// Package ops shows operators how the daemon is: [Metrics] counts for Prometheus, [Handler] answers /healthz, /readyz and
// /metrics. It imports the domain, and neither NATS nor Kubernetes.
package ops
