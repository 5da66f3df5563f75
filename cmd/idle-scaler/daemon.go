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
	"idle-scaler/scaler"
)

// serve is the daemon. It makes the parts, from the connections up to the requests, and runs them
// until ctx is done or one of them fails.
func serve(ctx context.Context, c *Config, s settings, logger *slog.Logger) (err error) {
	metrics := ops.NewMetrics(version)
	clock := new(activity.Clock)

	// NATS: pings and commands have a connection each, so that neither waits behind the other.
	urls := c.NATS
	if urls == inProcess {
		server, err := embedded.Start(c.EmbeddedDir, c.EmbeddedPort, logger)
		if err != nil {
			return err
		}
		defer server.Shutdown()
		urls, c.LeaderElect = server.URL(), false // no other replica can reach it
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
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		err = errors.Join(err, natsconn.Close(ctx, pings), natsconn.Close(ctx, commands))
	}()
	subjects := c.subjects
	ensure := func(ctx context.Context) error {
		options := stream.Options{Subjects: subjects, Owner: c.Cluster, Replicas: c.StreamReplicas}
		return stream.Ensure(ctx, commands, options, logger)
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
		AckWait: 2 * (c.CommandMaxAge + 2*c.scaler().RetryFor), MaxAckPending: scaler.MaxInHand,
		Heartbeat: 2 * time.Second, Logger: logger,
	})
	if err != nil {
		return err
	}
	api, err := api.New(commands, api.Config{
		Subjects: subjects, Servers: core, Orders: core, Selector: kube.ParseSelector,
		Cluster: c.Cluster, Version: serviceVersion(), AtOnce: 1024, Logger: logger,
	})
	if err != nil {
		return err
	}
	observe(metrics, core, log, recorder, drops)
	handler := ops.Handler(metrics, checks(cache, pings, commands, log, api), c.Pprof)
	health, err := serving(c.Listen, handler, logger)
	if err != nil {
		return err
	}

	// The order in which they run: leading needs the caches, requests and commands need the
	// streams.
	election := c.Election
	election.Off, election.Logger = !c.LeaderElect, logger
	election.RenewDeadline = election.LeaseDuration * 2 / 3
	election.RetryPeriod = min(election.LeaseDuration/8, time.Second)
	lead := func(ctx context.Context, leads func() bool) {
		metrics.Leads(true)
		defer metrics.Leads(false)
		logger.Info("leading")
		core.Lead(ctx, s.schedule, leads)
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
	closed := func(nc *nats.Conn) part { return func(ctx context.Context) error { return natsconn.Watch(ctx, nc) } }
	work := func(ctx context.Context) error {
		if err := ensureOnce(ctx, commands, ensure, logger); err != nil {
			return err
		}
		return operate(ctx, []part{log.Run}, []part{answer, sessions.Run, elect})
	}
	needed := []part{health, cache.Run, services.Run, recorder.Run, closed(pings), closed(commands)}
	return operate(ctx, needed, []part{work})
}

// answerAfter is when a replica that has not read the Deployments yet begins to answer requests,
// with an error that says so. Before that, in a rolling update, the other replicas answer.
const answerAfter = 10 * time.Second

// leadAfter is how long a replica that has read the Deployments waits for the Namespaces and
// autoscalers before it leads without them. So a normal start never decides on half of the
// settings, and a daemon without the permission to read the other half still wakes servers.
const leadAfter = 15 * time.Second

// published publishes an event. First the stream stores it, which Publish waits for; then it is
// recorded as a Kubernetes Event too. So kubectl never shows an event that "history" does not have.
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

// await waits until something holds, and reports whether it does before ctx is done.
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
