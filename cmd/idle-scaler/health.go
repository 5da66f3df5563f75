package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/activitylog"
	"idle-scaler/internal/bus/api"
	"idle-scaler/internal/kube"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/ops"
	"idle-scaler/scaler"
)

// serving listens on an address, and returns the part that answers there. An empty address serves
// nothing.
func serving(address string, handler http.Handler, logger *slog.Logger) (part, error) {
	if address == "" {
		return func(context.Context) error { return nil }, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w: choose another address by --listen, or \"\" for none", err)
	}
	logger.Info("serving health and metrics", "address", listener.Addr().String())
	return func(ctx context.Context) error { return ops.Serve(ctx, listener, handler) }, nil
}

// checks are what this replica needs to do its work.
func checks(cache *kube.Cache, pings, commands *nats.Conn, log *activitylog.Log, api *api.API) []ops.Check {
	unless := func(ok bool, missing string) string {
		if ok {
			return ""
		}
		return missing
	}
	connected := func() bool { return pings.IsConnected() && commands.IsConnected() }
	return []ops.Check{
		{Name: "deployments", Missing: func() string { return unless(cache.Synced(), "not read yet") }},
		{Name: "settings and autoscalers", Missing: cache.Missing},
		{Name: "nats", Missing: func() string { return unless(connected(), "not connected") }},
		{Name: "activity log", Missing: func() string { return unless(log.Counts().Replayed, "not replayed yet") }},
		{Name: "requests", Missing: func() string { return unless(api.Answers(), "not answered yet") }},
	}
}

// observe adds the figures that each scrape reads.
func observe(m *ops.Metrics, core *scaler.Scaler, log *activitylog.Log, events *kube.Recorder, drops *natsconn.Drops) {
	m.Servers(core.Count)
	m.Counter("idle_scaler_pings_total", "Pings read from the activity log.", nil,
		func() uint64 { return log.Counts().Pings })
	m.Counter("idle_scaler_leases_total", "Messages about leases read.", nil,
		func() uint64 { return log.Counts().Leases })
	m.Counter("idle_scaler_malformed_total", "Unreadable messages about activity, leases and pauses; "+
		"an unreadable lease counts as one of 24h.", nil, func() uint64 { return log.Counts().Malformed })
	m.Drops("kubernetes-event", events.Dropped)
	m.Drops("nats-message", drops.Count)
	m.Gauge("idle_scaler_clock_behind_seconds", "How far the clock of NATS is behind that of this process.",
		func() float64 { return log.Counts().Skew.Seconds() })
	m.Gauge("idle_scaler_blind", "1 while silence proves nothing, so nothing is put to sleep. The event blinded says why.",
		func() float64 {
			if core.Blind() != "" {
				return 1
			}
			return 0
		})
}
