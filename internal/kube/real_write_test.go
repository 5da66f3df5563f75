package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// deadline is how long the cluster may take for anything.
const deadline = 60 * time.Second

// tryWrite writes on what the cache knows, again when the controllers were faster, and always with another last transition, as the scaler
// does.
func (w *world) tryWrite(name string, replicas int, mark scaler.Mark) (*scaler.Server, error) {
	w.t.Helper()
	for {
		server := w.wait(name, "it", func(*scaler.Server) bool { return true })
		w.requests.taken()
		if mark.Last.ID == "" {
			mark.Last = scaler.Event{ID: server.UID + "-" + server.Version, Type: scaler.Unchanged, Server: server.ID, At: noon}
		}
		written, err := w.cluster.Write(w.t.Context(), server, replicas, mark)
		if !errors.Is(err, scaler.ErrConflict) {
			return written, err
		}
		w.wait(name, "a newer version", func(s *scaler.Server) bool { return newer(s.Version, server.Version) })
	}
}

func (w *world) write(name string, replicas int, mark scaler.Mark) *scaler.Server {
	w.t.Helper()
	written, err := w.tryWrite(name, replicas, mark)
	if err != nil {
		w.t.Fatal(err)
	}
	return written
}

// A write is one request, which carries the replicas and all marks, holds for one version only, and makes the zero ours.
func TestWriteForReal(t *testing.T) {
	w := newWorld(t)
	created := w.deploy("web", 2, "web:1")
	if created.Ours || created.Writer != "kubectl-client-side-apply" {
		t.Errorf("made by kubectl: writer %q, ours %v", created.Writer, created.Ours)
	}
	ready := w.wait("web", "ready", func(s *scaler.Server) bool { return s.Ready == 2 && s.Observed == s.Generation && !s.RollingOut() })
	if ready.ReadySince.IsZero() {
		t.Error("ready, and not known since when")
	}

	mark := fullMark()
	mark.Last.Server = ready.ID
	asleep := w.write("web", 0, mark)
	if got := w.requests.taken(); !maps.Equal(got, map[string]int{"PATCH 200": 1}) {
		t.Errorf("a write is %v", got)
	}
	if asleep.Replicas != 0 || !asleep.Ours || !reflect.DeepEqual(asleep.Mark, mark) || asleep.Bad != nil || asleep.Generation != ready.Generation+1 {
		t.Errorf("written: %+v", asleep)
	}
	if cached, _ := w.cache.Get(asleep.ID); newer(asleep.Version, cached.Version) {
		t.Errorf("the cache is at %s, the answer at %s", cached.Version, asleep.Version)
	}

	_, err := w.cluster.Write(t.Context(), ready, 2, scaler.Mark{})
	mustBe(t, "write on a version that is gone", err, scaler.ErrConflict)

	asleep = w.wait("web", "no pods", func(s *scaler.Server) bool { return s.Total == 0 && s.Observed == s.Generation })
	if !asleep.Ours || !reflect.DeepEqual(asleep.Mark, mark) || asleep.UnreadySince.IsZero() {
		t.Errorf("as watched: %+v", asleep)
	}

	same := w.write("web", 0, scaler.Mark{Restore: 2})
	if same.Replicas != 0 || !same.Ours || !reflect.DeepEqual(same.Mark, scaler.Mark{Restore: 2, Last: same.Mark.Last}) {
		t.Errorf("marks only: %+v", same)
	}
	_, err = w.tryWrite("web", -1, scaler.Mark{})
	mustBe(t, "nonsense", err, scaler.ErrRefused, "must be greater than or equal to 0")
}

// What somebody else wrote is not ours, whichever way they did it and whatever our marks say.
func TestWritersForReal(t *testing.T) {
	w := newWorld(t)
	deployments := w.admin.AppsV1().Deployments(w.namespace)
	scale := func(name string, replicas int) error { // kubectl scale, HPA, KEDA
		_, err := deployments.UpdateScale(t.Context(), name, &autoscalingv1.Scale{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
			Spec:       autoscalingv1.ScaleSpec{Replicas: int32(replicas)},
		}, metav1.UpdateOptions{FieldManager: "kubectl"})
		return err
	}
	patch := func(name string, replicas int) error { // kubectl patch, kubectl edit
		_, err := deployments.Patch(t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas),
			metav1.PatchOptions{FieldManager: "kubectl"})
		return err
	}
	apply := func(name string, replicas int) error { // kubectl apply --server-side, Argo CD
		force := true
		_, err := deployments.Patch(t.Context(), name, types.ApplyPatchType,
			fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":%d}}`, replicas),
			metav1.PatchOptions{FieldManager: "kubectl", Force: &force})
		return err
	}
	for _, c := range []struct {
		name     string
		set      func(name string, replicas int) error
		replicas int
		writer   string
	}{
		{"scale-up", scale, 3, "kubectl"},
		{"scale-down", scale, 0, ""}, // in a Scale, zero is the same as nothing: Kubernetes notes no owner
		{"patch", patch, 0, "kubectl"},
		{"apply", apply, 0, "kubectl"},
	} {
		name := c.name
		w.deploy(name, 0, "web:1")
		awake := w.write(name, 1, scaler.Mark{Awake: noon})
		if !awake.Ours {
			t.Errorf("%s: woken by us, and the writer is %q", name, awake.Writer)
		}
		if err := c.set(name, c.replicas); err != nil {
			t.Fatal(err)
		}
		theirs := w.wait(name, "scaled", func(s *scaler.Server) bool { return s.Replicas == c.replicas && newer(s.Version, awake.Version) })
		if theirs.Ours || theirs.Writer != c.writer || !theirs.Mark.Awake.Equal(noon) {
			t.Errorf("%s: writer %q, ours %v, mark %+v", name, theirs.Writer, theirs.Ours, theirs.Mark)
		}
	}
}

// Kubernetes names ten writers, and merges the oldest into one: what we made zero long ago stays ours, with its marks, however many
// have annotated it since, and whoever wrote the replicas meanwhile stays whoever that was.
func TestManyWritersForReal(t *testing.T) {
	w := newWorld(t)
	deployments := w.admin.AppsV1().Deployments(w.namespace)
	annotate := func(name string) {
		for n := range 14 {
			time.Sleep(time.Second / 4) // Kubernetes takes the oldest, by the second
			_, err := deployments.Patch(t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"note-%d":"x"}}}`, n),
				metav1.PatchOptions{FieldManager: fmt.Sprintf("editor-%02d", n)})
			if err != nil {
				t.Fatal(err)
			}
		}
		d, err := deployments.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(d.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == fieldManager }) {
			t.Fatalf("%s: we are named still, so this proves nothing", name)
		}
	}
	for _, c := range []struct {
		name     string
		replicas int // that kubectl sets after us, if not -1
		ours     bool
	}{{"asleep", -1, true}, {"awake", 3, false}} {
		w.deploy(c.name, 2, "web:1")
		mark := scaler.Mark{Restore: 2, Because: policy.BecauseIdle, Asleep: noon, Hold: policy.Hold{Since: noon, Until: noon.Add(time.Hour)}}
		before := w.write(c.name, 0, mark)
		if c.replicas >= 0 {
			_, err := deployments.Patch(t.Context(), c.name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, c.replicas), metav1.PatchOptions{FieldManager: "kubectl"})
			if err != nil {
				t.Fatal(err)
			}
		}
		annotate(c.name)
		now, err := w.cluster.Fresh(t.Context(), before.ID)
		if err != nil {
			t.Fatal(err)
		}
		if now.Ours != c.ours || !now.Mark.Asleep.Equal(noon) || now.Mark.Hold != before.Mark.Hold {
			t.Errorf("%s: ours %v, writer %q, mark %+v", c.name, now.Ours, now.Writer, now.Mark)
		}
	}
}

// What is not in the cache is asked for, and the answer says what to do.
func TestFreshForReal(t *testing.T) {
	w := newWorld(t)
	server := w.deploy("web", 0, "web:1")
	id := func(name string) scaler.ID { return scaler.ID{Namespace: w.namespace, Name: name} }

	fresh, err := w.cluster.Fresh(t.Context(), server.ID)
	if err != nil || fresh.UID != server.UID {
		t.Errorf("fresh: %v, %+v", err, fresh)
	}
	_, err = w.cluster.Fresh(t.Context(), id("none"))
	mustBe(t, "no such Deployment", err, scaler.ErrUnknown, `"none" not found`)
	_, err = w.cluster.Fresh(t.Context(), scaler.ID{Namespace: "default", Name: "web"})
	mustBe(t, "a namespace that is not watched", err, scaler.ErrUnmanaged, "add it to its --namespaces")

	deployments := w.admin.AppsV1().Deployments(w.namespace)
	if _, err := deployments.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "it to leave the cache with its label", func() bool { _, ok := w.cache.Get(server.ID); return !ok })
	_, err = w.cluster.Fresh(t.Context(), server.ID)
	mustBe(t, "no label", err, scaler.ErrUnmanaged, "kubectl -n "+w.namespace+" label deployment web app.kubernetes.io/component=mcp-server")

	if err := deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = w.cluster.Write(t.Context(), server, 1, scaler.Mark{})
	mustBe(t, "write on one that is gone", err, scaler.ErrUnknown)

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.cluster.Fresh(stopped, server.ID)
	mustBe(t, "no answer", err, scaler.ErrUnsure)
}

// What an answer shows is in the cache at once, whatever the watch does: here there is none.
func TestAnswersAreCached(t *testing.T) {
	w := newWorld(t)
	id := w.deploy("web", 0, "web:1").ID
	cache, err := NewCache(w.admin, Scope{Namespaces: []string{w.namespace}}, testConfig, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cluster := NewCluster(cache)
	for {
		fresh, err := cluster.Fresh(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if cached, ok := cache.Get(id); !ok || cached != fresh {
			t.Fatal("what was read is not in the cache")
		}
		written, err := cluster.Write(t.Context(), fresh, 1, scaler.Mark{})
		if errors.Is(err, scaler.ErrConflict) {
			continue // the controllers were faster
		}
		if cached, _ := cache.Get(id); err != nil || cached != written {
			t.Errorf("what was written is not in the cache: %v", err)
		}
		return
	}
}

// A deletion that waits for others (foreground) is a deletion: the server is gone at once, and stays gone.
func TestDeletionForReal(t *testing.T) {
	w := newWorld(t)
	server := w.deploy("web", 1, "web:1")
	deployments := w.admin.AppsV1().Deployments(w.namespace)
	if _, err := deployments.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"finalizers":["example.com/wait"]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "it to go", func() bool { _, ok := w.cache.Get(server.ID); return !ok })
	_, err := w.cluster.Fresh(t.Context(), server.ID)
	mustBe(t, "being deleted", err, scaler.ErrUnknown, "is being deleted")
	if _, err := deployments.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "it to be gone", func() bool {
		_, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		return err != nil
	})
	if again := w.deploy("web", 0, "web:1"); again.UID == server.UID {
		t.Error("made anew, and it is the old one")
	}
}

// The API server takes the Events, also of the longest name, and they stand where kubectl describe looks.
func TestRecorderForReal(t *testing.T) {
	w := newWorld(t)
	longest := strings.Repeat("x", 229) + "-" + strings.Repeat("y", 23)
	server := w.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: longest, Labels: map[string]string{"app.kubernetes.io/component": "mcp-server"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
			},
		},
	})
	recorder := NewRecorder(w.cache, slog.New(slog.DiscardHandler))
	w.run(recorder.Run)
	recorder.Record(scaler.Event{ID: "1", Type: scaler.Woken, Server: server.ID, At: time.Now(), To: 1, Cause: policy.CauseActivity})
	wait.Until(t, "the event", func() bool {
		events, err := w.admin.CoreV1().Events(w.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + server.UID + ",reason=Woken"})
		return err == nil && len(events.Items) == 1 && events.Items[0].Message == "0 → 1 replica, by a ping"
	})
}
