package kube

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// granted returns the rules of the ClusterRole in a file of deploy.
func granted(t *testing.T, file string) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(document), &role); err == nil && role.Kind == "ClusterRole" {
			return role.Rules
		}
	}
	t.Fatalf("no ClusterRole in %s", file)
	return nil
}

// tenant returns the way in of a ServiceAccount with the rights that deploy/overlays/one-namespace gives and no more, but for some verbs
// of a resource.
func (w *world) tenant(name, resource string, without ...string) *rest.Config {
	w.t.Helper()
	but := func(rules []rbacv1.PolicyRule) (left []rbacv1.PolicyRule) {
		for _, rule := range rules {
			if rule.Resources[0] == resource {
				rule.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool { return slices.Contains(without, verb) })
			}
			if len(rule.Verbs) > 0 {
				left = append(left, rule)
			}
		}
		return left
	}
	base := granted(w.t, "base/rbac.yaml")
	if base[0].Resources[0] != "namespaces" {
		w.t.Fatalf("the overlay takes out the first rule of the base, which is not that of namespaces: %v", base[0])
	}
	leases := rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}} // as in base/leases.yaml
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: but(append(base[1:], leases))}
	whole := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-" + name}, Rules: but(granted(w.t, "overlays/one-namespace/namespace.yaml"))}
	for i := range whole.Rules {
		whole.Rules[i].ResourceNames = []string{w.namespace}
	}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.namespace, Name: name}}
	ctx, none := w.t.Context(), metav1.CreateOptions{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name},
		Subjects:   subjects,
	}
	wholeBinding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: whole.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: whole.Name},
		Subjects:   subjects,
	}
	if _, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Create(ctx, account, none); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.RbacV1().Roles(w.namespace).Create(ctx, role, none); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.RbacV1().RoleBindings(w.namespace).Create(ctx, binding, none); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.RbacV1().ClusterRoles().Create(ctx, whole, none); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.RbacV1().ClusterRoleBindings().Create(ctx, wholeBinding, none); err != nil {
		w.t.Fatal(err)
	}
	token, err := w.admin.CoreV1().ServiceAccounts(w.namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, none)
	if err != nil {
		w.t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(w.config)
	config.QPS = -1
	config.BearerToken = token.Status.Token
	return config
}

// With the rights, and no more, everything works; without one of them the error names it and says where to add it.
func TestRightsForReal(t *testing.T) {
	w := newWorld(t)
	w.deploy("web", 1, "fail/ready:1")
	server := w.wait("web", "a pod", func(s *scaler.Server) bool { return s.Total == 1 && s.Observed == s.Generation })

	w.watch(kubernetes.NewForConfigOrDie(w.tenant("all", "")))
	services := NewServices(w.cache)
	w.run(services.Run)
	wait.Until(t, "the list of Services", services.informers[w.namespace].HasSynced)
	server, _ = w.cache.Get(server.ID)
	recorder := NewRecorder(w.cache, slog.New(slog.DiscardHandler))
	if err := recorder.write(t.Context(), server, scaler.Event{ID: "1", Type: scaler.Ready, Server: server.ID, At: noon}); err != nil {
		t.Errorf("event with all rights: %v", err)
	}
	if d := <-NewPods(w.cache).Diagnose(t.Context(), server); d.Reason != "NotReady" && d.Reason != "Pending" && d.Reason != "ContainerCreating" {
		t.Errorf("diagnosed with all rights: %+v", d)
	}
	if err := NewPods(w.cache).Kill(t.Context(), server); err != nil {
		t.Errorf("kill with all rights: %v", err)
	}
	w.write("web", 1, scaler.Mark{Awake: noon})
	if _, err := w.cache.client.CoreV1().Namespaces().Patch(t.Context(), w.namespace, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("patch the namespace: %v", err)
	}
	if _, err := w.cache.client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list all namespaces: %v", err)
	}
	if _, err := w.cache.client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=default"}); !apierrors.IsForbidden(err) {
		t.Errorf("list another namespace: %v", err)
	}

	for _, c := range []struct {
		verb, resource, full string
		do                   func(*Cache) error
	}{
		{"patch", "deployments", "deployments.apps", func(c *Cache) error {
			_, err := NewCluster(c).Write(t.Context(), server, 0, scaler.Mark{})
			return err
		}},
		{"get", "deployments", "deployments.apps", func(c *Cache) error {
			_, err := NewCluster(c).Fresh(t.Context(), server.ID)
			return err
		}},
		{"list", "replicasets", "replicasets.apps", func(c *Cache) error { return NewPods(c).Kill(t.Context(), server) }},
		{"list", "pods", "pods", func(c *Cache) error { return NewPods(c).Kill(t.Context(), server) }},
		{"delete", "pods", "pods", func(c *Cache) error { return NewPods(c).Kill(t.Context(), server) }},
	} {
		w.watch(kubernetes.NewForConfigOrDie(w.tenant("no-"+c.verb+"-"+c.resource, c.resource, c.verb)))
		mustBe(t, "no right to "+c.verb+" "+c.resource, c.do(w.cache), scaler.ErrRefused,
			"the API server refuses to "+c.verb+" "+c.full+" in "+w.namespace+": add it to the Role of idle-scaler's ServiceAccount")
	}
	w.watch(kubernetes.NewForConfigOrDie(w.tenant("no-pods", "pods", "list", "watch")))
	if d := <-NewPods(w.cache).Diagnose(t.Context(), server); d.Fatal || !strings.Contains(d.Text, "refuses to list pods") {
		t.Errorf("diagnosed without a right to: %+v", d)
	}
}

// What goes on trying without a right says so in the log; it does not look as if there were nothing.
func TestMissingRightsAreLogged(t *testing.T) {
	w := newWorld(t)
	web := w.deploy("web", 1, "web:1")
	logged := new(wait.Buffer)
	logger := slog.New(slog.NewTextHandler(logged, nil))
	blind := kubernetes.NewForConfigOrDie(w.tenant("blind", "deployments", "list", "watch"))
	cache, err := NewCache(blind, Scope{Namespaces: []string{w.namespace}}, testConfig, time.Now, logger)
	if err != nil {
		t.Fatal(err)
	}
	w.run(cache.Run)
	wait.Until(t, "word of the Deployments", func() bool {
		return strings.Contains(logged.String(), "the API server refuses to list deployments.apps in "+w.namespace)
	})
	if cache.Synced() {
		t.Error("synced without having read")
	}

	for resource, refused := range map[string]string{
		"namespaces":               "namespaces " + w.namespace + ": add it to a ClusterRole of idle-scaler's ServiceAccount, with resourceNames: [" + w.namespace + "]",
		"horizontalpodautoscalers": "horizontalpodautoscalers.autoscaling in " + w.namespace,
	} {
		client := kubernetes.NewForConfigOrDie(w.tenant("no-"+resource, resource, "list", "watch"))
		cache, err := NewCache(client, Scope{Namespaces: []string{w.namespace}}, testConfig, time.Now, logger)
		if err != nil {
			t.Fatal(err)
		}
		w.run(cache.Run)
		wait.Until(t, "word of the "+resource, func() bool { return strings.Contains(logged.String(), "the API server refuses to list "+refused) })
		wait.Until(t, "the list of Deployments", cache.Synced)
		missing := map[string]string{"namespaces": "the namespaces have not been read", "horizontalpodautoscalers": "the autoscalers have not been read"}[resource]
		wait.Until(t, "the other list", func() bool { return cache.Missing() == missing })
		server, known := cache.Get(web.ID)
		if !known || server.Bad != nil {
			t.Errorf("without the %s: known: %v, bad: %v", resource, known, server.Bad)
		}
	}

	cache, err = NewCache(kubernetes.NewForConfigOrDie(w.tenant("no-services", "services", "list", "watch")), Scope{Namespaces: []string{w.namespace}}, testConfig, time.Now, logger)
	if err != nil {
		t.Fatal(err)
	}
	w.run(NewServices(cache).Run)
	wait.Until(t, "word of the Services", func() bool {
		return strings.Contains(logged.String(), "the API server refuses to list services in "+w.namespace)
	})

	e := w.election()
	e.Logger = logger
	for _, verb := range []string{"get", "create"} {
		config := w.tenant("no-"+verb+"-lease", "leases", verb)
		w.run(func(ctx context.Context) error { return Elect(ctx, config, e, func(context.Context, func() bool) {}) })
		wait.Until(t, "word of the Lease", func() bool {
			return strings.Contains(logged.String(), "the API server refuses to "+verb+" leases.coordination.k8s.io in "+w.namespace)
		})
	}
	w.config = w.tenant("elected", "")
	terms, _ := w.candidate(t.Context(), w.election())
	close(receive(t, "leadership with the rights", terms).end)
}
