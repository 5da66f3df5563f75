package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"k8s.io/client-go/kubernetes"

	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// patience is how long something that has to happen may take on a machine that is busy.
const patience = time.Minute

// bench is what one test works with: a namespace, a NATS server and, once run is called, a daemon between them.
type bench struct {
	t         *testing.T
	namespace string
	cluster
	nats    *server.Server
	options *server.Options // of the NATS server, which keeps its port and its store over a restart
	nc      *nats.Conn
	*client.Client
	program string // run instead of that of all tests, if it is set
	*daemon        // the last one that was started
}

// daemon is one running process of the program.
type daemon struct {
	t       *testing.T
	process *exec.Cmd
	log     *wait.Buffer
	http    string // the address of /readyz and /metrics
	ended   chan struct{}
}

// newBench returns a bench without a daemon.
func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	return newBenchOn(t, cluster{kubeconfig, kube})
}

// cluster is a control plane, as its administrator sees it.
type cluster struct {
	kubeconfig string
	kube       *kubernetes.Clientset
}

// newBenchOn returns a bench on a cluster, without a daemon.
func newBenchOn(t *testing.T, c cluster) *bench {
	t.Helper()
	b := &bench{t: t, namespace: newNamespace(t, c.kube), cluster: c, options: &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	b.startNATS()
	b.connect()
	return b
}

// startNATS starts the NATS server; a second time, where it was and with what it has stored.
func (b *bench) startNATS() {
	b.t.Helper()
	s, err := server.NewServer(b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		b.t.Fatal("NATS does not start")
	}
	if b.nats == nil {
		b.t.Cleanup(b.stopNATS)
	}
	b.nats, b.options.Port = s, s.Addr().(*net.TCPAddr).Port
}

func (b *bench) stopNATS() {
	b.nats.Shutdown()
	b.nats.WaitForShutdown()
}

// connect makes the connection and the client of the test.
func (b *bench) connect(options ...nats.Option) {
	b.t.Helper()
	options = append(options, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	var err error
	if b.nc, err = nats.Connect(b.nats.ClientURL(), options...); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.nc.Close)
	subjects, err := wire.NewSubjects("cortex.mcp")
	if err != nil {
		b.t.Fatal(err)
	}
	if b.Client, err = client.New(b.nc, subjects); err != nil {
		b.t.Fatal(err)
	}
}

// idle are flags with which an unused server sleeps after some seconds.
var idle = []string{"--idle-after", "3s", "--schedule", "@every 1s", "--settle", "0s", "--min-awake", "0s"}

// run starts the daemon with more flags, and returns when it is ready. It ends with the test, which fails if it ends badly.
func (b *bench) run(flags ...string) *daemon {
	b.t.Helper()
	d := b.start(flags...)
	b.t.Cleanup(d.stop)
	eventually(b.t, "the daemon is ready", func() error {
		code, body, err := d.get("/readyz")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%d %s %w", code, body, err)
		}
		return nil
	})
	return d
}

// start starts the daemon with more flags, and returns when it serves /readyz.
func (b *bench) start(flags ...string) *daemon {
	b.t.Helper()
	args := append([]string{
		"run", "--kubeconfig", b.kubeconfig, "--nats", b.nats.ClientURL(), "--namespaces", b.namespace,
		"--lease-namespace", b.namespace, "--lease-duration", "10s", "--listen", "127.0.0.1:0", "--log-level", "debug",
	}, flags...)
	d := &daemon{t: b.t, process: exec.Command(cmp.Or(b.program, program), args...), log: &wait.Buffer{}, ended: make(chan struct{})}
	d.process.Stderr = d.log
	d.process.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() { _ = d.process.Wait(); close(d.ended) }()
	b.daemon = d
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("the daemon with process %d said:\n%s", d.process.Process.Pid, d.log)
		}
	})
	eventually(b.t, "the daemon serves health", func() error {
		d.http = d.logged("serving health and metrics", "address")
		if d.http == "" {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	return d
}

// stop asks the daemon to end, as Kubernetes does, and expects that it ends well. Once it has ended nothing happens.
func (d *daemon) stop() {
	d.t.Helper()
	select {
	case <-d.ended:
		return
	default:
	}
	_ = d.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
		if code := d.process.ProcessState.ExitCode(); code != 0 {
			d.t.Errorf("the daemon ended with %d", code)
		}
	case <-time.After(patience):
		_ = d.process.Process.Signal(syscall.SIGQUIT) // says what it is doing
		<-d.ended
		d.t.Error("the daemon does not end")
	}
}

// kill ends the daemon without a chance to finish anything.
func (d *daemon) kill() {
	_ = d.process.Process.Kill()
	<-d.ended
}

// get asks the daemon over HTTP.
func (d *daemon) get(path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.http+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// logged returns a value of the first log line with a message, empty when there is none.
func (d *daemon) logged(message, key string) string {
	for line := range strings.Lines(d.log.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			return fmt.Sprint(entry[key])
		}
	}
	return ""
}

// id is a server of the test's namespace.
func (b *bench) id(name string) scaler.ID { return scaler.ID{Namespace: b.namespace, Name: name} }

// ping says that a server is used now.
func (b *bench) ping(name string) {
	b.t.Helper()
	if err := b.Ping(b.t.Context(), b.id(name)); err != nil {
		b.t.Fatal(err)
	}
}

// status asks the daemon for all there is to say about a server.
func (b *bench) status(name string) (wire.ServerStatus, error) {
	return b.Status(b.t.Context(), b.id(name))
}

// awaitReason waits until the daemon gives a reason for how it treats a server.
func (b *bench) awaitReason(name string, reason policy.Reason) (s wire.ServerStatus) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("%s is treated as %s", name, reason), func() (err error) {
		if s, err = b.status(name); err == nil && s.Decision.Reason != string(reason) {
			err = fmt.Errorf("it is %s: %s", s.Decision.Reason, s.Decision.Text)
		}
		return err
	})
	return s
}

// order publishes a command as "nats pub" does.
func (b *bench) order(verb, name, payload string) {
	b.t.Helper()
	subject := fmt.Sprintf("cortex.mcp.command.%s.%s.%s", verb, b.namespace, name)
	if _, err := b.nc.Request(subject, []byte(payload), patience); err != nil { // the answer is the stream's
		b.t.Fatal(err)
	}
}

// events subscribes to what happens in the namespace from now on.
func (b *bench) events() *events {
	b.t.Helper()
	e := &events{t: b.t}
	sub, err := b.nc.Subscribe("cortex.mcp.event.*."+b.namespace+".>", func(m *nats.Msg) {
		decoded, err := wire.DecodeEvent(m.Data)
		e.mu.Lock()
		defer e.mu.Unlock()
		if err != nil {
			e.t.Errorf("event %s: %v", m.Subject, err)
		}
		e.seen = append(e.seen, event.FromWire(decoded))
	})
	if err == nil {
		err = b.nc.Flush()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return e
}

// events are those that were seen.
type events struct {
	t    *testing.T
	mu   sync.Mutex
	seen []scaler.Event
}

// next waits for the first event of a type about a server.
func (e *events) next(kind scaler.EventType, name string) scaler.Event {
	e.t.Helper()
	var found scaler.Event
	eventually(e.t, fmt.Sprintf("%s is %s", name, kind), func() (err error) {
		found, err = e.first(kind, name)
		return err
	})
	return found
}

// first returns the first event of a type about a server, if there was one.
func (e *events) first(kind scaler.EventType, name string) (scaler.Event, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.seen {
		if event.Type == kind && event.Server.Name == name {
			return event, nil
		}
	}
	return scaler.Event{}, fmt.Errorf("seen are %d others: %v", len(e.seen), e.seen)
}

// eventually waits until check says nil, which it has to within patience.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	within(t, patience, what, check)
}

// within is eventually for what may take longer, or not as long.
func within(t *testing.T, most time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(most)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain until %s: %v", most, what, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks; nothing depends on it
	}
}

// consistently expects that check says nil for as long as d: for what must not happen.
func consistently(t *testing.T, d time.Duration, what string, check func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := check(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
