package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"idle-scaler/activity"
	"idle-scaler/internal/bus"
	"idle-scaler/internal/kube"
	"idle-scaler/internal/ops"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// serve is the daemon: it makes the parts, wires them, and runs them until ctx is done or one of them fails.
func serve(ctx context.Context, c *Config, s settings, logger *slog.Logger) (err error) {
	metrics := ops.NewMetrics(version)

	// NATS: pings and commands have connections of their own, so that neither waits behind the other.
	urls := c.NATS
	if urls == embedded {
		server, err := bus.StartEmbedded(c.EmbeddedDir, c.EmbeddedPort, logger)
		if err != nil {
			return err
		}
		defer server.Shutdown()
		urls, c.LeaderElect = server.URL(), false // no other replica could reach it
		logger.Info("embedded NATS is ready", "url", urls)
	}
	pings, err := c.connect(urls, "idle-scaler activity", true, logger)
	if err != nil {
		return err
	}
	commands, err := c.connect(urls, "idle-scaler commands", true, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(pings, commands)) }()
	subjects, err := bus.NewSubjects(c.Prefix)
	if err != nil {
		return err
	}
	ensure := func(ctx context.Context) error {
		return bus.EnsureStreams(ctx, commands, bus.StreamOptions{Subjects: subjects, Owner: c.Cluster, Replicas: c.StreamReplicas}, logger)
	}
	events, err := bus.NewEvents(commands, subjects, c.Cluster)
	if err != nil {
		return err
	}

	// Kubernetes: its Events have a client of their own, so that they delay nothing.
	config, err := kube.Connect(c.Kubeconfig, c.KubeContext, version, metrics.APIRequest)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	forEvents, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	cache, err := kube.NewCache(client, kube.Scope{Namespaces: c.Namespaces, Selector: c.Selector}, policy.Defaults(s.idleAfter), logger)
	if err != nil {
		return err
	}
	services := kube.NewServices(cache)
	recorder := kube.NewRecorder(forEvents, cache, logger)

	// The domain, between the two.
	tracker := activity.NewTracker(c.Settle)
	var core *scaler.Scaler
	log, err := bus.NewActivityLog(pings, bus.ActivityLogConfig{
		Subjects: subjects, Tracker: tracker, OnActivity: func(id activity.ID) { core.Consider(id) }, Ensure: ensure,
		Interval: 5 * time.Second, Patience: 2 * time.Second, Heartbeat: 2 * time.Second, Logger: logger,
	})
	if err != nil {
		return err
	}
	core = scaler.New(c.scaler(), tracker, scaler.World{
		Cache: cache, Cluster: kube.NewCluster(cache), Pods: kube.NewPods(cache), Endpoints: services,
		Log: log, Events: told{events, recorder}, Meter: metrics, Now: time.Now, Logger: logger,
	})
	cache.OnChange = core.Consider
	sessions, err := bus.NewSessions(commands, bus.SessionConfig{
		Subjects: subjects, Commands: core, Leads: core.Leads, Ensure: ensure,
		AckWait: 2*c.CommandMaxAge + c.MaxWait, InFlight: 4096, Heartbeat: 2 * time.Second, Logger: logger,
	})
	if err != nil {
		return err
	}
	api, err := bus.NewAPI(commands, bus.APIConfig{
		Subjects: subjects, Servers: core, Selector: kube.ParseSelector, Cluster: c.Cluster, Version: serviceVersion(), AtOnce: 1024, Logger: logger,
	})
	if err != nil {
		return err
	}
	observe(metrics, core, log)

	var listener net.Listener
	if c.Listen != "" {
		if listener, err = net.Listen("tcp", c.Listen); err != nil {
			return fmt.Errorf("listen: %w: choose another address by --listen, or \"\" for none", err)
		}
		logger.Info("serving health and metrics", "address", listener.Addr().String())
	}
	election := kube.Election{
		Off: !c.LeaderElect, Namespace: c.LeaseNamespace, Name: c.LeaseName, LeaseDuration: c.LeaseDuration,
		RenewDeadline: c.LeaseDuration * 2 / 3, RetryPeriod: min(c.LeaseDuration/8, time.Second), Logger: logger,
	}
	lead := func(ctx context.Context, leads func() bool) {
		metrics.Leads(true)
		defer metrics.Leads(false)
		logger.Info("leading")
		core.Lead(ctx, s.schedule, leads)
	}
	health := func(ctx context.Context) error {
		if listener == nil {
			return nil
		}
		return ops.Serve(ctx, listener, ops.Handler(metrics, checks(cache, commands, log, api), c.Pprof))
	}
	elect := func(ctx context.Context) error {
		if !synced(ctx, cache) {
			return nil
		}
		return kube.Elect(ctx, config, election, lead)
	}
	answer := func(ctx context.Context) error {
		reading, enough := context.WithTimeout(ctx, answerAfter)
		synced(reading, cache)
		enough()
		return api.Run(ctx)
	}
	return operate(ctx, []part{health, cache.Run, services.Run, recorder.Run}, []part{func(ctx context.Context) error {
		if err := ensureOnce(ctx, commands, ensure, logger); err != nil { // until NATS is there, we are alive and not ready
			return err
		}
		return operate(ctx, []part{log.Run}, []part{answer, sessions.Run, elect})
	}})
}

// answerAfter is when a replica that has not read the Deployments yet begins to answer requests, which is to say so. Before that those
// replicas that know more are asked, in a rolling update.
const answerAfter = 10 * time.Second

// part runs until its context is done, or fails.
type part func(context.Context) error

// operate runs all parts. When ctx is done, or one has failed, those that take orders end first, and then what they needed to finish.
func operate(ctx context.Context, needed, taking []part) error {
	lower, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	upper, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := func(group *errgroup.Group, ctx context.Context, run part) {
		group.Go(func() error {
			err := run(ctx)
			if err != nil {
				cancel()
			}
			return err
		})
	}
	var base, front errgroup.Group
	for _, run := range needed {
		begin(&base, lower, run)
	}
	for _, run := range taking {
		begin(&front, upper, run)
	}
	err := front.Wait()
	stop()
	return errors.Join(err, base.Wait())
}

// told publishes events on the bus, and leaves them on the Deployment once the bus has them.
type told struct {
	*bus.Events
	recorder *kube.Recorder
}

func (t told) Publish(ctx context.Context, e scaler.Event) error {
	err := t.Events.Publish(ctx, e)
	if err == nil {
		t.recorder.Record(e)
	}
	return err
}

// connect opens a connection to NATS. With retry it is there at once, and connects as soon as NATS can be reached.
func (c *natsConfig) connect(servers, name string, retry bool, logger *slog.Logger) (*nats.Conn, error) {
	urls, err := natsURLs(servers)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return bus.Connect(bus.Options{
		URLs: urls, CredsFile: c.Creds, NKeyFile: c.NKey, User: c.User, Password: c.Password, Token: c.Token,
		CAFile: c.CA, CertFile: c.Cert, KeyFile: c.Key, Name: name, InboxPrefix: c.Inbox, Retry: retry,
	}, logger)
}

// closeWithin is how long the connections may take to send what is left. With scaler.Config.DrainFor it stays below the 30
// seconds that Kubernetes gives a pod.
const closeWithin = 5 * time.Second

func closeAll(connections ...*nats.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	var errs []error
	for _, nc := range connections {
		errs = append(errs, bus.Close(ctx, nc))
	}
	return errors.Join(errs...)
}

// ensureOnce makes the streams as soon as NATS can be reached. What is wrong with them is an error; that NATS is away is not.
func ensureOnce(ctx context.Context, nc *nats.Conn, ensure func(context.Context) error, logger *slog.Logger) error {
	for {
		if nc.IsConnected() {
			err := ensure(ctx)
			if err == nil || nc.IsConnected() && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			logger.Warn("cannot look at the streams, trying again", "err", err)
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// synced returns when all servers have been read once; it reports whether that came before the end of ctx.
func synced(ctx context.Context, cache *kube.Cache) bool {
	for !cache.Synced() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// checks are what must hold before this replica can do its work.
func checks(cache *kube.Cache, nc *nats.Conn, log *bus.ActivityLog, api *bus.API) []ops.Check {
	when := func(holds bool, missing string) string {
		if holds {
			return ""
		}
		return missing
	}
	return []ops.Check{
		{Name: "deployments", Missing: func() string { return when(cache.Synced(), "not read yet") }},
		{Name: "nats", Missing: func() string { return when(nc.IsConnected(), "not connected") }},
		{Name: "activity log", Missing: func() string { return when(log.Counts().Replayed, "not replayed yet") }},
		{Name: "requests", Missing: func() string { return when(api.Answers(), "not answered yet") }},
	}
}

// observe registers what is read when metrics are scraped.
func observe(m *ops.Metrics, core *scaler.Scaler, log *bus.ActivityLog) {
	m.Servers(core.Count)
	m.Counter("idle_scaler_pings_total", "Pings read from the activity log.", func() float64 { return float64(log.Counts().Pings) })
	m.Counter("idle_scaler_leases_total", "Messages about leases read.", func() float64 { return float64(log.Counts().Leases) })
	m.Counter("idle_scaler_malformed_total", "Messages about activity that were ignored because they make no sense.", func() float64 { return float64(log.Counts().Malformed) })
	m.Gauge("idle_scaler_clock_behind_seconds", "How far the clock of NATS is behind that of this process.", func() float64 { return log.Counts().Skew.Seconds() })
	m.Gauge("idle_scaler_blind", "1 while the activity log can't be heard, so that nothing is put to sleep.", func() float64 {
		if log.Counts().Blind != "" {
			return 1
		}
		return 0
	})
}
