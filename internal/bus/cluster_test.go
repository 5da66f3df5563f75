package bus

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

	"idle-scaler/scaler"
)

// cluster is three NATS servers that keep each message three times.
type cluster struct {
	*world
	servers []*server.Server
	urls    []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	subjects, err := NewSubjects(DefaultPrefix)
	check(t, err)
	c := &cluster{world: &world{t: t, subjects: subjects}}
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		check(t, l.Close())
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("nats-", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), Routes: routes, Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: port},
		})
		check(t, err)
		go s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		c.servers = append(c.servers, s)
	}
	for _, s := range c.servers {
		if !s.ReadyForConnections(patiently) {
			t.Fatal("a server does not start")
		}
		c.urls = append(c.urls, s.ClientURL())
	}
	return c
}

func (c *cluster) connect() *nats.Conn {
	c.t.Helper()
	nc, err := Connect(Options{URLs: c.urls, Name: c.t.Name()}, quiet)
	check(c.t, err)
	c.t.Cleanup(nc.Close)
	return nc
}

func (c *cluster) ensure(ctx context.Context, nc *nats.Conn) error {
	return EnsureStreams(ctx, nc, StreamOptions{Subjects: c.subjects, Owner: "here", Replicas: 3}, quiet)
}

// published puts something on a stream, which has no leader for some seconds after a server is gone.
func (c *cluster) published(js jetstream.JetStream, subject string) {
	c.t.Helper()
	eventually(c.t, subject+" to be stored", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := js.Publish(ctx, subject, nil)
		return err == nil
	})
}

// On a cluster of NATS servers with three replicas all works as it does on one: pings and leases are heard and silence is proven, commands come
// once and in order; also after the leaders of the streams have changed, and after one of the servers is gone.
func TestCluster(t *testing.T) {
	c := newCluster(t)
	ctx := context.Background()
	own, daemon := c.connect(), c.connect()
	js, err := jetstream.New(own)
	check(t, err)
	eventually(t, "the streams", func() bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return c.ensure(ctx, own) == nil
	})
	for _, want := range c.options().all() {
		if info := mustStream(t, js, want.Name).CachedInfo(); info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s has %d replicas", want.Name, info.Config.Replicas)
		}
	}
	l := listen(c.world, daemon, func(config *ActivityLogConfig) {
		config.Ensure = func(ctx context.Context) error { return c.ensure(ctx, daemon) }
		config.Patience, config.Heartbeat = 2*time.Second, time.Second
	})
	commands, _ := lead(c.world, daemon, func(config *SessionConfig) {
		config.Ensure = func(ctx context.Context) error { return c.ensure(ctx, daemon) }
		config.Heartbeat = time.Second
	})
	client, err := NewClient(own, c.subjects)
	check(t, err)
	done := uint64(0)
	works := func(when string) {
		t.Helper()
		before := l.tracker.Of(web).Last
		c.published(js, c.subjects.Activity(web))
		eventually(t, "the ping "+when, func() bool { return l.tracker.Of(web).Last.Sequence > before.Sequence })
		holder := fmt.Sprint("gw-", before.Sequence)
		eventually(t, "the lease "+when, func() bool { return client.Lease(ctx, holder, files, time.Hour) == nil })
		eventually(t, "the proof "+when, func() bool { return l.Prove(ctx) == nil })
		if n := len(l.tracker.Leases(files, time.Now())); n == 0 {
			t.Errorf("%s: silence is proven, and a lease is not known", when)
		}
		for _, verb := range []scaler.Verb{scaler.Stop, scaler.Start} {
			c.published(js, c.subjects.Command(verb, web))
		}
		for seen := make(map[scaler.Verb]bool); !seen[scaler.Start]; {
			got := receive(t, "the commands "+when, commands.given)
			got.finish(scaler.Outcome{})
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
	for _, want := range c.options().all() {
		_, err := own.Request("$JS.API.STREAM.LEADER.STEPDOWN."+want.Name, nil, 5*time.Second)
		check(t, err)
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
