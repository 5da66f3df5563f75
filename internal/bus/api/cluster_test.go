package api

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/activitylog"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// cluster is three NATS servers that keep each message three times.
type cluster struct {
	*natstest.Server
	servers []*server.Server
	urls    []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	c := &cluster{Server: &natstest.Server{T: t, Subjects: subjects}}
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		natstest.Check(t, err)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		natstest.Check(t, l.Close())
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("nats-", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), Routes: routes,
			Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: port},
		})
		natstest.Check(t, err)
		go s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		c.servers = append(c.servers, s)
	}
	for _, s := range c.servers {
		if !s.ReadyForConnections(wait.Patience) {
			t.Fatal("a server does not start")
		}
		c.urls = append(c.urls, s.ClientURL())
	}
	return c
}

func (c *cluster) connect() *nats.Conn {
	c.T.Helper()
	nc, err := natsconn.Connect(natsconn.Options{URLs: c.urls, Name: c.T.Name()}, natstest.Quiet)
	natstest.Check(c.T, err)
	c.T.Cleanup(nc.Close)
	return nc
}

func (c *cluster) ensure(ctx context.Context, nc *nats.Conn) error {
	return stream.Ensure(ctx, nc, stream.Options{Subjects: c.Subjects, Owner: "here", Replicas: 3}, natstest.Quiet)
}

var kinds = []stream.Kind{stream.Commands, stream.Activity, stream.Leases, stream.Pauses, stream.Events}

func (c *cluster) info(js jetstream.JetStream, kind stream.Kind) *jetstream.StreamInfo {
	c.T.Helper()
	found, err := js.Stream(context.Background(), kind.Name(c.Subjects))
	natstest.Check(c.T, err)
	return found.CachedInfo()
}

// published puts a message on a stream, which has no leader for some seconds after a server is
// gone.
func (c *cluster) published(js jetstream.JetStream, subject string) {
	c.T.Helper()
	wait.Until(c.T, subject+" to be stored", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := js.Publish(ctx, subject, nil)
		return err == nil
	})
}

// On a cluster of three NATS servers all works as on one: the tracker knows pings and leases,
// silence is proven, and commands come once and in order. The same holds after the leaders of the
// streams have changed, and after one of the servers is gone.
func TestCluster(t *testing.T) {
	c := newCluster(t)
	ctx := context.Background()
	own, daemon := c.connect(), c.connect()
	js, err := jetstream.New(own)
	natstest.Check(t, err)
	wait.Until(t, "the streams", func() bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return c.ensure(ctx, own) == nil
	})
	for _, kind := range kinds {
		if info := c.info(js, kind); info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s has %d replicas", kind.Name(c.Subjects), info.Config.Replicas)
		}
	}
	tracker := activity.NewTracker(0)
	log, err := activitylog.New(daemon, activitylog.Config{
		Subjects: c.Subjects, Tracker: tracker, Clock: new(activity.Clock), Pauses: scaler.NewPauses(),
		Ensure:   func(ctx context.Context) error { return c.ensure(ctx, daemon) },
		Interval: 50 * time.Millisecond, Patience: 2 * time.Second, Heartbeat: time.Second, Logger: natstest.Quiet,
	})
	natstest.Check(t, err)
	wait.Run(t, log.Run)
	commands, _ := leader.Lead(c.Server, daemon, func(config *command.Config) {
		config.Ensure = func(ctx context.Context) error { return c.ensure(ctx, daemon) }
		config.Heartbeat = time.Second
	})
	sender, err := client.New(own, c.Subjects)
	natstest.Check(t, err)
	done := uint64(0)
	works := func(when string) {
		t.Helper()
		before := tracker.Of(web).Last
		c.published(js, c.Subjects.Activity(web))
		wait.Until(t, "the ping "+when, func() bool { return tracker.Of(web).Last.Sequence > before.Sequence })
		holder := fmt.Sprint("gw-", before.Sequence)
		wait.Until(t, "the lease "+when, func() bool { return sender.Lease(ctx, holder, files, time.Hour) == nil })
		stored := time.Now()
		wait.Until(t, "a proof from after the lease "+when, func() bool {
			return time.Since(stored) > scaler.MaxDecisionAge && log.Prove(ctx) == nil
		})
		if n := len(tracker.Leases(files, time.Now())); n == 0 {
			t.Errorf("%s: silence is proven, and a lease is not known", when)
		}
		for _, verb := range []wire.Verb{wire.VerbStop, wire.VerbStart} {
			c.published(js, c.Subjects.Command(verb, web))
		}
		for seen := make(map[scaler.Verb]bool); !seen[scaler.Start]; {
			got := wait.For(t, "the commands "+when, commands.Given)
			got.Finish(scaler.Outcome{})
			if got.Stamp.Sequence <= done { // its acknowledgement was lost
				continue
			}
			seen[got.Verb], done = true, got.Stamp.Sequence
			if got.Verb == scaler.Start && !seen[scaler.Stop] {
				t.Errorf("%s: the start came before the stop", when)
			}
		}
	}
	works("at first")
	for _, kind := range kinds {
		_, err := own.Request("$JS.API.STREAM.LEADER.STEPDOWN."+kind.Name(c.Subjects), nil, 5*time.Second)
		natstest.Check(t, err)
	}
	works("with other leaders")
	for _, s := range c.servers {
		if s.Name() == daemon.ConnectedServerName() {
			s.Shutdown()
			s.WaitForShutdown()
			break
		}
	}
	works("with two of three servers")
}
