package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/client-go/kubernetes"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/activitylog"
	"idle-scaler/internal/bus/api"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/embedded"
	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/kube"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/ops"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// serve is the daemon: it makes the parts, wires them, and runs them until ctx is done or one of them fails.
func serve(ctx context.Context, c *Config, s settings, logger *slog.Logger) (err error) {
	metrics := ops.NewMetrics(version)
	clock := new(activity.Clock)

	// NATS: pings and commands have connections of their own, so that neither waits behind the other.
	urls := c.NATS
	if urls == inProcess {
		server, err := embedded.Start(c.EmbeddedDir, c.EmbeddedPort, logger)
		if err != nil {
			return err
		}
		defer server.Shutdown()
		urls, c.LeaderElect = server.URL(), false // no other replica could reach it
		logger.Info("embedded NATS is ready", "url", urls)
	}
	drops := new(natsconn.Drops)
	pings, err := c.connect(urls, "idle-scaler activity", true, drops, logger)
	if err != nil {
		return err
	}
	commands, err := c.connect(urls, "idle-scaler commands", true, drops, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(pings, commands)) }()
	subjects, err := wire.NewSubjects(c.Prefix)
	if err != nil {
		return err
	}
	ensure := func(ctx context.Context) error {
		return stream.Ensure(ctx, commands, stream.Options{Subjects: subjects, Owner: c.Cluster, Replicas: c.StreamReplicas}, logger)
	}
	events, err := event.NewPublisher(commands, subjects, c.Cluster, ensure)
	if err != nil {
		return err
	}

	// Kubernetes.
	config, err := kube.Connect(c.Kubeconfig, c.KubeContext, version, metrics.APIRequest)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	cache, err := kube.NewCache(client, kube.Scope{Namespaces: c.Namespaces, Selector: c.Selector}, s.servers, clock.Now, logger)
	if err != nil {
		return err
	}
	services := kube.NewServices(cache)
	recorder := kube.NewRecorder(cache, logger)

	// The domain, between the two. The log fills the tracker and the pauses.
	tracker, pauses := activity.NewTracker(c.Settle), scaler.NewPauses()
	log, err := activitylog.New(pings, activitylog.Config{
		Subjects: subjects, Tracker: tracker, Clock: clock, Pauses: pauses, Ensure: ensure,
		Interval: 5 * time.Second, Patience: 2 * time.Second, Heartbeat: 2 * time.Second, Logger: logger,
	})
	if err != nil {
		return err
	}
	core := scaler.New(c.scaler(), tracker, scaler.World{
		Cache: cache, Cluster: kube.NewCluster(cache), Pods: kube.NewPods(cache), Endpoints: services,
		Log: log, Pauses: pauses, Events: published{events, recorder}, Meter: metrics, Now: clock.Now, Logger: logger,
	})
	log.OnActivity, cache.OnChange = core.Enqueue, core.Enqueue
	sessions, err := command.New(commands, command.Config{
		Subjects: subjects, Applier: core, Clock: clock, Leads: core.Leads, Ensure: ensure,
		AckWait: 2 * (c.CommandMaxAge + 2*c.scaler().RetryFor), MaxAckPending: scaler.MaxInHand, Heartbeat: 2 * time.Second, Logger: logger,
	})
	if err != nil {
		return err
	}
	api, err := api.New(commands, api.Config{
		Subjects: subjects, Servers: core, Selector: kube.ParseSelector, Cluster: c.Cluster, Version: serviceVersion(), AtOnce: 1024, Logger: logger,
	})
	if err != nil {
		return err
	}
	observe(metrics, core, log, recorder, drops)

	listener, err := listen(c.Listen, logger)
	if err != nil {
		return err
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
		return serveHealth(ctx, listener, metrics, checks(cache, pings, commands, log, api), c.Pprof)
	}
	elect := func(ctx context.Context) error {
		if !await(ctx, cache.Synced) {
			return nil
		}
		reading, enough := context.WithTimeout(ctx, leadAfter)
		await(reading, func() bool { return cache.Missing() == "" })
		enough()
		return kube.Elect(ctx, config, election, lead)
	}
	answer := func(ctx context.Context) error {
		reading, enough := context.WithTimeout(ctx, answerAfter)
		await(reading, func() bool { return cache.Synced() && cache.Missing() == "" })
		enough()
		return api.Run(ctx)
	}
	open := func(nc *nats.Conn) part { return func(ctx context.Context) error { return natsconn.Watch(ctx, nc) } }
	return operate(ctx, []part{health, cache.Run, services.Run, recorder.Run, open(pings), open(commands)}, []part{func(ctx context.Context) error {
		if err := ensureOnce(ctx, commands, ensure, logger); err != nil { // until NATS is there, we are alive and not ready
			return err
		}
		return operate(ctx, []part{log.Run}, []part{answer, sessions.Run, elect})
	}})
}

// answerAfter is when a replica that has not read the Deployments yet begins to answer requests, which is to say so. Before that those
// replicas that know more are asked, in a rolling update.
const answerAfter = 10 * time.Second

// leadAfter is how long a replica that has read the Deployments waits for what is said about them elsewhere before it leads without: a normal
// start decides nothing on half the settings, and without the right to read the other half servers are woken all the same.
const leadAfter = 15 * time.Second

// published publishes events on the bus, and leaves them on the Deployment once the bus has them.
type published struct {
	*event.Publisher
	recorder *kube.Recorder
}

func (p published) Publish(ctx context.Context, e scaler.Event) error {
	err := p.Publisher.Publish(ctx, e)
	if err == nil {
		p.recorder.Record(e)
	}
	return err
}

// await returns when something holds; it reports whether that came before the end of ctx.
func await(ctx context.Context, holds func() bool) bool {
	for !holds() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return true
}
