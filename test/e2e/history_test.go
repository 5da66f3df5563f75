package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/watch"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// history is what was written on the servers of the world, as a watch of the test's own shows it.
type history struct {
	t       *testing.T
	mu      sync.Mutex
	last    map[string]*appsv1.Deployment
	written map[string][]string // by server: the ids of the commands whose writes are marked
	marked  map[string][]string // by server: the values that its mark "command" had
}

// history begins to watch the Deployments.
func (w *world) history() *history {
	w.t.Helper()
	h := &history{
		t: w.t, last: make(map[string]*appsv1.Deployment),
		written: make(map[string][]string), marked: make(map[string][]string),
	}
	deployments := w.kube.AppsV1().Deployments(w.namespace)
	list, err := deployments.List(w.t.Context(), metav1.ListOptions{})
	natstest.Check(w.t, err)
	for i := range list.Items {
		h.add(&list.Items[i])
	}
	// It goes on where it was when the API server ends a watch, as it does when a watcher is slow.
	watcher, err := watch.NewRetryWatcherWithContext(context.WithoutCancel(w.t.Context()), list.ResourceVersion,
		&cache.ListWatch{WatchFuncWithContext: deployments.Watch})
	natstest.Check(w.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range watcher.ResultChan() {
			if d, ok := e.Object.(*appsv1.Deployment); ok {
				h.add(d)
			} else if w.t.Context().Err() == nil { // its end comes as an error
				h.t.Errorf("the watch of Deployments has failed: %+v", e.Object)
			}
		}
	}()
	w.t.Cleanup(func() { watcher.Stop(); <-done })
	return h
}

func (h *history) add(d *appsv1.Deployment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := map[string]string{}
	if before := h.last[d.Name]; before != nil {
		was = before.Annotations
	}
	h.last[d.Name] = d
	if mark := d.Annotations["idle-scaler/command"]; mark != was["idle-scaler/command"] {
		h.marked[d.Name] = append(h.marked[d.Name], mark)
	}
	last := d.Annotations["idle-scaler/last"]
	if last == was["idle-scaler/last"] {
		return
	}
	var e struct{ Cause, Command string }
	if err := json.Unmarshal([]byte(last), &e); err != nil {
		h.t.Errorf("the last transition of %s is %q: %v", d.Name, last, err)
	}
	if e.Cause == string(policy.CauseCommand) {
		h.written[d.Name] = append(h.written[d.Name], e.Command)
	}
}

// of returns the ids of the commands to a server in the order in which they were applied. It is an
// error if the writes and the marks differ, or a mark came twice.
func (h *history) of(name string) (ids []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := make(map[string]bool)
	for _, mark := range h.marked[name] {
		if seen[mark] {
			return nil, fmt.Errorf("%s was marked with %q twice", name, mark)
		}
		seen[mark] = true
		_, id, _ := strings.Cut(mark, " ")
		ids = append(ids, id)
	}
	if !slices.Equal(ids, h.written[name]) {
		return nil, fmt.Errorf("%s was marked with %q, and written for %q", name, ids, h.written[name])
	}
	return ids, nil
}

// await waits until these commands, and no others, were applied to a server.
func (h *history) await(name string, want []string) {
	h.t.Helper()
	wait.Eventually(h.t, fmt.Sprintf("%d commands are applied to %s", len(want), name), func() error {
		got, err := h.of(name)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("applied are %q, want %q", got, want)
		}
		return err
	})
}

// appliedOnce waits until nothing is left to do for any command, and expects that these, and no
// others, were applied to a server, and that nothing was rejected.
func (w *world) appliedOnce(h *history, name string, want []string) {
	w.t.Helper()
	wait.Eventually(w.t, "the command stream is empty", func() error { return w.holds(commandStream, 0) })
	h.await(name, want)
	for _, kind := range []scaler.EventType{scaler.Rejected, scaler.Expired} {
		if events := w.stored(kind, name); len(events) > 0 {
			w.t.Errorf("the stream has %+v", events)
		}
	}
}

// orders are the ids order-1 to order-n.
func orders(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("order-%d", i+1))
	}
	return ids
}
