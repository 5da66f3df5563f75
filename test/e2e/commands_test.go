package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// A command is applied, and its event carries who asked, why and the name he gave it, to those who watch NATS and, on the
// Deployment, to those who use kubectl. What a stop took away a start brings back.
func TestPublishedCommandsSayWhoAndWhy(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(3))
	events := b.events()
	b.run()
	b.awaitReplicas("alpha", 3)
	for _, c := range []struct {
		verb, payload string
		want          scaler.Event
	}{
		{
			"stop", `{"id":"c-1","actor":"ann","reason":"too loud"}`,
			scaler.Event{Type: scaler.Slept, From: 3, To: 0, Command: "c-1", Actor: "ann", Reason: "too loud"},
		},
		{
			"start", ``,
			scaler.Event{Type: scaler.Woken, From: 0, To: 3},
		},
		{
			"scale", `{"replicas":2,"id":"c-3","actor":"bob","reason":"\u00fcber \"quota\""}`,
			scaler.Event{Type: scaler.Scaled, From: 3, To: 2, Command: "c-3", Actor: "bob", Reason: `über "quota"`},
		},
	} {
		b.publish(c.verb, "alpha", c.payload)
		got := events.next(c.want.Type, "alpha")
		c.want.ID, c.want.At, c.want.Server, c.want.Cause = got.ID, got.At, b.id("alpha"), policy.CauseCommand
		if got.Asleep > 0 == (c.want.Type == scaler.Woken) {
			c.want.Asleep = got.Asleep
		}
		if got != c.want {
			t.Errorf("%s is told as %+v, want %+v", c.verb, got, c.want)
		}
		b.awaitReplicas("alpha", int32(c.want.To))
	}
	if mark := b.mark("alpha", "command"); !strings.HasSuffix(mark, " c-3") {
		t.Errorf("the last command is marked as %q", mark)
	}
	eventually(t, "kubectl describe shows the changes", func() error {
		list, err := b.kube.EventsV1().Events(b.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var notes []string
		for _, e := range list.Items {
			if e.ReportingController == "idle-scaler" && e.Regarding.Kind == "Deployment" && e.Regarding.UID == b.deployment("alpha").UID {
				notes = append(notes, e.Reason+": "+e.Note)
			}
		}
		for _, want := range []string{
			`Slept: 3 → 0 replicas, by a command of "ann" ("too loud"), command c-1`,
			"Woken: 0 → 3 replicas, by a command",
			`Scaled: 3 → 2 replicas, by a command of "bob" ("über \"quota\""), command c-3`,
		} {
			if !slices.Contains(notes, want) {
				return fmt.Errorf("no event %q among %q", want, notes)
			}
		}
		return nil
	})
}

// Commands that were published while no daemon ran are applied once one does: each once, and in their order.
func TestCommandsWaitForTheDaemonInOrder(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.deploy("beta", replicas(2))
	b.run()
	b.awaitReplicas("alpha", 1)
	b.awaitReplicas("beta", 2)
	b.stop()
	events := b.events()
	b.order("scale", "alpha", `{"replicas":2,"id":"1"}`)
	b.order("stop", "beta", `{"id":"1"}`)
	b.order("stop", "alpha", `{"id":"2"}`)
	b.order("scale", "alpha", `{"replicas":5,"id":"3"}`)
	b.order("start", "beta", `{"id":"2"}`)
	b.order("start", "alpha", `{"id":"4"}`)
	b.order("scale", "alpha", `{"replicas":4,"id":"5"}`)
	b.run()
	b.awaitReplicas("alpha", 4)
	b.awaitReplicas("beta", 2)
	events.find("the last command is told", func(e scaler.Event) bool { return e.Server.Name == "alpha" && e.Command == "5" })
	for name, want := range map[string][]string{
		"alpha": {"1 scaled 1 2", "2 slept 2 0", "3 woken 0 5", "4 unchanged 5 5", "5 scaled 5 4"},
		"beta":  {"1 slept 2 0", "2 woken 0 2"},
	} {
		if got := events.commands(name); !slices.Equal(got, want) {
			t.Errorf("applied to %s were %q, want %q", name, got, want)
		}
	}
}

// A command may come before its server: it waits, is not rejected, and is applied when the server appears.
func TestCommandWaitsForItsServer(t *testing.T) {
	b := newBench(t)
	events := b.events()
	b.run()
	b.order("scale", "late", `{"replicas":2,"id":"early"}`)
	consistently(t, 5*time.Second, "the command waits", func() error {
		if told := events.commands("late"); len(told) > 0 {
			return fmt.Errorf("told was %q", told)
		}
		return nil
	})
	b.deploy("late")
	b.awaitReplicas("late", 2)
	if e := events.next(scaler.Scaled, "late"); e.Command != "early" || e.From != 1 || e.To != 2 {
		t.Errorf("told %+v", e)
	}
}

// An explicit order beats automation: what a stop, or a scale to zero, put to zero is woken by no ping and no lease, also not by a
// lease that lived before; a start wakes it with the replicas that it had.
func TestAStopLasts(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(3))
	b.deploy("beta", replicas(2))
	b.run(idle...)
	b.awaitReplicas("alpha", 3)
	b.awaitReplicas("beta", 2)
	b.lease("alpha", time.Hour)
	b.order("stop", "alpha", ``)
	b.order("scale", "beta", `{"replicas":0}`)
	for _, name := range []string{"alpha", "beta"} {
		b.awaitReplicas(name, 0)
		if because := b.mark(name, "asleep-because"); because != "command" {
			t.Errorf("%s sleeps because %q", name, because)
		}
	}
	b.lease("beta", time.Hour)
	b.ping("alpha")
	b.ping("beta")
	// The daemon knows of both before we look at what it does.
	eventually(t, "the daemon has heard of the lease and the pings", func() error {
		for _, name := range []string{"alpha", "beta"} {
			s, err := b.Status(t.Context(), b.id(name))
			if err != nil || len(s.Leases) != 1 || s.LastActivity.IsZero() {
				return fmt.Errorf("%s: %+v %w", name, s, err)
			}
			if s.Decision.Reason != "stopped" {
				t.Errorf("%s is decided as %+v", name, s.Decision)
			}
		}
		return nil
	})
	consistently(t, 3*time.Second, "stopped", b.staysAt("alpha", 0)) // three sweeps
	if err := b.staysAt("beta", 0)(); err != nil {
		t.Error(err)
	}
	b.order("start", "alpha", ``)
	b.order("start", "beta", ``)
	b.awaitReplicas("alpha", 3)
	b.awaitReplicas("beta", 2)
	if because := b.mark("alpha", "asleep-because") + b.mark("alpha", "asleep-since") + b.mark("alpha", "replicas"); because != "" {
		t.Errorf("alpha is awake, with the marks of sleep %q", because)
	}
}

// A start of a running server leaves its replicas as they are. It is demand all the same: it is written down, once, and the idle
// clock starts anew.
func TestStartOfARunningServerIsDemand(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(2))
	b.run()
	b.awaitReplicas("alpha", 2)
	events := b.events()
	before := b.deployment("alpha")
	began := time.Now()
	b.order("start", "alpha", `{"id":"again","actor":"ann"}`)
	if e := events.next(scaler.Unchanged, "alpha"); e.From != 2 || e.To != 2 || e.Command != "again" || e.Actor != "ann" {
		t.Errorf("told %+v", e)
	}
	after := b.deployment("alpha")
	if !equality.Semantic.DeepEqual(after.Spec, before.Spec) {
		t.Errorf("the spec was changed from %v to %v", before.Spec, after.Spec)
	}
	if mark := after.Annotations["idle-scaler/command"]; !strings.HasSuffix(mark, " again") {
		t.Errorf("the command is marked as %q", mark)
	}
	since, err := time.Parse(time.RFC3339Nano, after.Annotations["idle-scaler/awake-since"])
	if err != nil || since.Before(began) {
		t.Errorf("awake since %v (%v), the start was ordered at %s", since, err, began)
	}
	s, err := b.Status(t.Context(), b.id("alpha"))
	if err != nil || s.IdleSeconds > int64(time.Since(began)/time.Second)+1 {
		t.Errorf("idle for %ds right after a start, %v", s.IdleSeconds, err)
	}
}

// A forced stop ends the pods of the server at once, and no others: a pod with the same labels that the Deployment does not own
// stays. Without force pods take their time.
func TestForceEndsThePodsAtOnce(t *testing.T) {
	b := newBench(t)
	never := podAnnotation("stop-delay", "1h")
	alpha := b.deploy("alpha", replicas(3), never)
	b.deploy("beta", never)
	b.run()
	b.awaitReplicas("alpha", 3)
	b.awaitReplicas("beta", 1)
	labels := map[string]string{"pod-template-hash": "made-by-hand"}
	for key, value := range alpha.Spec.Template.Labels {
		labels[key] = value
	}
	bystander, err := b.kube.CoreV1().Pods(b.namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "bystander", Labels: labels}, Spec: alpha.Spec.Template.Spec,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	b.order("stop", "alpha", ``)
	b.awaitReplicas("alpha", 0)
	ending := func() error {
		pods := b.pods("alpha")
		if len(pods) != 4 {
			return fmt.Errorf("there are %d pods, want 3 that end and the bystander", len(pods))
		}
		for _, pod := range pods {
			if (pod.DeletionTimestamp != nil) == (pod.Name == "bystander") {
				return fmt.Errorf("pod %s was deleted at %v", pod.Name, pod.DeletionTimestamp)
			}
		}
		return nil
	}
	eventually(t, "the pods of alpha are being ended", ending)
	consistently(t, 2*time.Second, "without force", ending)

	// Force ends those that a gentle stop left, and those of a server that runs.
	for _, name := range []string{"alpha", "beta"} {
		if _, err := b.Stop(t.Context(), b.id(name), true, wire.Sender{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all pods but the bystander are gone", func() error {
		if pods := append(b.pods("alpha"), b.pods("beta")...); len(pods) != 1 {
			return fmt.Errorf("%d are there", len(pods))
		}
		return nil
	})
	now, err := b.kube.CoreV1().Pods(b.namespace).Get(t.Context(), "bystander", metav1.GetOptions{})
	if err != nil || now.UID != bystander.UID || now.DeletionTimestamp != nil {
		t.Errorf("the bystander is %+v, %v", now.ObjectMeta, err)
	}
}

// Servers do not wait for each other: while the command of one can't be done yet, those of others are.
func TestCommandsOfServersAreParallel(t *testing.T) {
	b := newBench(t)
	const servers = 5 // few, so that all is over before "nobody" is given up
	name := func(i int) string { return fmt.Sprintf("server-%d", i) }
	for i := range servers {
		b.deploy(name(i), replicas(0))
	}
	events := b.events()
	b.run()
	b.order("start", "nobody", `{"id":"waits"}`) // for its server, for half a minute
	b.order("scale", "nobody", `{"id":"waits behind it","replicas":2}`)
	for i := range servers {
		b.order("start", name(i), ``)
	}
	for i := range servers {
		events.next(scaler.Woken, name(i))
	}
	if told := events.commands("nobody"); len(told) > 0 {
		t.Errorf("told was %q", told)
	}
	b.deploy("nobody")
	b.awaitReplicas("nobody", 2)
}

// A scale that waits is answered when all replicas are ready, not before, and also down to fewer.
func TestScaleWaitsUntilAllAreReady(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", image("fail/ready")) // its pods run, and get ready when the test says so
	b.run()
	b.makeReady("alpha", 1)
	b.awaitReplicas("alpha", 1)
	waiting := later(func() (wire.Answer, error) {
		return b.Scale(t.Context(), b.id("alpha"), 3, time.Minute, wire.Sender{})
	})
	b.makeReady("alpha", 2)
	b.awaitReady("alpha", 2)
	waiting.isOpen(t, 500*time.Millisecond)
	b.makeReady("alpha", 3)
	a, err := waiting.end(t)
	if err != nil || a.Event == nil || *a.Event != (wire.Transition{Type: "scaled", From: 1, To: 3}) {
		t.Errorf("answered %+v, %v", a, err)
	} else if a.Server.Status != "running" || a.Server.ReadyReplicas != 3 {
		t.Errorf("answered with %+v", a.Server)
	}
	a, err = b.Scale(t.Context(), b.id("alpha"), 1, time.Minute, wire.Sender{})
	if err != nil || a.Server.Replicas != 1 || a.Server.ReadyReplicas < 1 {
		t.Errorf("answered %+v, %v", a, err)
	}
}

// publish publishes a command and waits for nothing, as "nats pub" does.
func (b *bench) publish(verb, name, payload string) {
	b.t.Helper()
	err := b.nc.Publish(fmt.Sprintf("cortex.mcp.command.%s.%s.%s", verb, b.namespace, name), []byte(payload))
	if err == nil {
		err = b.nc.Flush()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// lease says that the test uses a server for so long.
func (b *bench) lease(name string, ttl time.Duration) {
	b.t.Helper()
	if err := b.Lease(b.t.Context(), "the-test", b.id(name), ttl); err != nil {
		b.t.Fatal(err)
	}
}

// find waits for the first event that matches.
func (e *events) find(what string, match func(scaler.Event) bool) scaler.Event {
	e.t.Helper()
	var found scaler.Event
	eventually(e.t, what, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		i := slices.IndexFunc(e.seen, match)
		if i < 0 {
			return fmt.Errorf("seen are %d others: %v", len(e.seen), e.seen)
		}
		found = e.seen[i]
		return nil
	})
	return found
}

// commands are what became of the commands of a server that have an id, in order: "ID TYPE FROM TO".
func (e *events) commands(name string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var told []string
	for _, event := range e.seen {
		if event.Server.Name == name && event.Command != "" && event.Type != scaler.Ready && event.Type != scaler.Progress {
			told = append(told, fmt.Sprintf("%s %s %d %d", event.Command, event.Type, event.From, event.To))
		}
	}
	return told
}

// pods are those with the labels of a server.
func (b *bench) pods(name string) []corev1.Pod {
	b.t.Helper()
	list, err := b.kube.CoreV1().Pods(b.namespace).List(b.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		b.t.Fatal(err)
	}
	return list.Items
}

// makeReady waits until so many pods of a server run and are ready, by its own word: for those of the image fail/ready, which the fake
// kubelet lets run and leaves alone.
func (b *bench) makeReady(name string, want int) {
	b.t.Helper()
	status, err := json.Marshal(map[string]any{"status": corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
	}}})
	if err != nil {
		b.t.Fatal(err)
	}
	isReady := func(pod corev1.Pod) bool {
		return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
	}
	eventually(b.t, fmt.Sprintf("%d pods of %s are ready", want, name), func() error {
		missing := want
		var running []string
		for _, pod := range b.pods(name) {
			if isReady(pod) {
				missing--
			} else if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
				running = append(running, pod.Name)
			}
		}
		if len(running) < missing {
			return fmt.Errorf("%d are missing", missing)
		}
		for _, pod := range running[:max(missing, 0)] {
			_, err := b.kube.CoreV1().Pods(b.namespace).Patch(b.t.Context(), pod, types.MergePatchType, status, metav1.PatchOptions{}, "status")
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// awaitReady waits until so many replicas are ready, of whatever is wanted.
func (b *bench) awaitReady(name string, want int32) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("%s has %d ready replicas", name, want), func() error {
		if d := b.deployment(name); d.Status.ReadyReplicas != want || d.Status.ObservedGeneration < d.Generation {
			return fmt.Errorf("%d are", d.Status.ReadyReplicas)
		}
		return nil
	})
}

// call is a request under way.
type call struct {
	done   chan struct{}
	answer wire.Answer
	err    error
}

// later makes a request in a goroutine of its own.
func later(request func() (wire.Answer, error)) *call {
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.answer, c.err = request()
	}()
	return c
}

// isOpen expects that there is no answer for as long as d.
func (c *call) isOpen(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-c.done:
		t.Fatalf("it is answered already: %+v, %v", c.answer, c.err)
	case <-time.After(d):
	}
}

// end returns the answer, which has to come within patience.
func (c *call) end(t *testing.T) (wire.Answer, error) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatalf("not answered within %s", patience)
	}
	return c.answer, c.err
}
