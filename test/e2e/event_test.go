package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// events are those that were published since somebody looks.
type events struct {
	t    *testing.T
	mu   sync.Mutex
	seen []scaler.Event
}

// events subscribes to the events of the namespace.
func (w *world) events() *events {
	w.t.Helper()
	e := &events{t: w.t}
	sub, err := w.nc.Subscribe("cortex.mcp.event.*."+w.namespace+".>", func(m *nats.Msg) {
		decoded, err := wire.DecodeEvent(m.Data)
		e.mu.Lock()
		defer e.mu.Unlock()
		if err != nil {
			e.t.Errorf("event %s: %v", m.Subject, err)
		}
		e.seen = append(e.seen, event.FromWire(decoded))
	})
	natstest.Check(w.t, err)
	natstest.Check(w.t, w.nc.Flush())
	w.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return e
}

// all returns the events that match, in the order in which they came.
func (e *events) all(match func(scaler.Event) bool) (found []scaler.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.seen), func(e scaler.Event) bool { return !match(e) })
}

// find waits for the first event that matches.
func (e *events) find(what string, match func(scaler.Event) bool) (found scaler.Event) {
	e.t.Helper()
	wait.Eventually(e.t, what, func() error {
		all := e.all(match)
		if len(all) == 0 {
			return fmt.Errorf("other events are %v", e.all(func(scaler.Event) bool { return true }))
		}
		found = all[0]
		return nil
	})
	return found
}

// next waits for the first event of a type about a server.
func (e *events) next(kind scaler.EventType, name string) scaler.Event {
	e.t.Helper()
	return e.find(fmt.Sprintf("%s is %s", name, kind), func(e scaler.Event) bool {
		return e.Type == kind && e.Server.Name == name
	})
}

// order returns the names of the servers in the order in which something happened to each for the
// first time.
func (e *events) order(kind scaler.EventType) (names []string) {
	happened := e.all(func(e scaler.Event) bool { return e.Type == kind })
	// Each is published by itself: a later one may come first.
	slices.SortStableFunc(happened, func(a, b scaler.Event) int { return a.At.Compare(b.At) })
	for _, e := range happened {
		if !slices.Contains(names, e.Server.Name) {
			names = append(names, e.Server.Name)
		}
	}
	return names
}

// stored returns the events of a type about a server that the stream has.
func (w *world) stored(kind scaler.EventType, name string) (stored []scaler.Event) {
	w.t.Helper()
	stream, err := w.stream(eventStream)
	natstest.Check(w.t, err)
	subject := fmt.Sprintf("cortex.mcp.event.%s.%s.%s", kind, w.namespace, name)
	for sequence := uint64(1); ; sequence++ {
		m, err := stream.GetMsg(w.t.Context(), sequence, jetstream.WithGetMsgSubject(subject))
		if err != nil {
			return stored // there are no more
		}
		e, err := wire.DecodeEvent(m.Data)
		natstest.Check(w.t, err)
		stored, sequence = append(stored, event.FromWire(e)), m.Sequence
	}
}

// scaled returns the ids of the commands that have scaled a server, each once, in the order of the
// stream of events.
func (w *world) scaled(name string) (ids []string) {
	w.t.Helper()
	for _, e := range w.stored(scaler.Scaled, name) {
		if !slices.Contains(ids, e.Command) {
			ids = append(ids, e.Command)
		}
	}
	return ids
}
