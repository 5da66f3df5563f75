package kube

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"idle-scaler/scaler"
)

// rights are what the daemon may do in a namespace that it looks after, and all that it needs there.
var rights = []rbacv1.PolicyRule{
	{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "list", "watch", "patch"}},
	{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list"}},
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"list", "watch"}},
	{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create"}},
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}},
}

// tenant returns the way in of a ServiceAccount with the rights, but for some verbs of a resource.
func (w *world) tenant(name, resource string, without ...string) *rest.Config {
	w.t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, rule := range rights {
		if rule.Resources[0] == resource {
			rule.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool { return slices.Contains(without, verb) })
		}
		if len(rule.Verbs) > 0 {
			role.Rules = append(role.Rules, rule)
		}
	}
	ctx, none := w.t.Context(), metav1.CreateOptions{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.namespace, Name: name}},
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
	eventually(t, "the list of Services", services.informers[w.namespace].HasSynced)
	server, _ = w.cache.Get(server.ID)
	recorder := NewRecorder(w.cache.client, w.cache, slog.New(slog.DiscardHandler))
	if err := recorder.write(t.Context(), scaler.Event{ID: "1", Type: scaler.Ready, Server: server.ID, At: noon}); err != nil {
		t.Errorf("event with all rights: %v", err)
	}
	if d := <-NewPods(w.cache).Diagnose(t.Context(), server); d.Reason != "NotReady" && d.Reason != "Pending" && d.Reason != "ContainerCreating" {
		t.Errorf("diagnosed with all rights: %+v", d)
	}
	if err := NewPods(w.cache).Kill(t.Context(), server); err != nil {
		t.Errorf("kill with all rights: %v", err)
	}
	w.write("web", 1, scaler.Mark{Awake: noon})

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

// log keeps what is logged.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) says(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// What goes on trying without a right says so in the log; it does not look as if there were nothing.
func TestMissingRightsAreLogged(t *testing.T) {
	w := newWorld(t)
	logged := new(log)
	logger := slog.New(slog.NewTextHandler(logged, nil))
	blind := kubernetes.NewForConfigOrDie(w.tenant("blind", "deployments", "list", "watch"))
	cache, err := NewCache(blind, Scope{Namespaces: []string{w.namespace}}, testDefaults, logger)
	if err != nil {
		t.Fatal(err)
	}
	w.run(cache.Run)
	eventually(t, "word of the Deployments", func() bool { return logged.says("the API server refuses to list deployments.apps in " + w.namespace) })
	if cache.Synced() {
		t.Error("synced without having read")
	}

	cache, err = NewCache(kubernetes.NewForConfigOrDie(w.tenant("no-services", "services", "list", "watch")), Scope{Namespaces: []string{w.namespace}}, testDefaults, logger)
	if err != nil {
		t.Fatal(err)
	}
	w.run(NewServices(cache).Run)
	eventually(t, "word of the Services", func() bool { return logged.says("the API server refuses to list services in " + w.namespace) })

	e := w.election()
	e.Logger = logger
	for _, verb := range []string{"get", "create"} {
		config := w.tenant("no-"+verb+"-lease", "leases", verb)
		w.run(func(ctx context.Context) error { return Elect(ctx, config, e, func(context.Context, func() bool) {}) })
		eventually(t, "word of the Lease", func() bool {
			return logged.says("the API server refuses to " + verb + " leases.coordination.k8s.io in " + w.namespace)
		})
	}
	w.config = w.tenant("elected", "")
	terms, _ := w.candidate(t.Context(), w.election())
	close(receive(t, "leadership with the rights", terms).end)
}
