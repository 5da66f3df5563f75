package kube

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// What happened is left on the Deployment once, as a warning when it is bad news; progress and servers that are gone are not.
func TestRecorder(t *testing.T) {
	cache := newTestCache(t)
	cache.put(at(9, "u1", 0))
	recorder := NewRecorder(cache, slog.New(slog.DiscardHandler))
	slept := scaler.Event{ID: "1", Type: scaler.Slept, Server: testID, At: noon, From: 2, Cause: policy.CauseIdle, Text: "unused for 31m"}
	failed := scaler.Event{ID: "2", Type: scaler.Failed, Server: testID, At: noon, From: 1, To: 1, Cause: policy.CauseCommand, Text: "no image", Actor: "bob", Command: "c1", Reason: "lunch"}
	for _, e := range []scaler.Event{
		slept,
		{ID: "3", Type: scaler.Progress, Server: testID},
		{ID: "4", Type: scaler.Rejected, Server: scaler.ID{Namespace: "team-a", Name: "gone"}},
		slept,
		failed,
	} {
		recorder.Record(e)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- recorder.Run(ctx) }()
	list := func() []eventsv1.Event {
		events, err := cache.client.EventsV1().Events("team-a").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return events.Items
	}
	wait.Until(t, "two events", func() bool { return len(list()) == 2 })
	stop()
	<-ended
	found := make(map[string]eventsv1.Event)
	for _, e := range list() {
		found[e.Reason] = e
	}
	for reason, want := range map[string]struct{ kind, note string }{
		"Slept":  {"Normal", "2 → 0 replicas: unused for 31m"},
		"Failed": {"Warning", `1 replica, by a command of "bob" ("lunch"), command c1: no image`},
	} {
		e := found[reason]
		if e.Type != want.kind || e.Note != want.note || e.Regarding.UID != "u1" || e.Regarding.Name != "search" || !e.EventTime.Time.Equal(noon) {
			t.Errorf("%s: %+v", reason, e)
		}
	}
}

// A failure to write is told once, and once more when it comes back: who has repaired it would not hear of it otherwise.
func TestFailureToRecordIsToldAgain(t *testing.T) {
	cache := newTestCache(t)
	cache.put(at(9, "u1", 0))
	refused := errors.New("no room")
	answers := []error{refused, refused, nil, refused, nil}
	written := make(chan struct{}, len(answers))
	cache.client.(*fake.Clientset).PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		err := answers[0]
		answers = answers[1:]
		written <- struct{}{}
		return true, &eventsv1.Event{}, err
	})
	var log bytes.Buffer
	recorder := NewRecorder(cache, slog.New(slog.NewTextHandler(&log, nil)))
	for range cap(written) {
		recorder.Record(scaler.Event{Type: scaler.Slept, Server: testID})
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- recorder.Run(ctx) }()
	for range cap(written) {
		<-written
	}
	stop()
	<-ended
	if n := strings.Count(log.String(), "cannot write kubernetes events"); n != 2 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
}

// Reasons are written as Kubernetes writes them, whatever the type is: it may come from an annotation that anybody can change.
func TestReasonOf(t *testing.T) {
	for kind, want := range map[scaler.EventType]string{scaler.Slept: "Slept", scaler.SoonAsleep: "SleepingSoon", "": "", "-": "", "a--é-": "A"} {
		if got := reasonOf(kind); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q: %q, want %q", kind, got, want)
		}
	}
}

// Recording never waits: neither for the API server, nor when nothing runs.
func TestRecordDoesNotBlock(t *testing.T) {
	recorder := NewRecorder(nil, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 * eventsQueued {
			recorder.Record(scaler.Event{Type: scaler.Slept})
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("blocked")
	}
	if n := recorder.Dropped(); n != eventsQueued {
		t.Errorf("%d dropped", n)
	}
}

// What was dropped is logged once, and counted for good.
func TestDroppedEventsAreToldOnceAndCounted(t *testing.T) {
	cache := newTestCache(t)
	cache.put(at(9, "u1", 0))
	written := make(chan struct{}, 2*eventsQueued)
	cache.client.(*fake.Clientset).PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		written <- struct{}{}
		return true, &eventsv1.Event{}, nil
	})
	var log bytes.Buffer
	recorder := NewRecorder(cache, slog.New(slog.NewTextHandler(&log, nil)))
	if n := recorder.Dropped(); n != 0 {
		t.Errorf("%d dropped before anything was recorded", n)
	}
	const many = 3
	for range eventsQueued + many {
		recorder.Record(scaler.Event{Type: scaler.Slept, Server: testID})
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- recorder.Run(ctx) }()
	for range eventsQueued {
		<-written
	}
	if n := recorder.Dropped(); n != many {
		t.Errorf("%d dropped, want %d", n, many)
	}
	stop()
	<-ended
	if text := log.String(); strings.Count(text, "events were dropped") != 1 || !strings.Contains(text, "dropped=3") {
		t.Errorf("told:\n%s", text)
	}
}
