package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// A zero that somebody else has set stays, however it was set, and even right after the daemon has
// written: no ping, no lease and no sweep wakes it. A command does.
func TestAHumansZeroStays(t *testing.T) {
	w := newWorld(t)
	names := []string{"patched", "scaled", "just-woken"}
	for _, name := range names {
		w.deploy(name)
	}
	w.run(append(idle, "--idle-after", "1h")...)
	for _, name := range names {
		w.awaitReplicas(name, 1)
	}
	w.patch("patched", "kubectl-patch", `{"spec":{"replicas":0}}`)
	w.scale("scaled", 0)
	_, err := w.Stop(t.Context(), w.id("just-woken"), false, wire.Sender{})
	natstest.Check(t, err)
	_, err = w.Start(t.Context(), w.id("just-woken"), 0, wire.Sender{})
	natstest.Check(t, err)
	w.scale("just-woken", 0) // Kubernetes keeps seconds: it looks as if both had written at once

	for _, name := range names {
		w.awaitReason(name, policy.NotOurs)
		w.awaitPing(name)
		w.lease(name, time.Hour)
	}
	wait.Consistently(t, 3*time.Second, "at zero", w.staying(0, names...)) // some sweeps long
	for _, name := range names {
		if _, err := w.Start(t.Context(), w.id(name), wait.Patience, wire.Sender{}); err != nil {
			t.Error(err)
		}
	}
}

// Argo CD raises the replicas after each sleep though nobody asked. After the second time it is
// named, with what to change, and the server is not put to sleep any more until a command, over a
// restart too.
func TestARivalIsNamedAndLeftAlone(t *testing.T) {
	const manager = "argocd-controller"
	w := newWorld(t)
	w.deploy("alpha", replicas(2))
	w.run(idle...)
	events := w.events()
	w.ping("alpha")
	for range policy.MaxReverts {
		events.next(scaler.Slept, "alpha")
		events = w.events()
		force := true
		manifest := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":2}}`)
		_, err := w.kube.AppsV1().Deployments(w.namespace).Patch(t.Context(), "alpha", types.ApplyPatchType, manifest,
			metav1.PatchOptions{FieldManager: manager, Force: &force})
		natstest.Check(t, err)
		if e := events.next(scaler.Woken, "alpha"); e.Cause != policy.CauseExternal || e.Actor != manager {
			t.Errorf("published %+v", e)
		}
	}
	s := w.awaitReason("alpha", policy.Contended)
	advice := explain.Advice(manager)
	if s.Reverts == nil || s.Reverts.Count != 2 || s.Reverts.Writer != manager || s.Reverts.Advice != advice ||
		!containsAll(s.Decision.Text, manager, advice) {
		t.Errorf("its reverts are %+v: %s", s.Reverts, s.Decision.Text)
	}
	events.next(scaler.Contended, "alpha")
	w.kill()
	w.run(idle...)
	wait.Consistently(t, 5*time.Second, "contended, and awake", w.staying(2, "alpha"))
	w.awaitReason("alpha", policy.Contended)
	if contended := w.stored(scaler.Contended, "alpha"); len(contended) != 1 {
		t.Errorf("published %+v", contended)
	}

	events = w.events()
	w.publish("start", "alpha", "")
	events.next(scaler.Slept, "alpha")
}

// A sleep that meets a conflict is given up until a later sweep, because somebody is at work on the
// Deployment. A command is tried again on fresh facts.
func TestASleepGivesUpWhereAStartGoesOn(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	r := newRelay(t)
	w.run(append(alone, "--kubeconfig", r.kubeconfig, "--schedule", "@every 5s")...)
	w.awaitReplicas("alpha", 1)
	var mu sync.Mutex
	var tried []time.Time
	disturb := func(times int) {
		mu.Lock()
		defer mu.Unlock()
		tried = nil
		r.act(func(string) {
			mu.Lock()
			defer mu.Unlock()
			if tried = append(tried, time.Now()); len(tried) <= times {
				w.patch("alpha", "rival", fmt.Sprintf(`{"metadata":{"annotations":{"example.com/n":"%d"}}}`, time.Now().UnixNano()))
			}
		}, nil)
	}
	events := w.events()
	disturb(2)
	w.ping("alpha")
	events.next(scaler.Slept, "alpha")
	mu.Lock()
	if len(tried) < 3 { // the controller's own status may disturb one more
		t.Errorf("tried %d times, of which 2 were disturbed", len(tried))
	}
	for i := range tried[1:] { // sweeps are five seconds apart, however late a try is
		if pause := tried[i+1].Sub(tried[i]); pause < 500*time.Millisecond {
			t.Errorf("tried again after %s, in the same sweep", pause)
		}
	}
	mu.Unlock()

	w.awaitReplicas("alpha", 0)
	disturb(3)
	if a, err := w.Start(t.Context(), w.id("alpha"), 0, wire.Sender{}); err != nil {
		t.Errorf("answered %+v, %v", a, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(tried) < 4 {
		t.Errorf("tried %d times, of which 3 were disturbed", len(tried))
	}
}

// rollout gives a server a new version, and returns when the Deployment controller is done.
func (w *world) rollout(name string) {
	w.t.Helper()
	w.patch(name, "kubectl-set", `{"spec":{"template":{"spec":{"containers":[{"name":"mcp","image":"example.com/v2"}]}}}}`)
	wait.Eventually(w.t, "the rollout", func() error {
		d := w.deployment(name)
		if d.Annotations["deployment.kubernetes.io/revision"] != "2" || d.Status.UpdatedReplicas != *d.Spec.Replicas {
			return fmt.Errorf("%v, %d updated", d.Annotations, d.Status.UpdatedReplicas)
		}
		return nil
	})
}

// undo does what "kubectl rollout undo" does (k8s.io/kubectl/pkg/polymorphichelpers/rollback.go):
// it puts back the template and all annotations of the former revision, as its ReplicaSet has them,
// also those of the daemon; and leaves the replicas.
func (w *world) undo(name string) {
	w.t.Helper()
	d := w.deployment(name)
	current, _ := strconv.Atoi(d.Annotations["deployment.kubernetes.io/revision"])
	ofServer := metav1.ListOptions{LabelSelector: "app=" + name}
	sets, err := w.kube.AppsV1().ReplicaSets(w.namespace).List(w.t.Context(), ofServer)
	natstest.Check(w.t, err)
	for _, set := range sets.Items {
		if set.Annotations["deployment.kubernetes.io/revision"] != strconv.Itoa(current-1) {
			continue
		}
		delete(set.Spec.Template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		maps.DeleteFunc(set.Annotations, func(key, _ string) bool {
			return strings.HasPrefix(key, "deployment.kubernetes.io/")
		})
		set.Annotations["deployment.kubernetes.io/revision"] = strconv.Itoa(current)
		patch, err := json.Marshal([]map[string]any{
			{"op": "replace", "path": "/spec/template", "value": set.Spec.Template},
			{"op": "replace", "path": "/metadata/annotations", "value": set.Annotations},
		})
		natstest.Check(w.t, err)
		_, err = w.kube.AppsV1().Deployments(w.namespace).Patch(w.t.Context(), name, types.JSONPatchType, patch,
			metav1.PatchOptions{FieldManager: "kubectl-rollout"})
		natstest.Check(w.t, err)
		return
	}
	w.t.Fatalf("revision %d has no ReplicaSet", current-1)
}

// "kubectl rollout undo" brings back the annotations of a former time, in which the server was held
// asleep. A server in use stays as it is: it is not put to sleep, nobody has woken it, and nothing
// counts against anybody. A server that sleeps is woken by a ping.
func TestARolloutUndoIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"used", "asleep"} {
		w.deploy(name, replicas(2), image("example.com/v1"))
	}
	w.run(append(idle, "--idle-after", "20s")...) // enough to see them awake
	w.ping("somebody-else")                       // or the log would prove nothing
	for _, name := range []string{"used", "asleep"} {
		w.awaitReplicas(name, 2)
		w.publish("hold", name, `{"asleep_until":"1h"}`)
		w.awaitReplicas(name, 0)
		w.rollout(name)
		w.publish("release", name, "")
	}
	w.lease("used", time.Hour)
	w.awaitReplicas("used", 2)
	w.awaitReason("used", policy.Leased)
	slept := w.events()
	w.ping("asleep")
	w.awaitReplicas("asleep", 2)
	slept.next(scaler.Slept, "asleep")
	w.awaitReplicas("asleep", 0)

	events := w.events()
	w.undo("asleep")
	w.undo("used")
	if w.mark("used", "hold") == "" || w.mark("used", "asleep-since") == "" {
		t.Errorf("the undo brought nothing back: %v", w.deployment("used").Annotations)
	}
	wait.Consistently(t, 3*time.Second, "awake", w.staying(2, "used")) // some sweeps long
	happened := events.all(func(e scaler.Event) bool { return e.Server.Name == "used" && e.Type != scaler.Ready })
	if reverts := w.mark("used", "reverts"); len(happened) > 0 || reverts != "" {
		t.Errorf("published %+v, the reverts are %q", happened, reverts)
	}
	if s := w.awaitReason("used", policy.Leased); s.Hold != nil {
		t.Errorf("it is held: %+v", s.Hold)
	}
	w.publish("start", "used", "")
	wait.Eventually(t, "the marks are the daemon's", func() error {
		if hold, since := w.mark("used", "hold"), w.mark("used", "asleep-since"); hold+since != "" {
			return fmt.Errorf("hold %s, asleep since %s", hold, since)
		}
		return nil
	})

	w.ping("asleep")
	if e := events.next(scaler.Woken, "asleep"); e.Cause != policy.CauseActivity {
		t.Errorf("published %+v", e)
	}
	events.next(scaler.Ready, "asleep")
	if got := w.deployment("asleep").Spec.Template.Spec.Containers[0].Image; got != "example.com/v1" {
		t.Errorf("it runs %s", got)
	}
}

// A Deployment that was deleted and made again is another one: what the daemon knew of the former
// neither keeps it down nor makes new commands look old. If it is made again as it was saved, at
// zero with all marks, that zero is not the daemon's.
func TestADeploymentMadeAgainIsAnother(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha", replicas(3))
	w.run(idle...)
	w.awaitReplicas("alpha", 3)
	_, err := w.Stop(t.Context(), w.id("alpha"), false, wire.Sender{})
	natstest.Check(t, err)
	saved := w.deployment("alpha")
	remove := func() {
		t.Helper()
		natstest.Check(t, w.kube.AppsV1().Deployments(w.namespace).Delete(t.Context(), "alpha", metav1.DeleteOptions{}))
	}
	remove()
	w.deploy("alpha")
	made := time.Now()
	events := w.events()
	if a, err := w.Scale(t.Context(), w.id("alpha"), 2, wait.Patience, wire.Sender{}); err != nil || a.Event.From != 1 {
		t.Errorf("answered %+v, %v", a, err)
	}
	w.ping("somebody-else")
	if e := events.next(scaler.Slept, "alpha"); e.From != 2 || e.At.Before(made.Add(3*time.Second)) {
		t.Errorf("published %+v, made at %s", e, made)
	}
	w.ping("alpha")
	if e := events.next(scaler.Woken, "alpha"); e.To != 2 {
		t.Errorf("published %+v", e)
	}

	remove()
	saved.ResourceVersion, saved.UID, saved.ManagedFields = "", "", nil
	_, err = w.kube.AppsV1().Deployments(w.namespace).Create(t.Context(), saved, metav1.CreateOptions{})
	natstest.Check(t, err)
	w.awaitReason("alpha", policy.NotOurs)
	w.awaitPing("alpha")
	wait.Consistently(t, 2*time.Second, "at zero", w.staying(0, "alpha"))
	if a, err := w.Start(t.Context(), w.id("alpha"), wait.Patience, wire.Sender{}); err != nil || a.Event.To != 3 {
		t.Errorf("answered %+v, %v", a, err)
	}
}
