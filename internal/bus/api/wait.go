package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

const (
	maxWaits = 4096 // how many requests of a replica may wait at once

	// appliedMargin is how much longer than the command may take to be applied a replica waits for word of that.
	appliedMargin = 2 * time.Second

	// endsWithin is how long a replica that ends goes on waiting for the leader: what is applied at that moment is
	// still answered.
	endsWithin = time.Second
)

// waits bounds the requests that wait. A namespace has at most half of the places that others leave it.
type waits struct {
	mu     sync.Mutex
	all    int
	inEach map[string]int // by namespace
}

// begin takes a place, if the namespace may have one.
func (w *waits) begin(namespace string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inEach[namespace] >= maxWaits-w.all {
		return false
	}
	if w.inEach == nil {
		w.inEach = make(map[string]int)
	}
	w.inEach[namespace]++
	w.all++
	return true
}

func (w *waits) end(namespace string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.inEach[namespace]--; w.inEach[namespace] == 0 {
		delete(w.inEach, namespace)
	}
}

// waiting is a request that waits for what becomes of its command.
type waiting struct {
	scaler.Command
	request micro.Request
	until   time.Time // when it wants to know, ready or not
	result  <-chan command.Result
	forget  func()
}

// wait waits, and answers.
func (a *API) wait(w *waiting) {
	defer a.waits.end(w.Server.Namespace)
	defer w.forget()
	body, failure := a.outcome(w)
	if failure != nil {
		a.errors[string(w.Verb)].Add(1)
	}
	if err := a.answer(w.request, body, failure); err != nil {
		a.config.Logger.Debug("cannot answer a request", "subject", wire.Shorten(w.request.Subject()), "failure", failure, "err", err)
	}
}

// outcome is what became of a command: what the leader says of it and then, if the request waits for that, how the
// server got ready.
func (a *API) outcome(w *waiting) (wire.Answer, error) {
	var result command.Result
	applied := time.NewTimer(max(w.Wait, command.AppliedWithin) + appliedMargin)
	defer applied.Stop()
	select {
	case result = <-w.result:
	case <-applied.C:
		return wire.Answer{}, fmt.Errorf("%w: no leader has said what became of the command: it may be applied or not, ask for the server's status",
			scaler.ErrUnsure)
	case <-a.ends.Done():
		select {
		case result = <-w.result:
		case <-time.After(endsWithin):
			return wire.Answer{}, fmt.Errorf("%w: the replica that took the request ends: the command is in force, ask for the server's status", answer.ErrUnavailable)
		}
	}
	if result.Error != nil {
		return result.Answer, result.Error
	}
	if w.Wait == 0 || !result.Wanted {
		return result.Answer, nil
	}
	ctx, cancel := context.WithDeadline(context.Background(), w.until)
	defer cancel()
	defer context.AfterFunc(a.ends, cancel)()
	at := scaler.Applied{
		Server: w.Server, UID: result.UID, Generation: result.Generation, Version: result.Version,
		All: w.Verb == scaler.Scale, Wait: w.Wait,
	}
	server, err := a.config.Servers.Await(ctx, at, func(since time.Time) string { return a.progress(w.Server, since) })
	if server != nil {
		summary := answer.Summary(a.config.Servers.View(server))
		result.Server = &summary
	}
	if err != nil && a.ends.Err() != nil && errors.Is(err, scaler.ErrNotInTime) {
		err = fmt.Errorf("%w: the replica that waited for %s ends: it goes on starting, ask for its status", answer.ErrUnavailable, w.Server)
	}
	return result.Answer, err
}

// progress is why a server is not ready yet, as was published last since an instant; empty if nothing was.
func (a *API) progress(id wire.ID, since time.Time) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	m, err := stream.Last(ctx, a.nc, stream.Events.Name(a.config.Subjects), a.config.Subjects.Event(wire.EventProgress, id))
	if err != nil || m.Sequence == 0 || m.Time.Before(since) {
		return ""
	}
	e, _ := wire.DecodeEvent(m.Data) // what is no event has no text
	return e.Text
}
