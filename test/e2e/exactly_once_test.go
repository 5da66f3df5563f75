package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/watch"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// solo are flags of a daemon that only does what it is told, and waits for nobody's lease.
var solo = slices.Clip([]string{"--leader-elect=false", "--settle", "0s"})

// A command stream that is made again counts from 1. The commands before are applied once, those after it are applied once, too, and
// never look old; also the one that is on its way when the stream goes.
func TestACommandStreamThatIsMadeAgain(t *testing.T) {
	for _, c := range []struct {
		name     string
		running  bool // the daemon sees it
		byDaemon bool // who makes it again
	}{
		{"by somebody while the daemon runs", true, false},
		{"by the daemon, which runs", true, true},
		{"by somebody while the daemon is down", false, false},
		{"by the daemon, which comes later", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			r := newRelay(t)
			b.deploy("alpha", paused)
			generation := b.deployment("alpha").Generation
			h := b.history()
			flags := slices.Concat(solo, []string{"--kubeconfig", r.kubeconfig})
			b.run(flags...)
			sent := 0
			send := func(n int) {
				for range n {
					sent++ // to 2, 3, 1, 2, 3, 1, …
					b.order("scale", "alpha", fmt.Sprintf(`{"id":"order-%d","replicas":%d}`, sent, 1+sent%3))
				}
			}
			send(5)
			h.await("alpha", orders(sent))
			eventually(t, "all are acknowledged", func() error { return b.holds(commandStream, 0) })

			js, err := jetstream.New(b.nc)
			if err != nil {
				t.Fatal(err)
			}
			old, err := js.Stream(t.Context(), commandStream)
			if err != nil {
				t.Fatal(err)
			}
			again := func() {
				if err := js.DeleteStream(t.Context(), commandStream); err != nil {
					t.Fatal(err)
				}
				if c.byDaemon {
					if !c.running {
						b.run(flags...)
					}
					return
				}
				_, err := js.CreateStream(t.Context(), old.CachedInfo().Config)
				if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // the daemon was faster
					t.Fatal(err)
				}
			}
			if c.running {
				underway := newMoment()
				r.act(once(`order-6"`, underway.hold), nil)
				send(1)
				underway.then(t, again) // a write that is held up for long fails
				eventually(t, "there is a stream again", func() error { return b.holds(commandStream, 0) })
				send(2)
			} else {
				b.kill()
				again()
				send(2)
				if !c.byDaemon {
					b.run(flags...)
				}
			}
			send(8) // with sequences below, equal to and above those before
			b.appliedOnce(t, h, "alpha", orders(sent))
			if got := b.deployment("alpha").Generation - generation; got != int64(sent) {
				t.Errorf("%d changes were made for %d commands", got, sent)
			}
			now, err := js.Stream(t.Context(), commandStream)
			if err != nil {
				t.Fatal(err)
			}
			if last := now.CachedInfo().State.LastSeq; last > uint64(sent-5) {
				t.Errorf("the stream has counted to %d, it was not made again", last)
			}
		})
	}
}

// A forced stop whose daemon is killed after its patch, and before its pods are gone, is finished by the next one, although the server
// is at zero by then; also when it was before. The pods of others stay: of another server, and one with the same labels that is
// nobody's.
func TestAForcedStopOutlivesItsDaemon(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped before: %v", stopped), func(t *testing.T) {
			b := newBench(t)
			r := newRelay(t)
			never := podAnnotation("stop-delay", "1h")
			alpha := b.deploy("alpha", replicas(2), never)
			b.deploy("beta", never)
			b.deploy("gamma", never)
			labels := map[string]string{"pod-template-hash": "made-by-hand"}
			for key, value := range alpha.Spec.Template.Labels {
				labels[key] = value
			}
			_, err := b.kube.CoreV1().Pods(b.namespace).Create(t.Context(), &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "bystander", Labels: labels}, Spec: alpha.Spec.Template.Spec,
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			h := b.history()
			b.run(slices.Concat(solo, []string{"--kubeconfig", r.kubeconfig})...)
			for name, want := range map[string]int32{"alpha": 2, "beta": 1, "gamma": 1} {
				b.awaitReplicas(name, want)
			}
			b.order("stop", "gamma", `{"id":"order-1"}`) // without force: its pod takes its time
			b.awaitReplicas("gamma", 0)
			want := []string{"order-9"}
			if stopped {
				b.order("stop", "alpha", `{"id":"order-1"}`)
				b.awaitReplicas("alpha", 0)
				want = []string{"order-1", "order-9"}
			}
			patched := newMoment()
			r.act(nil, b.written("alpha", "order-9", patched.hold))
			b.order("stop", "alpha", `{"id":"order-9","force":true}`)
			patched.then(t, b.kill)
			if err := b.staysAt("alpha", 0)(); err != nil {
				t.Fatal(err)
			}
			left := func() error {
				ending := 0
				for _, pod := range b.pods("alpha") {
					if pod.DeletionTimestamp != nil {
						ending++
					}
				}
				if ending != 2 {
					return fmt.Errorf("%d pods are being ended", ending)
				}
				return nil
			}
			eventually(t, "the pods are being ended", left)
			consistently(t, time.Second, "without a daemon", left)
			others := func() (uids []string) {
				for _, pod := range slices.Concat(b.pods("alpha"), b.pods("beta"), b.pods("gamma")) {
					if pod.Name == "bystander" || pod.Labels["app"] != "alpha" {
						uids = append(uids, fmt.Sprintf("%s %s %v", pod.Name, pod.UID, pod.DeletionTimestamp))
					}
				}
				return uids
			}
			before := others()
			if len(before) != 3 {
				t.Fatalf("the pods of others are %q", before)
			}
			generation := b.deployment("alpha").Generation

			b.run(solo...)
			eventually(t, "the pods of alpha are gone", func() error {
				if pods := b.pods("alpha"); len(pods) != 1 {
					return fmt.Errorf("there are %d", len(pods))
				}
				return nil
			})
			b.appliedOnce(t, h, "alpha", want)
			if got := b.deployment("alpha").Generation; got != generation {
				t.Errorf("alpha was changed from generation %d to %d", generation, got)
			}
			if after := others(); !slices.Equal(after, before) {
				t.Errorf("the pods of others were %q and are %q", before, after)
			}
		})
	}
}

// Of two commands of one server, between whose patches the daemon is killed, each is applied exactly once and in order, whether the first
// one was acknowledged or not. A patch of the dead daemon that arrives after its successor's changes nothing.
func TestKilledBetweenTwoPatches(t *testing.T) {
	for _, acknowledged := range []bool{true, false} {
		t.Run(fmt.Sprintf("acknowledged: %v", acknowledged), func(t *testing.T) {
			b := newBench(t)
			r := newRelay(t)
			b.deploy("alpha", paused)
			generation := b.deployment("alpha").Generation
			h := b.history()
			flags := slices.Concat(solo, []string{"--kubeconfig", r.kubeconfig})
			b.run(flags...) // makes the streams
			b.kill()
			b.order("scale", "alpha", `{"id":"order-1","replicas":2}`)
			b.order("scale", "alpha", `{"id":"order-2","replicas":3}`)
			if acknowledged {
				unsent, late := newMoment(), ""
				r.act(func(patch string) {
					if strings.Contains(patch, `order-2"`) {
						late = patch
						unsent.hold()
					}
				}, nil)
				b.start(flags...)
				unsent.then(t, func() {
					eventually(t, "the first is acknowledged", func() error { return b.holds(commandStream, 1) })
					b.kill()
					b.successor(t, h)
					_, err := b.kube.AppsV1().Deployments(b.namespace).Patch(t.Context(), "alpha", types.MergePatchType, []byte(late), metav1.PatchOptions{})
					if !apierrors.IsConflict(err) {
						t.Errorf("a late patch is answered %v", err)
					}
				})
			} else {
				done := newMoment()
				r.act(nil, b.written("alpha", "order-1", done.hold))
				b.start(flags...)
				done.then(t, b.kill)
				if err := b.holds(commandStream, 2); err != nil {
					t.Fatal(err)
				}
				b.successor(t, h)
			}
			b.appliedOnce(t, h, "alpha", orders(2))
			if got := b.deployment("alpha").Generation - generation; got != 2 {
				t.Errorf("%d changes were made for 2 commands", got)
			}
			if err := b.staysAt("alpha", 3)(); err != nil {
				t.Error(err)
			}
		})
	}
}

// written returns f for the first patch after which a server is marked with a command: those that met a conflict are not the one.
func (b *bench) written(name, id string, f func()) func(patch string) {
	var first sync.Once
	return func(string) {
		if strings.HasSuffix(b.mark(name, "command"), " "+id) {
			first.Do(f)
		}
	}
}

// asleep returns f for the first patch after which a server has no replicas, likewise.
func (b *bench) asleep(name string, f func()) func(patch string) {
	var first sync.Once
	return func(string) {
		if b.staysAt(name, 0)() == nil {
			first.Do(f)
		}
	}
}

// successor starts a daemon after the first of two commands was applied, and the second was not.
func (b *bench) successor(t *testing.T, h *history) {
	t.Helper()
	if err := b.staysAt("alpha", 2)(); err != nil {
		t.Fatal(err)
	}
	b.run(solo...)
	b.appliedOnce(t, h, "alpha", orders(2))
}

// Commands whose acknowledgements were lost come again, to the same daemon once NATS is back or to the next one. They are
// known to be applied: the API server counts one change for each.
func TestLostAcknowledgements(t *testing.T) {
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprintf("killed: %v", killed), func(t *testing.T) {
			b := newBench(t)
			// NATS loses every acknowledgement of a command, and nothing else.
			users := func(of ...string) (users []*server.User) {
				for _, name := range []string{"test", "daemon"} {
					user := &server.User{Username: name, Password: "secret"}
					if slices.Contains(of, name) {
						user.Permissions = &server.Permissions{
							Publish: &server.SubjectPermission{Deny: []string{"$JS.ACK." + commandStream + ".>"}},
						}
					}
					users = append(users, user)
				}
				return users
			}
			serve := func(users []*server.User) {
				b.stopNATS()
				b.options.Users = users
				b.startNATS()
			}
			serve(users("daemon"))
			b.nc.Close()
			b.connect(nats.UserInfo("test", "secret"))
			b.deploy("alpha", paused)
			b.deploy("beta", replicas(3), paused)
			generation := b.deployment("alpha").Generation
			h := b.history()
			flags := slices.Concat(solo, []string{"--nats-user", "daemon", "--nats-password", "secret"})
			b.run(flags...)
			b.order("scale", "alpha", `{"id":"order-1","replicas":2}`)
			b.order("scale", "alpha", `{"id":"order-2","replicas":3}`)
			b.order("scale", "alpha", `{"id":"order-3","replicas":4}`)
			b.order("stop", "beta", `{"id":"order-1"}`)
			eventually(t, "all are told", func() error {
				alpha := b.applied(t, "alpha")
				beta := b.stored(t, "cortex.mcp.event.slept."+b.namespace+".beta")
				if !slices.Equal(alpha, orders(3)) || len(beta) != 1 {
					return fmt.Errorf("told are %q, and %+v", alpha, beta)
				}
				return nil
			})
			consistently(t, time.Second, "acknowledgements get lost", func() error { return b.holds(commandStream, 4) })

			if killed {
				b.kill()
			}
			serve(users())
			eventually(t, "the test is connected again", func() error { return b.nc.FlushTimeout(time.Second) })
			b.order("scale", "alpha", `{"id":"order-4","replicas":5}`)
			if killed {
				b.run(flags...)
			}
			b.appliedOnce(t, h, "alpha", orders(4))
			b.appliedOnce(t, h, "beta", orders(1))
			if got := b.deployment("alpha").Generation - generation; got != 4 {
				t.Errorf("%d changes were made for 4 commands", got)
			}
			if restore := b.mark("beta", "replicas"); restore != "3" {
				t.Errorf("beta is to wake with %q replicas", restore)
			}
		})
	}
}

const commandStream = "CORTEX_MCP_COMMANDS"

// orders are the ids order-1 to order-n.
func orders(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("order-%d", i+1))
	}
	return ids
}

// paused makes a server without pods, for tests in which only the writes matter.
func paused(d *appsv1.Deployment) { d.Spec.Paused = true }

// history is what was written on the servers of the test's namespace.
type history struct {
	t       *testing.T
	mu      sync.Mutex
	last    map[string]*appsv1.Deployment
	written map[string][]string // by server: the ids of the commands of whose writes it tells
	marked  map[string][]string // by server: the values that its mark "command" had
}

// history begins to watch the Deployments.
func (b *bench) history() *history {
	b.t.Helper()
	h := &history{
		t: b.t, last: make(map[string]*appsv1.Deployment), written: make(map[string][]string), marked: make(map[string][]string),
	}
	deployments := b.kube.AppsV1().Deployments(b.namespace)
	list, err := deployments.List(b.t.Context(), metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range list.Items {
		h.add(&list.Items[i])
	}
	// It goes on where it was when the API server ends a watch, as it does when a watcher is slow.
	w, err := watch.NewRetryWatcherWithContext(context.WithoutCancel(b.t.Context()), list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: deployments.Watch,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			if d, ok := e.Object.(*appsv1.Deployment); ok {
				h.add(d)
			} else if b.t.Context().Err() == nil { // its end is told as an error
				h.t.Errorf("the watch of Deployments has failed: %+v", e.Object)
			}
		}
	}()
	b.t.Cleanup(func() { w.Stop(); <-done })
	return h
}

func (h *history) add(d *appsv1.Deployment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := map[string]string{}
	if before := h.last[d.Name]; before != nil {
		was = before.Annotations
	}
	h.last[d.Name] = d
	if mark := d.Annotations["idle-scaler/command"]; mark != was["idle-scaler/command"] {
		h.marked[d.Name] = append(h.marked[d.Name], mark)
	}
	last := d.Annotations["idle-scaler/last"]
	if last == was["idle-scaler/last"] {
		return
	}
	var e struct{ Cause, Command string }
	if err := json.Unmarshal([]byte(last), &e); err != nil {
		h.t.Errorf("the last transition of %s is %q: %v", d.Name, last, err)
	}
	if e.Cause == string(policy.CauseCommand) {
		h.written[d.Name] = append(h.written[d.Name], e.Command)
	}
}

// of returns the ids of the commands to a server in the order in which they were applied, and is an error if the writes and the
// marks don't say the same, or a mark came twice.
func (h *history) of(name string) (ids []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := make(map[string]bool)
	for _, mark := range h.marked[name] {
		if seen[mark] {
			return nil, fmt.Errorf("%s was marked with %q twice", name, mark)
		}
		seen[mark] = true
		_, id, _ := strings.Cut(mark, " ")
		ids = append(ids, id)
	}
	if !slices.Equal(ids, h.written[name]) {
		return nil, fmt.Errorf("%s was marked with %q, and written for %q", name, ids, h.written[name])
	}
	return ids, nil
}

// await waits until these commands, and no others, were applied to a server.
func (h *history) await(name string, want []string) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%d commands are applied to %s", len(want), name), func() error { return h.is(name, want) })
}

func (h *history) is(name string, want []string) error {
	got, err := h.of(name)
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("applied are %q, want %q", got, want)
	}
	return err
}

// appliedOnce waits until nothing is left to do for any command, and expects that these, and no others, were applied to a server,
// and that nothing was rejected.
func (b *bench) appliedOnce(t *testing.T, h *history, name string, want []string) {
	t.Helper()
	eventually(t, "the command stream is empty", func() error { return b.holds(commandStream, 0) })
	h.await(name, want)
	for _, kind := range []scaler.EventType{scaler.Rejected, scaler.Expired} {
		if told := b.stored(t, fmt.Sprintf("cortex.mcp.event.%s.%s.%s", kind, b.namespace, name)); len(told) > 0 {
			t.Errorf("told are %+v", told)
		}
	}
}
