package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// world is one namespace of the cluster and a NATS server; once run is called, with a daemon
// between them.
type world struct {
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

// cluster is a control plane, as its administrator sees it.
type cluster struct {
	kubeconfig string
	kube       *kubernetes.Clientset
}

// newWorld returns a world without a daemon. Its test runs beside others.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return newWorldOn(t, cluster{kubeconfig, kube})
}

// newWorldOn returns a world on a cluster, without a daemon.
func newWorldOn(t *testing.T, c cluster) *world {
	t.Helper()
	w := &world{t: t, namespace: newNamespace(t, c.kube), cluster: c, options: &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	w.startNATS()
	w.connect()
	return w
}

// newNamespace makes a namespace that no other test has.
func newNamespace(t *testing.T, kube *kubernetes.Clientset) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	made, err := kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	natstest.Check(t, err)
	return made.Name
}

// startNATS starts the NATS server; a second time, where it was and with what it has stored.
func (w *world) startNATS() {
	w.t.Helper()
	s, err := server.NewServer(w.options)
	natstest.Check(w.t, err)
	go s.Start()
	if !s.ReadyForConnections(wait.Patience) {
		w.t.Fatal("NATS does not start")
	}
	if w.nats == nil {
		w.t.Cleanup(w.stopNATS)
	}
	w.nats, w.options.Port = s, s.Addr().(*net.TCPAddr).Port
}

func (w *world) stopNATS() {
	w.nats.Shutdown()
	w.nats.WaitForShutdown()
}

// connect makes the connection and the client of the test.
func (w *world) connect(options ...nats.Option) {
	w.t.Helper()
	options = append(options, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	var err error
	w.nc, err = nats.Connect(w.nats.ClientURL(), options...)
	natstest.Check(w.t, err)
	w.t.Cleanup(w.nc.Close)
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(w.t, err)
	w.Client, err = client.New(w.nc, subjects)
	natstest.Check(w.t, err)
}

// The streams that tests look at.
const (
	activityStream = "CORTEX_MCP_ACTIVITY"
	commandStream  = "CORTEX_MCP_COMMANDS"
	eventStream    = "CORTEX_MCP_EVENTS"
)

// stream returns a stream, if it is there.
func (w *world) stream(name string) (jetstream.Stream, error) {
	js, err := jetstream.New(w.nc)
	if err != nil {
		return nil, err
	}
	return js.Stream(w.t.Context(), name)
}

// holds is an error unless a stream has so many messages.
func (w *world) holds(name string, want uint64) error {
	stream, err := w.stream(name)
	if err != nil {
		return err
	}
	if got := stream.CachedInfo().State.Msgs; got != want {
		return fmt.Errorf("stream %s has %d messages", name, got)
	}
	return nil
}

// id is a server of the world's namespace.
func (w *world) id(name string) scaler.ID { return scaler.ID{Namespace: w.namespace, Name: name} }

// ping says that a server is used now.
func (w *world) ping(name string) {
	w.t.Helper()
	natstest.Check(w.t, w.Ping(w.t.Context(), w.id(name)))
}

// lease says that the test uses a server for so long.
func (w *world) lease(name string, ttl time.Duration) {
	w.t.Helper()
	natstest.Check(w.t, w.Lease(w.t.Context(), "the-test", w.id(name), ttl))
}

// publish publishes a command as "nats pub" does, and returns when it is stored.
func (w *world) publish(verb, name, payload string) {
	w.t.Helper()
	subject := fmt.Sprintf("cortex.mcp.command.%s.%s.%s", verb, w.namespace, name)
	_, err := w.nc.Request(subject, []byte(payload), wait.Patience) // the answer is the stream's
	natstest.Check(w.t, err)
}

// ask sends a request as "nats req" does, decodes its answer, and expects the code of its error, ""
// for none.
func (w *world) ask(subject, payload, code string, answer any) {
	w.t.Helper()
	m, err := w.nc.Request("cortex.mcp.api."+subject, []byte(payload), wait.Patience)
	natstest.Check(w.t, err)
	if got := m.Header.Get(micro.ErrorCodeHeader); got != code {
		w.t.Fatalf("%s %s: code %q, want %q: %s", subject, payload, got, code, m.Data)
	}
	natstest.Check(w.t, json.Unmarshal(m.Data, answer))
}

// status asks the daemon for all that it knows about a server.
func (w *world) status(name string) (wire.ServerStatus, error) {
	return w.Status(w.t.Context(), w.id(name))
}

// awaitReason waits until the daemon gives a reason for how it treats a server.
func (w *world) awaitReason(name string, reason policy.Reason) (s wire.ServerStatus) {
	w.t.Helper()
	wait.Eventually(w.t, fmt.Sprintf("%s is treated as %s", name, reason), func() (err error) {
		if s, err = w.status(name); err == nil && s.Decision.Reason != string(reason) {
			err = fmt.Errorf("it is %s: %s", s.Decision.Reason, s.Decision.Text)
		}
		return err
	})
	return s
}

// awaitPing pings, and returns when the daemon knows. It reacts after that, if it does.
func (w *world) awaitPing(name string) {
	w.t.Helper()
	before, err := w.status(name)
	natstest.Check(w.t, err)
	w.ping(name)
	wait.Eventually(w.t, "the ping is known", func() error {
		s, err := w.status(name)
		if err == nil && !s.LastActivity.After(before.LastActivity) {
			err = fmt.Errorf("the last activity was at %s", s.LastActivity)
		}
		return err
	})
}
