package e2e

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// relay stands between a daemon and the API server, so that a test can act at the very moment of a
// write. It changes nothing in what it relays.
type relay struct {
	kubeconfig string // for the daemon

	mu     sync.Mutex
	before func(patch string) // is called before a patch of a Deployment is handed on, which waits for it
	after  func(patch string) // is called when the API server has done it, before the daemon has the answer
}

type patchKey struct{}

// newRelay returns a relay that only relays, until act.
func newRelay(t *testing.T) *relay {
	t.Helper()
	target, err := url.Parse(admin.Host)
	natstest.Check(t, err)
	transport, err := rest.TransportFor(admin)
	natstest.Check(t, err)
	r := &relay{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorLog:      log.New(io.Discard, "", 0),
		ModifyResponse: func(response *http.Response) error {
			if patch, ok := response.Request.Context().Value(patchKey{}).(string); ok {
				r.call(func() func(string) { return r.after }, patch)
			}
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPatch && strings.Contains(request.URL.Path, "/deployments/") {
			body, err := io.ReadAll(request.Body)
			if err != nil {
				return // the daemon is gone
			}
			r.call(func() func(string) { return r.before }, string(body))
			// With a context of its own: what was begun is done, also if the daemon is gone.
			ctx := context.WithValue(context.WithoutCancel(request.Context()), patchKey{}, string(body))
			request = request.WithContext(ctx)
			request.Body = io.NopCloser(bytes.NewReader(body))
		}
		proxy.ServeHTTP(w, request)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	config := clientcmdapi.NewConfig()
	config.Clusters["relay"] = &clientcmdapi.Cluster{Server: server.URL}
	config.Contexts["relay"] = &clientcmdapi.Context{Cluster: "relay"}
	config.CurrentContext = "relay"
	natstest.Check(t, clientcmd.WriteToFile(*config, r.kubeconfig))
	return r
}

func (r *relay) call(which func() func(string), patch string) {
	r.mu.Lock()
	f := which()
	r.mu.Unlock()
	if f != nil {
		f(patch)
	}
}

// act sets what is done from now on.
func (r *relay) act(before, after func(patch string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.after = before, after
}

// once returns f for the first patch that holds a text, and nothing for the others.
func once(text string, f func()) func(patch string) {
	var first sync.Once
	return func(patch string) {
		if strings.Contains(patch, text) {
			first.Do(f)
		}
	}
}

// written returns f for the first patch after which a server is marked with a command: a patch that
// met a conflict is not the one.
func (w *world) written(name, id string, f func()) func(patch string) {
	var first sync.Once
	return func(string) {
		if strings.HasSuffix(w.mark(name, "command"), " "+id) {
			first.Do(f)
		}
	}
}

// asleep returns f for the first patch after which a server has no replicas, likewise.
func (w *world) asleep(name string, f func()) func(patch string) {
	var first sync.Once
	return func(string) {
		if w.wants(0, name) == nil {
			first.Do(f)
		}
	}
}

// moment is one at which something is held until the test has done what it wants to do then.
type moment struct{ came, over chan struct{} }

func newMoment() moment { return moment{make(chan struct{}), make(chan struct{})} }

// hold says that the moment has come, and returns when it is over. It is called once.
func (m moment) hold() {
	close(m.came)
	<-m.over
}

// then waits for the moment, and lets it be over when f has returned.
func (m moment) then(t *testing.T, f func()) {
	t.Helper()
	defer close(m.over)
	wait.For(t, "the moment", m.came)
	f()
}
