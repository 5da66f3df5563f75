package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// scale does what "kubectl scale" does.
func (b *bench) scale(name string, to int32) {
	b.t.Helper()
	_, err := b.kube.AppsV1().Deployments(b.namespace).UpdateScale(b.t.Context(), name, &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: to},
	}, metav1.UpdateOptions{FieldManager: "kubectl"})
	if err != nil {
		b.t.Fatal(err)
	}
}

// awaitPing pings, and returns when the daemon knows. What that does to the server it does from then on.
func (b *bench) awaitPing(name string) {
	b.t.Helper()
	before, err := b.status(name)
	if err != nil {
		b.t.Fatal(err)
	}
	b.ping(name)
	eventually(b.t, "the ping is known", func() error {
		s, err := b.status(name)
		if err == nil && !s.LastActivity.After(before.LastActivity) {
			err = fmt.Errorf("the last activity was at %s", s.LastActivity)
		}
		return err
	})
}

// A zero that somebody else has set is his, however he has set it and even right after the daemon has written: no ping, no lease and no
// sweep wakes it. A command does.
func TestAHumansZeroStays(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"patched", "scaled", "just-woken"} {
		b.deploy(name)
	}
	b.run(append(idle, "--idle-after", "1h")...)
	for _, name := range []string{"patched", "scaled", "just-woken"} {
		b.awaitReplicas(name, 1)
	}
	b.patch("patched", "kubectl-patch", `{"spec":{"replicas":0}}`)
	b.scale("scaled", 0)
	if _, err := b.Stop(t.Context(), b.id("just-woken"), false, wire.Sender{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Start(t.Context(), b.id("just-woken"), 0, wire.Sender{}); err != nil {
		t.Fatal(err)
	}
	b.scale("just-woken", 0) // Kubernetes keeps seconds: it looks as if both had written at once

	for _, name := range []string{"patched", "scaled", "just-woken"} {
		b.awaitReason(name, policy.NotOurs)
		b.awaitPing(name)
		b.lease(name, time.Hour)
	}
	consistently(t, 3*time.Second, "woken", func() error { // some sweeps long
		for _, name := range []string{"patched", "scaled", "just-woken"} {
			if err := b.staysAt(name, 0)(); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range []string{"patched", "scaled", "just-woken"} {
		if _, err := b.Start(t.Context(), b.id(name), patience, wire.Sender{}); err != nil {
			t.Error(err)
		}
	}
}

// Commands get through while others write the same Deployment as fast as they can: after each conflict they are tried again
// on fresh facts, and still take effect once. (Annotations count in the generation, labels don't.)
func TestCommandsGetThroughAgainstAWriterInALoop(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	d := b.run("--idle-after", "never")
	b.awaitReplicas("alpha", 1)
	generation := b.deployment("alpha").Generation
	conflicts := func() int { return requests(t, b.kube)["PATCH deployments 409"] } // of other tests, too
	before := conflicts()
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	writers.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{"example.com/n":"%d"}}}`, n)
			_, _ = b.kube.AppsV1().Deployments(b.namespace).Patch(ctx, "alpha", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "rival"})
		}
	})
	commands := int64(0)
	eventually(t, "the daemon has met a conflict", func() error {
		for _, order := range []func() (wire.Answer, error){
			func() (wire.Answer, error) { return b.Stop(t.Context(), b.id("alpha"), false, wire.Sender{}) },
			func() (wire.Answer, error) { return b.Start(t.Context(), b.id("alpha"), 0, wire.Sender{}) },
		} {
			commands++
			if a, err := order(); err != nil {
				t.Fatalf("answered %+v, %v", a, err)
			}
		}
		if d.counts(t, "idle_scaler_api_requests_total")[`{code="409",verb="PATCH"}`] == 0 {
			return fmt.Errorf("none in %d commands", commands)
		}
		return nil
	})
	if conflicts() == before {
		t.Error("the API server knows of no conflict")
	}
	if got := b.deployment("alpha").Generation - generation; got != commands {
		t.Errorf("%d commands changed the replicas %d times", commands, got)
	}
}

// A sleep that meets a conflict is given up until a later sweep, because somebody is at work on the Deployment. A start is not.
func TestASleepGivesUpWhereAStartGoesOn(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	r := newRelay(t)
	b.run(append(alone, "--kubeconfig", r.kubeconfig, "--schedule", "@every 5s")...)
	b.awaitReplicas("alpha", 1)
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
				b.patch("alpha", "rival", fmt.Sprintf(`{"metadata":{"annotations":{"example.com/n":"%d"}}}`, time.Now().UnixNano()))
			}
		}, nil)
	}
	events := b.events()
	disturb(2)
	b.ping("alpha")
	events.next(scaler.Slept, "alpha")
	mu.Lock()
	if len(tried) < 3 { // the controller's own status may disturb one more
		t.Errorf("tried %d times, of which 2 were disturbed", len(tried))
	}
	for i := range tried[1:] {
		if pause := tried[i+1].Sub(tried[i]); pause < 500*time.Millisecond { // between two sweeps are five seconds, however late a try is
			t.Errorf("tried again after %s, in the same sweep", pause)
		}
	}
	mu.Unlock()

	b.awaitReplicas("alpha", 0)
	disturb(3)
	if a, err := b.Start(t.Context(), b.id("alpha"), 0, wire.Sender{}); err != nil {
		t.Errorf("answered %+v, %v", a, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(tried) < 4 {
		t.Errorf("tried %d times, of which 3 were disturbed", len(tried))
	}
}

// Whoever scales a sleeping server up himself has woken it: the daemon takes its marks away, says who it was, and lets it sleep again only
// after idle-after.
func TestAWakeByAHumanIsTakenNoteOf(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(3))
	const idleAfter = 20 * time.Second // enough to see it awake
	b.run(append(idle, "--idle-after", idleAfter.String())...)
	b.ping("alpha")
	b.awaitReplicas("alpha", 0)
	events := b.events()
	woken := time.Now()
	b.scale("alpha", 2)
	if e := events.next(scaler.Woken, "alpha"); e.Cause != policy.CauseExternal || e.Actor != "kubectl" || e.From != 0 || e.To != 2 {
		t.Errorf("told %+v", e)
	}
	b.awaitReplicas("alpha", 2)
	for _, key := range []string{"asleep-since", "asleep-because", "replicas", "seen"} {
		if mark := b.mark("alpha", key); mark != "" {
			t.Errorf("the mark %s is still there: %s", key, mark)
		}
	}
	if e := events.next(scaler.Slept, "alpha"); e.From != 2 || e.At.Before(woken.Add(idleAfter)) {
		t.Errorf("told %+v, scaled up at %s", e, woken)
	}
}

// undo does what "kubectl rollout undo" does (k8s.io/kubectl/pkg/polymorphichelpers/rollback.go): it puts back the template and
// all annotations of the former revision, as its ReplicaSet has them, also those of the daemon; and leaves the replicas.
func (b *bench) undo(name string) {
	b.t.Helper()
	d := b.deployment(name)
	current, _ := strconv.Atoi(d.Annotations["deployment.kubernetes.io/revision"])
	sets, err := b.kube.AppsV1().ReplicaSets(b.namespace).List(b.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, set := range sets.Items {
		if set.Annotations["deployment.kubernetes.io/revision"] != strconv.Itoa(current-1) {
			continue
		}
		delete(set.Spec.Template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		maps.DeleteFunc(set.Annotations, func(key, _ string) bool { return strings.HasPrefix(key, "deployment.kubernetes.io/") })
		set.Annotations["deployment.kubernetes.io/revision"] = strconv.Itoa(current)
		patch, err := json.Marshal([]map[string]any{
			{"op": "replace", "path": "/spec/template", "value": set.Spec.Template},
			{"op": "replace", "path": "/metadata/annotations", "value": set.Annotations},
		})
		if err == nil {
			_, err = b.kube.AppsV1().Deployments(b.namespace).Patch(b.t.Context(), name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-rollout"})
		}
		if err != nil {
			b.t.Fatal(err)
		}
		return
	}
	b.t.Fatalf("revision %d has no ReplicaSet", current-1)
}

// holdAsleep holds a server asleep for long.
func (b *bench) holdAsleep(name string) {
	b.t.Helper()
	b.order("hold", name, `{"asleep_until":"1h"}`)
	b.awaitReplicas(name, 0)
}

// release ends a hold, if there is one, and has the server awake.
func (b *bench) release(name string, replicas int32) {
	b.t.Helper()
	b.order("release", name, "")
	b.ping(name)
	b.awaitReplicas(name, replicas)
}

// "kubectl rollout undo" on a sleeping server gives it the annotations of a former time. That must not strand it: a ping wakes it,
// whatever it went through in that time.
func TestARolloutUndoStrandsNoSleeper(t *testing.T) {
	for former, live := range map[string]func(b *bench, events *events){
		"awake": func(*bench, *events) {},
		"slept and woken": func(b *bench, events *events) {
			b.ping("alpha")
			events.next(scaler.Slept, "alpha")
			b.ping("alpha")
			b.awaitReplicas("alpha", 2)
		},
		"stopped and started": func(b *bench, _ *events) {
			b.order("stop", "alpha", "")
			b.awaitReplicas("alpha", 0)
			b.order("start", "alpha", "")
			b.awaitReplicas("alpha", 2)
		},
		"held asleep and released": func(b *bench, _ *events) {
			b.holdAsleep("alpha")
			b.release("alpha", 2)
		},
		"held asleep": func(b *bench, _ *events) { b.holdAsleep("alpha") },
	} {
		t.Run(former, func(t *testing.T) {
			b := newBench(t)
			b.deploy("alpha", replicas(2), image("example.com/v1"))
			b.run(append(idle, "--idle-after", "20s")...) // enough to see it awake
			b.awaitReplicas("alpha", 2)
			live(b, b.events())
			b.patch("alpha", "kubectl-set", `{"spec":{"template":{"spec":{"containers":[{"name":"mcp","image":"example.com/v2"}]}}}}`)
			slept := b.events()
			b.release("alpha", 2)
			slept.next(scaler.Slept, "alpha")
			b.awaitReplicas("alpha", 0)
			b.undo("alpha")
			eventually(t, "the undo is known", func() error {
				if d := b.deployment("alpha"); d.Status.ObservedGeneration < d.Generation {
					return fmt.Errorf("not yet")
				}
				return nil
			})
			b.ping("alpha")
			eventually(t, "it is awake", func() error {
				if d := b.deployment("alpha"); *d.Spec.Replicas == 0 || d.Status.ReadyReplicas == 0 {
					return fmt.Errorf("%d replicas, %d ready, %v", *d.Spec.Replicas, d.Status.ReadyReplicas, d.Annotations)
				}
				return nil
			})
			if got := b.deployment("alpha").Spec.Template.Spec.Containers[0].Image; got != "example.com/v1" {
				t.Errorf("it runs %s", got)
			}
		})
	}
}

// "kubectl rollout undo" on a server in use brings back a hold that has ended, and that it was asleep. Neither is so: it is not put to sleep,
// nobody has woken it, and nothing of that counts against anybody; whether the daemon has written it since the rollout or not.
func TestARolloutUndoEndsNoUse(t *testing.T) {
	rollout := func(b *bench) {
		b.patch("alpha", "kubectl-set", `{"spec":{"template":{"spec":{"containers":[{"name":"mcp","image":"example.com/v2"}]}}}}`)
		eventually(b.t, "the rollout", func() error {
			d := b.deployment("alpha")
			if d.Annotations["deployment.kubernetes.io/revision"] != "2" || d.Status.UpdatedReplicas != *d.Spec.Replicas {
				return fmt.Errorf("%v, %d updated", d.Annotations, d.Status.UpdatedReplicas)
			}
			return nil
		})
	}
	for name, live := range map[string]func(b *bench){
		"held before the rollout": func(b *bench) {
			b.holdAsleep("alpha")
			b.release("alpha", 2)
			b.lease("alpha", time.Hour)
			rollout(b)
		},
		"held before the rollout, and written since": func(b *bench) {
			b.holdAsleep("alpha")
			b.release("alpha", 2)
			b.lease("alpha", time.Hour)
			rollout(b)
			if _, err := b.Start(b.t.Context(), b.id("alpha"), 0, wire.Sender{}); err != nil {
				b.t.Fatal(err)
			}
		},
		"held during the rollout": func(b *bench) {
			b.holdAsleep("alpha")
			rollout(b)
			b.lease("alpha", time.Hour)
			b.release("alpha", 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.deploy("alpha", replicas(2), image("example.com/v1"))
			b.run(append(idle, "--idle-after", "20s")...) // likewise
			b.awaitReplicas("alpha", 2)
			live(b)
			b.awaitReason("alpha", policy.Leased)
			events := b.events()
			b.undo("alpha")
			if b.mark("alpha", "hold") == "" || b.mark("alpha", "asleep-since") == "" {
				t.Errorf("the undo brought nothing back: %v", b.deployment("alpha").Annotations)
			}
			consistently(t, 3*time.Second, "left alone", b.staysAt("alpha", 2)) // some sweeps long
			events.mu.Lock()
			for _, e := range events.seen {
				if e.Server.Name == "alpha" && e.Type != scaler.Ready {
					t.Errorf("told %+v", e)
				}
			}
			events.mu.Unlock()
			if mark := b.mark("alpha", "reverts"); mark != "" {
				t.Errorf("reverts are counted: %s", mark)
			}
			if s := b.awaitReason("alpha", policy.Leased); s.Hold != nil {
				t.Errorf("it is held: %+v", s.Hold)
			}
			b.order("start", "alpha", "")
			eventually(t, "the marks are the daemon's again", func() error {
				if hold, since := b.mark("alpha", "hold"), b.mark("alpha", "asleep-since"); hold+since != "" {
					return fmt.Errorf("hold %s, asleep since %s", hold, since)
				}
				return nil
			})
		})
	}
}

// Argo CD applies the whole Deployment, by server-side apply, without replicas as docs/how-to/argocd-helm.md
// says. The zero stays the daemon's and so do its marks, and a ping wakes the server; also when it was first
// applied with replicas.
func TestAnApplyWithoutReplicasStealsNothing(t *testing.T) {
	for _, first := range []string{"", `"replicas":2,`} {
		t.Run("first "+first, func(t *testing.T) {
			b := newBench(t)
			apply := func(image, replicas string) {
				t.Helper()
				force := true
				manifest := fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"alpha","labels":{"app.kubernetes.io/component":"mcp-server"},
					"annotations":{"example.com/from":"git"}},"spec":{%s"selector":{"matchLabels":{"app":"alpha"}},"template":{"metadata":{"labels":{"app":"alpha"}},
					"spec":{"containers":[{"name":"mcp","image":%q}]}}}}`, replicas, image)
				_, err := b.kube.AppsV1().Deployments(b.namespace).Patch(t.Context(), "alpha", types.ApplyPatchType, []byte(manifest),
					metav1.PatchOptions{FieldManager: "argocd-controller", Force: &force})
				if err != nil {
					t.Fatal(err)
				}
			}
			apply("example.com/v1", first)
			b.run(idle...)
			b.ping("alpha")
			b.awaitReplicas("alpha", 0)
			restore := b.mark("alpha", "replicas")
			apply("example.com/v1", "")
			apply("example.com/v2", "") // a new version, while it sleeps
			b.awaitReason("alpha", policy.Asleep)
			consistently(t, 2*time.Second, "woken", b.staysAt("alpha", 0))
			if got := b.mark("alpha", "replicas"); got != restore || got == "" {
				t.Errorf("it remembers %q replicas, and %q before", got, restore)
			}
			events := b.events()
			b.ping("alpha")
			if e := events.next(scaler.Woken, "alpha"); strconv.Itoa(e.To) != restore {
				t.Errorf("told %+v", e)
			}
		})
	}
}

// A Deployment that was deleted and made again is another one: what was known of the former neither keeps it down nor makes new
// commands look old. If it is made again as it was saved, at zero with all marks, that zero is not the daemon's.
func TestADeploymentMadeAgainBeginsAnew(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(3))
	b.run(idle...)
	b.awaitReplicas("alpha", 3)
	if _, err := b.Stop(t.Context(), b.id("alpha"), false, wire.Sender{}); err != nil {
		t.Fatal(err)
	}
	saved := b.deployment("alpha")
	remove := func() {
		t.Helper()
		if err := b.kube.AppsV1().Deployments(b.namespace).Delete(t.Context(), "alpha", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	b.deploy("alpha")
	made := time.Now()
	events := b.events()
	if a, err := b.Scale(t.Context(), b.id("alpha"), 2, patience, wire.Sender{}); err != nil || a.Event.From != 1 {
		t.Errorf("answered %+v, %v", a, err)
	}
	b.ping("somebody-else")
	if e := events.next(scaler.Slept, "alpha"); e.From != 2 || e.At.Before(made.Add(3*time.Second)) {
		t.Errorf("told %+v, made at %s", e, made)
	}
	b.ping("alpha")
	if e := events.next(scaler.Woken, "alpha"); e.To != 2 {
		t.Errorf("told %+v", e)
	}

	remove()
	saved.ResourceVersion, saved.UID, saved.ManagedFields = "", "", nil
	if _, err := b.kube.AppsV1().Deployments(b.namespace).Create(t.Context(), saved, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		t.Fatal(err)
	}
	b.awaitReason("alpha", policy.NotOurs)
	b.awaitPing("alpha")
	consistently(t, 2*time.Second, "woken", b.staysAt("alpha", 0))
	if a, err := b.Start(t.Context(), b.id("alpha"), patience, wire.Sender{}); err != nil || a.Event.To != 3 {
		t.Errorf("answered %+v, %v", a, err)
	}
}
