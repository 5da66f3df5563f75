package e2e

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// Every change is recorded with who asked, why, and the name of the command: as an event on NATS,
// and on the Deployment for kubectl. A start restores what a stop took away. A command may come
// before its server.
func TestChangesSayWhoAndWhy(t *testing.T) {
	w := newWorld(t)
	events := w.events()
	w.run()
	w.publish("scale", "alpha", `{"replicas":3,"id":"early"}`)
	wait.Consistently(t, 2*time.Second, "the command waits", func() error {
		if early := events.all(func(e scaler.Event) bool { return e.Server.Name == "alpha" }); len(early) > 0 {
			return fmt.Errorf("published %+v", early)
		}
		return nil
	})
	w.deploy("alpha")
	for _, c := range []struct {
		verb, payload string
		want          scaler.Event
	}{
		{"", "", scaler.Event{Type: scaler.Scaled, From: 1, To: 3, Command: "early"}},
		{
			"stop", `{"id":"c-1","actor":"ann","reason":"too loud"}`,
			scaler.Event{Type: scaler.Slept, From: 3, To: 0, Command: "c-1", Actor: "ann", Reason: "too loud"},
		},
		{"start", ``, scaler.Event{Type: scaler.Woken, From: 0, To: 3}},
		{
			"scale", `{"replicas":2,"id":"c-3","actor":"bob","reason":"\u00fcber \"quota\""}`,
			scaler.Event{Type: scaler.Scaled, From: 3, To: 2, Command: "c-3", Actor: "bob", Reason: `über "quota"`},
		},
	} {
		if c.verb != "" {
			w.publish(c.verb, "alpha", c.payload)
		}
		got := events.find("the event of "+c.want.Command, func(e scaler.Event) bool {
			return e.Type == c.want.Type && e.Command == c.want.Command
		})
		c.want.ID, c.want.At, c.want.Server, c.want.Cause = got.ID, got.At, w.id("alpha"), policy.CauseCommand
		if got.Asleep > 0 == (c.want.Type == scaler.Woken) {
			c.want.Asleep = got.Asleep
		}
		if got != c.want {
			t.Errorf("published %+v, want %+v", got, c.want)
		}
		w.awaitReplicas("alpha", int32(c.want.To))
	}
	if mark := w.mark("alpha", "command"); !strings.HasSuffix(mark, " c-3") {
		t.Errorf("the last command is marked as %q", mark)
	}
	wait.Eventually(t, "kubectl describe shows the changes", func() error {
		list, err := w.kube.EventsV1().Events(w.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var notes []string
		for _, e := range list.Items {
			if e.ReportingController == "idle-scaler" && e.Regarding.UID == w.deployment("alpha").UID {
				notes = append(notes, e.Reason+": "+e.Note)
			}
		}
		return missing(strings.Join(notes, "\n"),
			`Slept: 3 → 0 replicas, by a command of "ann" ("too loud"), command c-1`,
			"Woken: 0 → 3 replicas, by a command",
			`Scaled: 3 → 2 replicas, by a command of "bob" ("über \"quota\""), command c-3`)
	})
}

// Each command takes effect once and in order, whatever is killed: before a patch goes out, after
// it was done and before the daemon knows, after its event was published, and with more commands
// coming meanwhile. The API server counts each change of replicas in the generation. Each has its
// event.
func TestKilledBetweenCommandsEachIsAppliedOnceInOrder(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	w.awaitReplicas("alpha", 1)
	generation := w.deployment("alpha").Generation
	h := w.history()
	r := newRelay(t)
	sent := 0
	send := func(n int) {
		for range n {
			sent++ // to 2, 3, 1, 2, 3, 1, …
			w.publish("scale", "alpha", fmt.Sprintf(`{"id":"order-%d","replicas":%d}`, sent, 1+sent%3))
		}
	}
	flags := append(obedient, "--kubeconfig", r.kubeconfig)
	w.run(flags...) // makes the streams
	w.kill()
	send(3)

	unsent := newMoment() // the relay hands it on all the same, as a network may
	r.act(once(`order-4"`, unsent.hold), nil)
	w.start(flags...)
	send(5)
	unsent.then(t, w.kill)
	send(2)

	unknown := newMoment()
	r.act(nil, once(`order-8"`, unknown.hold))
	w.start(flags...)
	unknown.then(t, w.kill)
	send(3)

	published := newMoment()
	subscribed, err := w.nc.Subscribe("cortex.mcp.event.scaled."+w.namespace+".alpha", func(m *nats.Msg) {
		if strings.Contains(string(m.Data), `"command":"order-11"`) {
			published.hold()
		}
	})
	natstest.Check(t, err)
	r.act(nil, nil)
	w.start(flags...)
	published.then(t, func() {
		w.kill()
		_ = subscribed.Unsubscribe()
	})
	send(2)
	w.run(flags...)

	wait.Eventually(t, "all are published", func() error {
		if got := w.scaled("alpha"); !slices.Equal(got, orders(sent)) {
			return fmt.Errorf("the stream has %q", got)
		}
		return nil
	})
	w.appliedOnce(h, "alpha", orders(sent))
	w.awaitReplicas("alpha", int32(1+sent%3))
	if got := w.deployment("alpha").Generation - generation; got != int64(sent) {
		t.Errorf("%d changes were made for %d commands", got, sent)
	}
}

// Commands whose acknowledgements were lost come again once NATS is back. The daemon knows that
// they are applied: the API server counts one change for each.
func TestLostAcknowledgements(t *testing.T) {
	w := newWorld(t)
	// NATS loses every acknowledgement of a command by these users, and nothing else.
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
		w.stopNATS()
		w.options.Users = users
		w.startNATS()
	}
	serve(users("daemon"))
	w.nc.Close()
	w.connect(nats.UserInfo("test", "secret"))
	w.deploy("alpha", paused)
	w.deploy("beta", replicas(3), paused)
	generation := w.deployment("alpha").Generation
	h := w.history()
	w.run(append(obedient, "--nats-user", "daemon", "--nats-password", "secret")...)
	w.publish("scale", "alpha", `{"id":"order-1","replicas":2}`)
	w.publish("scale", "alpha", `{"id":"order-2","replicas":3}`)
	w.publish("scale", "alpha", `{"id":"order-3","replicas":4}`)
	w.publish("stop", "beta", `{"id":"order-1"}`)
	wait.Eventually(t, "all are published", func() error {
		alpha, beta := w.scaled("alpha"), w.stored(scaler.Slept, "beta")
		if !slices.Equal(alpha, orders(3)) || len(beta) != 1 {
			return fmt.Errorf("the stream has %q, and %+v", alpha, beta)
		}
		return nil
	})
	wait.Consistently(t, time.Second, "unacknowledged", func() error { return w.holds(commandStream, 4) })

	serve(users())
	wait.Eventually(t, "the test is connected again", func() error { return w.nc.FlushTimeout(time.Second) })
	w.publish("scale", "alpha", `{"id":"order-4","replicas":5}`)
	w.appliedOnce(h, "alpha", orders(4))
	w.appliedOnce(h, "beta", orders(1))
	if got := w.deployment("alpha").Generation - generation; got != 4 {
		t.Errorf("%d changes were made for 4 commands", got)
	}
	if restore := w.mark("beta", "replicas"); restore != "3" {
		t.Errorf("beta is to wake with %q replicas", restore)
	}
}

// The daemon makes a deleted stream again. A new command stream counts from 1: each command before
// and after it is applied once, none looks old, also the one that is under way when the stream
// goes. A new stream of events has what happened next, and no server waits for it.
func TestDeletedStreamsAreMadeAgain(t *testing.T) {
	w := newWorld(t)
	r := newRelay(t)
	w.deploy("alpha", paused)
	generation := w.deployment("alpha").Generation
	h := w.history()
	w.run(append(obedient, "--kubeconfig", r.kubeconfig)...)
	sent := 0
	send := func(n int) {
		for range n {
			sent++
			w.publish("scale", "alpha", fmt.Sprintf(`{"id":"order-%d","replicas":%d}`, sent, 1+sent%3))
		}
	}
	send(5)
	w.appliedOnce(h, "alpha", orders(sent))

	js, err := jetstream.New(w.nc)
	natstest.Check(t, err)
	before, err := w.stream(eventStream)
	natstest.Check(t, err)
	underway := newMoment()
	r.act(nil, w.written("alpha", "order-6", underway.hold))
	send(1)
	underway.then(t, func() {
		natstest.Check(t, js.DeleteStream(t.Context(), commandStream))
		natstest.Check(t, js.DeleteStream(t.Context(), eventStream))
		wait.Eventually(t, "the daemon makes the stream again", func() error { return w.holds(commandStream, 0) })
		send(2)
	})
	send(8) // with sequences below, equal to and above those before
	w.appliedOnce(h, "alpha", orders(sent))
	if got := w.deployment("alpha").Generation - generation; got != int64(sent) {
		t.Errorf("%d changes were made for %d commands", got, sent)
	}
	commands, err := w.stream(commandStream)
	natstest.Check(t, err)
	if last := commands.CachedInfo().State.LastSeq; last > uint64(sent-5) {
		t.Errorf("the stream has counted to %d, it was not made again", last)
	}
	after, err := w.stream(eventStream)
	natstest.Check(t, err)
	if got, want := after.CachedInfo().Config, before.CachedInfo().Config; !reflect.DeepEqual(got, want) {
		t.Errorf("the stream of events is made as %+v, and was %+v", got, want)
	}
	if got := w.scaled("alpha"); !slices.Equal(got, orders(sent)[5:]) {
		t.Errorf("the stream of events has %q", got)
	}
}

// A forced stop whose daemon is killed after its patch, and before its pods are gone, is finished
// by the next daemon, although the server is at zero by then. The pods of others stay: those of
// other servers, stopped without force or not, and one with the same labels that nobody owns.
func TestAForcedStopOutlivesItsDaemon(t *testing.T) {
	w := newWorld(t)
	r := newRelay(t)
	never := podAnnotation("stop-delay", "1h")
	alpha := w.deploy("alpha", replicas(2), never)
	w.deploy("beta", never)
	w.deploy("gamma", never)
	labels := map[string]string{"app": "alpha", "pod-template-hash": "made-by-hand"}
	_, err := w.kube.CoreV1().Pods(w.namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "bystander", Labels: labels}, Spec: alpha.Spec.Template.Spec,
	}, metav1.CreateOptions{})
	natstest.Check(t, err)
	h := w.history()
	w.run(append(obedient, "--kubeconfig", r.kubeconfig)...)
	for name, want := range map[string]int32{"alpha": 2, "beta": 1, "gamma": 1} {
		w.awaitReplicas(name, want)
	}
	w.publish("stop", "gamma", `{"id":"order-1"}`) // without force: its pod takes its time
	w.awaitReplicas("gamma", 0)
	patched := newMoment()
	r.act(nil, w.written("alpha", "order-9", patched.hold))
	w.publish("stop", "alpha", `{"id":"order-9","force":true}`)
	patched.then(t, w.kill)
	if err := w.wants(0, "alpha"); err != nil {
		t.Fatal(err)
	}
	others := func() (pods []string) {
		for _, pod := range slices.Concat(w.pods("alpha"), w.pods("beta"), w.pods("gamma")) {
			if pod.Name == "bystander" || pod.Labels["app"] != "alpha" {
				pods = append(pods, fmt.Sprintf("%s %s %v", pod.Name, pod.UID, pod.DeletionTimestamp))
			}
		}
		return pods
	}
	before := others()
	if left := len(w.pods("alpha")); left != 3 || len(before) != 3 {
		t.Fatalf("alpha has %d pods, those of others are %q", left, before)
	}
	generation := w.deployment("alpha").Generation

	w.run(obedient...)
	w.awaitPods("alpha", 1)
	w.appliedOnce(h, "alpha", []string{"order-9"})
	if got := w.deployment("alpha").Generation; got != generation {
		t.Errorf("alpha was changed from generation %d to %d", generation, got)
	}
	if after := others(); !slices.Equal(after, before) {
		t.Errorf("the pods of others were %q and are %q", before, after)
	}
}
