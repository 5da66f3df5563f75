package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/activitylog"
	"idle-scaler/internal/bus/api"
	"idle-scaler/internal/kube"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/ops"
	"idle-scaler/scaler"
)

// listen opens where health and metrics are served; nil when they are served nowhere.
func listen(address string, logger *slog.Logger) (net.Listener, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w: choose another address by --listen, or \"\" for none", err)
	}
	logger.Info("serving health and metrics", "address", listener.Addr().String())
	return listener, nil
}

// serveHealth serves health and metrics until ctx is done.
func serveHealth(ctx context.Context, listener net.Listener, m *ops.Metrics, checks []ops.Check, withPprof bool) error {
	if listener == nil {
		return nil
	}
	return ops.Serve(ctx, listener, ops.Handler(m, checks, withPprof))
}

// checks are what must hold before this replica can do its work.
func checks(cache *kube.Cache, pings, commands *nats.Conn, log *activitylog.Log, api *api.API) []ops.Check {
	when := func(holds bool, missing string) string {
		if holds {
			return ""
		}
		return missing
	}
	return []ops.Check{
		{Name: "deployments", Missing: func() string { return when(cache.Synced(), "not read yet") }},
		{Name: "settings and autoscalers", Missing: cache.Missing},
		{Name: "nats", Missing: func() string { return when(pings.IsConnected() && commands.IsConnected(), "not connected") }},
		{Name: "activity log", Missing: func() string { return when(log.Counts().Replayed, "not replayed yet") }},
		{Name: "requests", Missing: func() string { return when(api.Answers(), "not answered yet") }},
	}
}

// observe registers what is read when metrics are scraped.
func observe(m *ops.Metrics, core *scaler.Scaler, log *activitylog.Log, recorder *kube.Recorder, drops *natsconn.Drops) {
	m.Servers(core.Count)
	m.Counter("idle_scaler_pings_total", "Pings read from the activity log.", func() float64 { return float64(log.Counts().Pings) })
	m.Counter("idle_scaler_leases_total", "Messages about leases read.", func() float64 { return float64(log.Counts().Leases) })
	m.Counter("idle_scaler_malformed_total", "Messages about activity, leases and pauses that make no sense; a lease that can't be read counts as one of 24h.", func() float64 { return float64(log.Counts().Malformed) })
	m.Drops("kubernetes-event", recorder.Dropped)
	m.Drops("nats-message", drops.Count)
	m.Gauge("idle_scaler_clock_behind_seconds", "How far the clock of NATS is behind that of this process.", func() float64 { return log.Counts().Skew.Seconds() })
	m.Gauge("idle_scaler_blind", "1 while silence proves nothing, so that nothing is put to sleep. The event blinded says why.", func() float64 {
		if core.Blind() != "" {
			return 1
		}
		return 0
	})
}
