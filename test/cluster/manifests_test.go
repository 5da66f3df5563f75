package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// manifests are objects by "Kind namespace/name".
type manifests map[string]runtime.Object

// add takes in an object. A field that Kubernetes does not know is an error.
func (m manifests) add(t *testing.T, text []byte) {
	t.Helper()
	object, kind, err := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	about, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	m[kind.Kind+" "+about.GetNamespace()+"/"+about.GetName()] = object
}

// render returns what "kubectl apply -k" applies of a directory of deploy.
func render(t *testing.T, dir string) manifests {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	m := make(manifests)
	for _, resource := range rendered.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		m.add(t, text)
	}
	return m
}

// get returns the object of a name, which has to be there.
func get[O any](t *testing.T, m manifests, name string) *O {
	t.Helper()
	object, ok := m[name].(any).(*O)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return object
}

// settings returns what the ConfigMap says that the daemon reads.
func (m manifests) settings(t *testing.T) map[string]string {
	t.Helper()
	pod := get[appsv1.Deployment](t, m, "Deployment idle-scaler/idle-scaler").Spec.Template.Spec
	return get[v1.ConfigMap](t, m, "ConfigMap idle-scaler/"+pod.Containers[0].EnvFrom[0].ConfigMapRef.Name).Data
}

// All that is applied is known to Kubernetes, the daemon finds its settings, its account and its Lease, and each binding its role. An image that was
// loaded into the nodes is not looked for in a registry.
func TestManifests(t *testing.T) {
	overlays, err := filepath.Glob("../../deploy/overlays/*")
	if err != nil || len(overlays) == 0 {
		t.Fatal(overlays, err)
	}
	for _, dir := range append(overlays, "../../deploy/base") {
		m := render(t, dir)
		d := get[appsv1.Deployment](t, m, "Deployment idle-scaler/idle-scaler")
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err != nil || !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			t.Errorf("%s: %v does not select %v: %v", dir, d.Spec.Selector, d.Spec.Template.Labels, err)
		}
		if c := d.Spec.Template.Spec.Containers[0]; c.Image != "idle-scaler:latest" || c.ImagePullPolicy != v1.PullIfNotPresent {
			t.Errorf("%s: image %s, %s", dir, c.Image, c.ImagePullPolicy)
		}
		if m.settings(t)["NATS_URL"] == "" {
			t.Errorf("%s: the settings are %v", dir, m.settings(t))
		}
		account := get[v1.ServiceAccount](t, m, "ServiceAccount idle-scaler/"+d.Spec.Template.Spec.ServiceAccountName)
		lease := get[rbacv1.Role](t, m, "Role idle-scaler/idle-scaler-leader")
		for _, arg := range []string{"--lease-name=" + lease.Rules[1].ResourceNames[0], "--lease-namespace=" + lease.Namespace} {
			if !slices.Contains(d.Spec.Template.Spec.Containers[0].Args, arg) {
				t.Errorf("%s: the daemon is not told %s", dir, arg)
			}
		}
		bound := func(name, namespace string, role rbacv1.RoleRef, subjects []rbacv1.Subject) {
			if role.Kind == "ClusterRole" {
				namespace = ""
			}
			if _, ok := m[role.Kind+" "+namespace+"/"+role.Name]; !ok {
				t.Errorf("%s: %s binds %+v, which is not there", dir, name, role)
			}
			if want := (rbacv1.Subject{Kind: "ServiceAccount", Name: account.Name, Namespace: account.Namespace}); len(subjects) != 1 || subjects[0] != want {
				t.Errorf("%s: %s binds to %+v", dir, name, subjects)
			}
		}
		for name, object := range m {
			switch b := object.(type) {
			case *rbacv1.RoleBinding:
				bound(name, b.Namespace, b.RoleRef, b.Subjects)
			case *rbacv1.ClusterRoleBinding:
				bound(name, "", b.RoleRef, b.Subjects)
			}
		}
	}
	text, err := os.ReadFile("../../deploy/examples/mcp-server.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		make(manifests).add(t, []byte(document))
	}
}

// In the overlay for one namespace the rights of the base are for that namespace only, but to list all namespaces: that is for it alone as well. And it
// shares no streams with another daemon.
func TestManifestsOfOneNamespace(t *testing.T) {
	base, m := render(t, "../../deploy/base"), render(t, "../../deploy/overlays/one-namespace")
	all := get[rbacv1.ClusterRole](t, base, "ClusterRole /idle-scaler").Rules
	if rules := get[rbacv1.Role](t, m, "Role team-a/idle-scaler").Rules; all[0].Resources[0] != "namespaces" || !reflect.DeepEqual(rules, all[1:]) {
		t.Errorf("the Role has %v, the ClusterRole of the base %v", rules, all)
	}
	want := map[string][]rbacv1.PolicyRule{
		"ClusterRole /idle-scaler-team-a": {{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{"team-a"}, Verbs: []string{"list", "watch"}}},
	}
	for name, object := range m {
		if role, ok := object.(*rbacv1.ClusterRole); ok && !reflect.DeepEqual(role.Rules, want[name]) {
			t.Errorf("%s has %v", name, role.Rules)
		}
	}
	get[rbacv1.RoleBinding](t, m, "RoleBinding team-a/idle-scaler")
	own, shared := m.settings(t), base.settings(t)
	if own["IDLE_SCALER_NAMESPACES"] != "team-a" || own["NATS_URL"] != shared["NATS_URL"] {
		t.Errorf("the settings are %v", own)
	}
	for _, name := range []string{"IDLE_SCALER_CLUSTER", "IDLE_SCALER_PREFIX"} {
		if own[name] == "" || own[name] == shared[name] {
			t.Errorf("%s is %q, that of the base %q", name, own[name], shared[name])
		}
	}
}
