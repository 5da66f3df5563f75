package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// call is a request under way.
type call struct {
	done   chan struct{}
	answer wire.Answer
	err    error
}

// later makes a request in a goroutine of its own.
func later(request func() (wire.Answer, error)) *call {
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.answer, c.err = request()
	}()
	return c
}

// isOpen expects that there is no answer for as long as d.
func (c *call) isOpen(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-c.done:
		t.Fatalf("it is answered already: %+v, %v", c.answer, c.err)
	case <-time.After(d):
	}
}

// end waits for the answer.
func (c *call) end(t *testing.T) (wire.Answer, error) {
	t.Helper()
	wait.For(t, "the answer", c.done)
	return c.answer, c.err
}

// refused expects that an answer is an error of a code with a text that says certain things.
func refused(t *testing.T, err error, code int, says ...string) {
	t.Helper()
	var answer *wire.Error
	if !errors.As(err, &answer) || answer.Code != code || !containsAll(answer.Text, says...) {
		t.Errorf("answered %v, want code %d and %q", err, code, says)
	}
}

// missing is an error that names the first of the parts that a text lacks.
func missing(text string, parts ...string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("%q is not in %q", part, text)
		}
	}
	return nil
}

func containsAll(text string, parts ...string) bool { return missing(text, parts...) == nil }

// A start that waits is answered at the first ready pod, a scale when all are ready. Whoever waits
// for less time is answered with 504 then, and the server goes on starting.
func TestRequestsWaitForTheirServer(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha", replicas(0), annotation("wake-replicas", "3"), image("fail/ready")) // ready when the test says so
	events := w.events()
	w.run()
	a, err := w.Start(t.Context(), w.id("alpha"), 2*time.Second, wire.Sender{})
	refused(t, err, 504, w.namespace+"/alpha", "not ready after 2s", "goes on starting")
	if a.Server == nil || a.Server.Status != "pending" || a.Server.Replicas != 3 {
		t.Errorf("answered with %+v", a.Server)
	}
	if a.Event == nil || *a.Event != (wire.Transition{Type: "woken", From: 0, To: 3}) {
		t.Errorf("answered with %+v", a.Event)
	}

	start := later(func() (wire.Answer, error) {
		return w.Start(t.Context(), w.id("alpha"), time.Minute, wire.Sender{})
	})
	scale := later(func() (wire.Answer, error) {
		return w.Scale(t.Context(), w.id("alpha"), 3, time.Minute, wire.Sender{})
	})
	start.isOpen(t, 500*time.Millisecond)
	w.makeReady("alpha", 1)
	a, err = start.end(t)
	if err != nil || a.Server.Replicas != 3 || a.Server.ReadyReplicas != 1 || a.Server.Status != "scaling" {
		t.Errorf("the start is answered %+v, %v", a.Server, err)
	}
	if e := events.next(scaler.Ready, "alpha"); e.Took < 2*time.Second {
		t.Errorf("published %+v", e)
	}
	w.makeReady("alpha", 2)
	scale.isOpen(t, 500*time.Millisecond)
	w.makeReady("alpha", 3)
	a, err = scale.end(t)
	if err != nil || a.Server.Status != "running" || a.Server.ReadyReplicas != 3 {
		t.Errorf("the scale is answered %+v, %v", a.Server, err)
	}
}

// noQuota lets no pod into the namespace.
func noQuota(w *world) {
	w.t.Helper()
	quotas := w.kube.CoreV1().ResourceQuotas(w.namespace)
	none := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	_, err := quotas.Create(w.t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "tight"}, Spec: corev1.ResourceQuotaSpec{Hard: none},
	}, metav1.CreateOptions{})
	natstest.Check(w.t, err)
	wait.Eventually(w.t, "the quota is in force", func() error {
		q, err := quotas.Get(w.t.Context(), "tight", metav1.GetOptions{})
		if err == nil && len(q.Status.Hard) == 0 {
			err = errors.New("it has no status")
		}
		return err
	})
}

// A start that can't end well is answered as soon as that is known, with the words of the cluster.
// Status and event say the same.
func TestStartSaysWhyNot(t *testing.T) {
	for _, c := range []struct {
		name, image string
		prepare     func(w *world)
		says        []string
	}{
		{"it crashes", "fail/crash", func(*world) {}, []string{"CrashLoopBackOff", "container mcp crashes", "exit code 1"}},
		{"no quota", "fine", noQuota, []string{"FailedCreate", "exceeded quota: tight"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy("alpha", replicas(0), image(c.image))
			c.prepare(w)
			events := w.events()
			w.run()
			began := time.Now()
			a, err := w.Start(t.Context(), w.id("alpha"), 5*time.Minute, wire.Sender{Actor: "ann"})
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("answered after %s", took)
			}
			refused(t, err, 503, append(slices.Clone(c.says), w.namespace+"/alpha will not get ready")...)
			if a.Event == nil || a.Event.Type != "woken" || a.Server == nil {
				t.Errorf("answered %+v", a)
			}
			if e := events.next(scaler.Failed, "alpha"); !containsAll(e.Text, c.says...) || e.Actor != "ann" {
				t.Errorf("published %+v", e)
			}
			wait.Eventually(t, "status says why", func() error {
				s, err := w.status("alpha")
				if err == nil && s.Status != "failed" {
					err = fmt.Errorf("it is %s", s.Status)
				}
				return errors.Join(err, missing(s.Failure, c.says...))
			})
		})
	}
}
