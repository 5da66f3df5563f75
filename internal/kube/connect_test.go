package kube

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func kubeconfigOf(t *testing.T, servers ...string) string {
	t.Helper()
	text := "apiVersion: v1\nkind: Config\ncurrent-context: c0\nclusters:\n"
	contexts := "contexts:\n"
	for i, server := range servers {
		n := string(rune('0' + i))
		text += "- name: k" + n + "\n  cluster: {server: \"" + server + "\"}\n"
		contexts += "- name: c" + n + "\n  context: {cluster: k" + n + "}\n"
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(text+contexts), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The API server is the one that was asked for, or there is an error that says where was looked. KUBECONFIG may name several files, and some that
// are not there: kubectl takes them together.
func TestConnect(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	path, other := kubeconfigOf(t, "https://one", "https://two"), kubeconfigOf(t, "https://one", "https://two", "https://three")
	missing, list := filepath.Join(t.TempDir(), "none"), string(filepath.ListSeparator)
	for _, c := range []struct {
		name, kubeconfig, context, env string
		want, wrong                    string
	}{
		{"the given file", path, "", missing, "https://one", ""},
		{"the given context", path, "c1", missing, "https://two", ""},
		{"KUBECONFIG", "", "", path, "https://one", ""},
		{"a context of KUBECONFIG", "", "c1", path, "https://two", ""},
		{"a missing file of KUBECONFIG, and one that is there", "", "", missing + list + path, "https://one", ""},
		{"a context of the second file of KUBECONFIG", "", "c2", path + list + other, "https://three", ""},
		{"the given file is one", path + list + other, "", path, "", path + list + other},
		{"no such file", missing, "", path, "", missing},
		{"no such context", path, "c7", missing, "", `"c7" does not exist`},
		{"nothing at all", "", "", missing, "", "give --kubeconfig"},
	} {
		t.Setenv("KUBECONFIG", c.env)
		config, err := Connect(c.kubeconfig, c.context, "v1", func(verb, code string) {})
		switch {
		case c.wrong != "":
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: error %v, want one that says %q", c.name, err, c.wrong)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case config.Host != c.want || config.QPS >= 0 || config.UserAgent != "idle-scaler/v1":
			t.Errorf("%s: host %s, QPS %v, agent %s", c.name, config.Host, config.QPS, config.UserAgent)
		}
	}
}

// In a pod a file that is given counts, then KUBECONFIG, and only then the pod's own account.
func TestConnectInAPod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	path, other := kubeconfigOf(t, "https://one"), kubeconfigOf(t, "https://other")
	for _, c := range []struct{ kubeconfig, env, want string }{
		{path, other, "https://one"},
		{"", other, "https://other"},
		{"", "", "read the pod's ServiceAccount"}, // which is not there
	} {
		t.Setenv("KUBECONFIG", c.env)
		config, err := Connect(c.kubeconfig, "", "v1", func(verb, code string) {})
		if err == nil && config.Host != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("kubeconfig %q, KUBECONFIG %q: %v, %v", c.kubeconfig, c.env, config, err)
		}
	}
}

// Every request is counted, also one that gets no answer.
func TestRequestsAreCounted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer server.Close()
	var counted []string
	config, err := Connect(kubeconfigOf(t, server.URL), "", "v1", func(verb, code string) { counted = append(counted, verb+" "+code) })
	if err != nil {
		t.Fatal(err)
	}
	deployments := kubernetes.NewForConfigOrDie(config).AppsV1().Deployments("team-a")
	deployments.Get(t.Context(), "search", metav1.GetOptions{})
	deployments.Watch(t.Context(), metav1.ListOptions{})
	deployments.Delete(t.Context(), "search", metav1.DeleteOptions{})
	server.Close()
	deployments.Get(t.Context(), "search", metav1.GetOptions{})
	if want := []string{"GET 403", "WATCH 403", "DELETE 403", "GET error"}; !slices.Equal(counted, want) {
		t.Errorf("counted %q, want %q", counted, want)
	}
}

func TestParseSelector(t *testing.T) {
	for _, c := range []struct {
		selector string
		labels   map[string]string
		want     bool
	}{
		{"", nil, true},
		{"team=a", map[string]string{"team": "a"}, true},
		{"team=a,tier!=test", map[string]string{"team": "a", "tier": "test"}, false},
		{"env in (a, b),!old", map[string]string{"env": "b"}, true},
		{"team", nil, false},
	} {
		match, err := ParseSelector(c.selector)
		if err != nil || match(c.labels) != c.want {
			t.Errorf("%q of %v: %v, want %v", c.selector, c.labels, err, c.want)
		}
	}
	if _, err := ParseSelector("team in a"); err == nil || !strings.Contains(err.Error(), `write it like "team=a`) {
		t.Errorf("no selector: %v", err)
	}
}
