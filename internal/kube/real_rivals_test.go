package kube

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
	"idle-scaler/scaler"
)

// as returns a client of a program. Who names no field manager is known by the program's name.
func (w *world) as(program string) *kubernetes.Clientset {
	config := rest.CopyConfig(w.config)
	config.UserAgent = program + "/v1.2.3 (linux/amd64) kubernetes/abcdef0"
	return kubernetes.NewForConfigOrDie(config)
}

// patchAs patches a Deployment as a field manager does.
func (w *world) patchAs(manager string, kind types.PatchType, name, body string) error {
	options := metav1.PatchOptions{FieldManager: manager}
	if kind == types.ApplyPatchType {
		force := true
		options.Force = &force
	}
	_, err := w.admin.AppsV1().Deployments(w.namespace).Patch(w.t.Context(), name, kind, []byte(body), options)
	return err
}

// applyAs applies a manifest by server-side apply, against all conflicts.
func (w *world) applyAs(manager, name string, replicas int) error {
	return w.patchAs(manager, types.ApplyPatchType, name, fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":%d}}`, replicas))
}

// scaleAs reads and writes the scale subresource, as autoscalers do.
func (w *world) scaleAs(program, name string, replicas int) error {
	deployments := w.as(program).AppsV1().Deployments(w.namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		scale, err := deployments.GetScale(w.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		scale.Spec.Replicas = int32(replicas)
		_, err = deployments.UpdateScale(w.t.Context(), name, scale, metav1.UpdateOptions{})
		return err
	})
}

// updateAs reads and writes the whole Deployment, as operators do.
func (w *world) updateAs(program, name string, replicas int) error {
	deployments := w.as(program).AppsV1().Deployments(w.namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		d, err := deployments.Get(w.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		number := int32(replicas)
		d.Spec.Replicas = &number
		_, err = deployments.Update(w.t.Context(), d, metav1.UpdateOptions{})
		return err
	})
}

// Whoever wakes a server that sleeps is found out, in each of the ways in which the known ones write, so that the policy can name them and
// say what to change. Our marks stay, by which the wake is known not to be ours; and when we put it to sleep again the zero is ours again.
func TestRivalsForReal(t *testing.T) {
	w := newWorld(t)
	strategic := func(manager string) func(string, int) error {
		return func(name string, replicas int) error {
			return w.patchAs(manager, types.StrategicMergePatchType, name, fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
		}
	}
	for _, c := range []struct {
		name   string
		raise  func(name string, replicas int) error
		writer string
		advice string
	}{
		{"argocd-ssa", func(n string, r int) error { return w.applyAs("argocd-controller", n, r) }, "argocd-controller", "RespectIgnoreDifferences"},
		{"argocd-csa", strategic("argocd-controller"), "argocd-controller", "RespectIgnoreDifferences"},
		{"argocd-replace", func(n string, r int) error { return w.updateAs("argocd-application-controller", n, r) }, "argocd-application-controller", "RespectIgnoreDifferences"},
		{"hpa", func(n string, r int) error { return w.scaleAs("kube-controller-manager", n, r) }, "kube-controller-manager", "minReplicas"},
		{"keda", func(n string, r int) error { return w.scaleAs("keda", n, r) }, "keda", "ScaledObject"},
		{"helm-3", strategic("helm"), "helm", "chart"},
		{"helm-4", func(n string, r int) error { return w.applyAs("helm", n, r) }, "helm", "chart"},
		{"flux", func(n string, r int) error { return w.applyAs("kustomize-controller", n, r) }, "kustomize-controller", "Git"},
		{"kubectl-edit", strategic("kubectl-edit"), "kubectl-edit", "hold --awake-until"},
		{"kubectl-apply", strategic("kubectl-client-side-apply"), "kubectl-client-side-apply", "hold --awake-until"},
		{"kubectl-scale", func(n string, r int) error { // by a patch of the scale
			_, err := w.as("kubectl").AppsV1().Deployments(w.namespace).Patch(t.Context(), n, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, r), metav1.PatchOptions{}, "scale")
			return err
		}, "kubectl", "hold --awake-until"},
		{"operator", func(n string, r int) error { return w.updateAs("manager", n, r) }, "manager", "make it leave spec.replicas"},
	} {
		w.deploy(c.name, 2, "web:1")
		for range policy.MaxReverts {
			asleep := w.write(c.name, 0, scaler.Mark{Restore: 2, Because: policy.BecauseIdle, Asleep: noon})
			if !asleep.Ours || asleep.Writer != fieldManager {
				t.Errorf("%s: put to sleep by us, and the writer is %q", c.name, asleep.Writer)
			}
			if err := c.raise(c.name, 1); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			raised := w.wait(c.name, "raised", func(s *scaler.Server) bool { return s.Replicas == 1 })
			if raised.Ours || raised.Writer != c.writer || !raised.Mark.Asleep.Equal(noon) || raised.Bad != nil {
				t.Errorf("%s: raised by %q, ours %v, asleep since %v", c.name, raised.Writer, raised.Ours, raised.Mark.Asleep)
			}
			if advice := explain.Advice(raised.Writer); !strings.Contains(advice, c.advice) {
				t.Errorf("%s: advice %q", c.name, advice)
			}
		}
	}
}

// An ordinary HPA: what it does while the server is awake is not ours, our zero is, and it is told nothing by which it would end it.
func TestAutoscalerForReal(t *testing.T) {
	w := newWorld(t)
	w.deploy("web", 1, "web:1")
	if err := w.scaleAs("kube-controller-manager", "web", 3); err != nil {
		t.Fatal(err)
	}
	scaled := w.wait("web", "three", func(s *scaler.Server) bool { return s.Replicas == 3 })
	if scaled.Ours || scaled.Writer != "kube-controller-manager" || scaled.Rival != "" {
		t.Errorf("scaled by %q, ours %v, rival %q", scaled.Writer, scaled.Ours, scaled.Rival)
	}
	asleep := w.write("web", 0, scaler.Mark{Restore: 3, Because: policy.BecauseIdle, Asleep: noon})
	awake := w.write("web", 3, scaler.Mark{Awake: noon})
	if !asleep.Ours || !awake.Ours || awake.Replicas != 3 {
		t.Errorf("asleep: ours %v; awake: ours %v with %d", asleep.Ours, awake.Ours, awake.Replicas)
	}
}

// Argo CD as docs/how-to/argocd-helm.md sets it up applies the number that it finds. It owns the field
// then, too; the zero stays ours, and so does the next number.
func TestRespectedByArgoForReal(t *testing.T) {
	w := newWorld(t)
	w.deploy("web", 1, "web:1")
	for _, replicas := range []int{0, 1, 0} {
		written := w.write("web", replicas, scaler.Mark{Restore: 1})
		if err := w.applyAs("argocd-controller", "web", replicas); err != nil {
			t.Fatal(err)
		}
		after, err := w.cluster.Fresh(t.Context(), written.ID)
		if err != nil || !after.Ours || after.Replicas != replicas {
			t.Errorf("%d replicas, applied by Argo CD as they are: %+v, %v", replicas, after, err)
		}
	}
}

// Argo CD applies a manifest without replicas, as deploy/argocd.md says. The zero stays ours, with its
// marks, also where Argo CD has applied replicas before, and where it brings a new version.
func TestApplyWithoutReplicasForReal(t *testing.T) {
	w := newWorld(t)
	for name, first := range map[string]string{"never": "", "before": `"replicas":2,`} {
		apply := func(image, replicas string) {
			t.Helper()
			manifest := fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q,
				"labels":{"app.kubernetes.io/component":"mcp-server"},"annotations":{"example.com/from":"git"}},
				"spec":{%s"selector":{"matchLabels":{"app":%[1]q}},"template":{"metadata":{"labels":{"app":%[1]q}},
				"spec":{"containers":[{"name":"mcp","image":%[3]q}]}}}}`, name, replicas, image)
			if err := w.patchAs("argocd-controller", types.ApplyPatchType, name, manifest); err != nil {
				t.Fatal(err)
			}
		}
		apply("web:1", first)
		before := w.write(name, 0, scaler.Mark{Restore: 2, Because: policy.BecauseIdle, Asleep: noon})
		for _, image := range []string{"web:1", "web:2"} {
			apply(image, "")
			s, err := w.cluster.Fresh(t.Context(), before.ID)
			if err != nil || s.Replicas != 0 || !s.Ours || !reflect.DeepEqual(s.Mark, before.Mark) {
				t.Errorf("%s, %s: %d replicas, ours %v, marked %+v, %v", name, image, s.Replicas, s.Ours, s.Mark, err)
			}
		}
	}
}

// What "kubectl rollout undo" puts back is not believed, and the next write makes the marks ours again; also when that writes the same
// as was put back. Whoever writes the marks as they are, an operator the whole Deployment or Argo CD, changes nothing.
func TestMarksOfOthersForReal(t *testing.T) {
	w := newWorld(t)
	web := w.deploy("web", 2, "web:1")
	deployments := w.admin.AppsV1().Deployments(w.namespace)
	annotations := func() map[string]string {
		d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d.Annotations
	}
	undo := func(to map[string]string) *scaler.Server { // as k8s.io/kubectl/pkg/polymorphichelpers/rollback.go
		t.Helper()
		body, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/metadata/annotations", "value": to}})
		if err == nil {
			err = w.patchAs("kubectl-rollout", types.JSONPatchType, "web", string(body))
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.cluster.Fresh(t.Context(), web.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	held := scaler.Mark{Restore: 2, Because: policy.BecauseHold, Asleep: noon, Hold: policy.Hold{Asleep: true, Since: noon, Until: noon.Add(time.Hour)}}
	w.write("web", 0, held)
	collected := annotations()

	idle := w.write("web", 0, scaler.Mark{Restore: 2, Because: policy.BecauseIdle, Asleep: noon.Add(time.Minute)})
	both := annotations() // as a ReplicaSet has them, which loses none
	for key, value := range collected {
		if _, there := both[key]; !there {
			both[key] = value
		}
	}
	if s := undo(both); !s.Ours || !reflect.DeepEqual(s.Mark, idle.Mark) {
		t.Errorf("undone with nothing written since: ours %v, marked %+v", s.Ours, s.Mark)
	}
	if s := undo(collected); !s.Ours || !reflect.DeepEqual(s.Mark, scaler.Mark{Restore: 2}) || s.Bad != nil {
		t.Errorf("undone: ours %v, marked %+v, bad %v", s.Ours, s.Mark, s.Bad)
	}
	s := w.write("web", 0, held)
	if held.Last = s.Mark.Last; !s.Ours || !reflect.DeepEqual(s.Mark, held) {
		t.Errorf("written again: ours %v, marked %+v", s.Ours, s.Mark)
	}

	unchanged := func(after string) {
		t.Helper()
		s, err := w.cluster.Fresh(t.Context(), web.ID)
		if err != nil || !s.Ours || !reflect.DeepEqual(s.Mark, held) {
			t.Errorf("%s: ours %v, marked %+v, %v", after, s.Ours, s.Mark, err)
		}
	}
	if err := w.updateAs("manager", "web", 0); err != nil {
		t.Fatal(err)
	}
	unchanged("updated by an operator")
	whole, err := json.Marshal(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"annotations": annotations()}, "spec": map[string]any{"replicas": 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.patchAs("argocd-controller", types.ApplyPatchType, "web", string(whole)); err != nil {
		t.Fatal(err)
	}
	unchanged("applied by Argo CD")
	if s := w.write("web", 2, scaler.Mark{Awake: noon}); !reflect.DeepEqual(s.Mark, scaler.Mark{Awake: noon, Last: s.Mark.Last}) {
		t.Errorf("written after Argo CD: %+v", s.Mark)
	}
}
