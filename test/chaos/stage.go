package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say how a run is to be.
type Options struct {
	Seed     uint64
	Duration time.Duration // of faults and workload; what comes before and after is about a minute
	Servers  int
	Dir      string // where all is written
	Cluster  string // the program of the control plane
	Daemon   string // the program of the daemon, with a clock that can be wrong
	Log      func(format string, args ...any)
}

// replicas of the daemon.
const replicas = 3

// stage is everything that runs.
type stage struct {
	Options
	record  *recorder
	control control
	broker  broker
	daemons []*daemon
	history *history
	work    *workload

	background sync.WaitGroup
}

// Run makes a run, and returns what was seen of it. An error is one of the harness.
func Run(ctx context.Context, o Options) (*Record, error) {
	s := &stage{Options: o, record: &recorder{Record: Record{Seed: o.Seed, Versions: make(map[string][]*Version)}}}
	ctx, cancel := context.WithCancel(ctx)
	defer s.background.Wait()
	defer s.killAll()
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	s.Log("faults and workload for %s", o.Duration)
	if err := s.middle(ctx); err != nil {
		return nil, err
	}
	if err := s.end(ctx); err != nil {
		return nil, err
	}
	cancel()
	s.background.Wait()
	return s.record.finish(), nil
}

// begin starts everything, and makes the servers.
func (s *stage) begin(ctx context.Context) error {
	s.broker.program, s.broker.dir = filepath.Join(s.Dir, "nats-server"), filepath.Join(s.Dir, "nats")
	s.control.program, s.control.dir = s.Cluster, filepath.Join(s.Dir, "cluster")
	if _, err := os.Stat(s.Daemon); err != nil {
		return fmt.Errorf("%w (build it by \"make clock\")", err)
	}
	err := build(ctx, s.broker.program, "idle-scaler/test/chaos/nats")
	if err == nil {
		s.control.port, err = freePort()
	}
	if err == nil {
		s.broker.port, err = freePort()
	}
	if err == nil {
		err = s.broker.start()
	}
	if err == nil {
		err = s.control.start()
	}
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.control.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	// Nothing is kept for later while NATS is away: what was not acknowledged is not sent behind our back.
	nc, err := nats.Connect("nats://"+s.broker.address(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	s.work = &workload{nc: nc, js: js, client: client, record: s.record}
	s.history = &history{client: client, record: s.record}
	if err := s.populate(ctx); err != nil {
		return err
	}
	api, err := url.Parse(config.Host)
	if err != nil {
		return err
	}
	s.background.Go(func() { s.history.run(ctx) })
	s.background.Go(func() { s.noteStalls(ctx) })
	clocks := rand.New(rand.NewPCG(s.Seed, 3))
	for i := range replicas {
		d, err := newDaemon(i, s.Daemon, s.Dir, s.record, s.broker.address(), api.Host, s.control.kubeconfig)
		if err != nil {
			return err
		}
		ahead, _ := wrongClock(clocks)
		d.setClock(ahead)
		s.daemons = append(s.daemons, d)
		s.background.Go(func() { d.run(ctx) })
		s.background.Go(func() { d.watch(ctx) })
	}
	return s.await(ctx, "a leader", time.Minute, func() string {
		for _, d := range s.daemons {
			if d.leads(ctx) {
				return ""
			}
		}
		return "nobody leads"
	})
}

// populate makes the servers.
func (s *stage) populate(ctx context.Context) error {
	random := rand.New(rand.NewPCG(s.Seed, 0))
	s.record.Servers = newServers(s.Servers, random)
	_, err := s.work.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	for _, name := range sorted(s.record.Servers) {
		if err == nil {
			err = s.work.create(ctx, s.record.Servers[name], random)
		}
	}
	return err
}

// middle lets faults and workload go on for as long as was asked for.
func (s *stage) middle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.Duration)
	defer cancel()
	f := &faults{stage: s, seed: s.Seed, failed: make(chan error, 16)}
	var all sync.WaitGroup
	all.Go(func() { f.run(ctx) })
	all.Go(func() { s.work.run(ctx) })
	all.Wait()
	select {
	case err := <-f.failed:
		return fmt.Errorf("a fault could not be mended: %w", err)
	default:
		return nil
	}
}

// How long the harness naps between two looks at its own watch, and how much longer a nap has to last for the machine to have stood still.
const (
	nap       = 100 * time.Millisecond
	overslept = 500 * time.Millisecond
)

// noteStalls records when the machine stands still.
func (s *stage) noteStalls(ctx context.Context) {
	for ctx.Err() == nil {
		from := time.Now()
		pause(ctx, nap)
		if to := time.Now(); to.Sub(from) > nap+overslept {
			s.record.stalled(Stall{from, to})
		}
	}
}

// await waits until missing says that nothing is.
func (s *stage) await(ctx context.Context, what string, most time.Duration, missing func() string) error {
	for limit := time.Now().Add(most); ; {
		m := missing()
		switch {
		case m == "":
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(limit):
			return fmt.Errorf("waited %s in vain for %s: %s", most.Round(time.Second), what, m)
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// killAll ends whatever still runs.
func (s *stage) killAll() {
	for _, d := range s.daemons {
		d.kill()
		_ = d.nats.Close()
		_ = d.kube.Close()
	}
	if s.work != nil {
		s.work.nc.Close()
	}
	for _, p := range []*process{s.broker.process, s.control.process} {
		if p != nil {
			p.kill()
		}
	}
}
