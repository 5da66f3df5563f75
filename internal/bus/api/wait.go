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
	"idle-scaler/internal/share"
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

// waits bounds the requests that wait.
type waits struct {
	mu     sync.Mutex
	places share.Places
}

// begin takes a place, if the namespace may have one.
func (w *waits) begin(namespace string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.places.Take(namespace)
}

func (w *waits) end(namespace string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places.Return(namespace)
}

func (w *waits) taken() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.places.Taken()
}

// waiting is a request that waits for what becomes of its command.
type waiting struct {
	scaler.Command
	request  micro.Request
	sequence uint64    // of the command in its stream
	until    time.Time // when it wants to know, ready or not
	result   <-chan command.Result
	forget   func()
}

// wait waits, and answers.
func (a *API) wait(w *waiting) {
	defer a.waits.end(w.Server.Namespace)
	defer w.forget()
	var body wire.Answer
	failure := a.guarded(w.request, func() (err error) { body, err = a.outcome(w); return err })
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
	result, err := a.applied(w)
	if err != nil {
		return result.Answer, err
	}
	if w.Wait == 0 || !result.Wanted {
		return result.Answer, nil
	}
	ctx, cancel := context.WithDeadline(context.Background(), w.until)
	defer cancel()
	defer context.AfterFunc(a.ends, cancel)()
	at := scaler.Applied{
		Server: w.Server, UID: result.UID, Version: result.Version, All: w.Verb == scaler.Scale, Wait: w.Wait,
	}
	server, err := a.config.Servers.Await(ctx, at, a.progress)
	if server != nil {
		summary := answer.Summary(a.config.Servers.View(server))
		result.Server = &summary
	}
	if err != nil && a.ends.Err() != nil && errors.Is(err, scaler.ErrNotInTime) {
		err = fmt.Errorf("%w: the replica that waited for %s ends: it goes on starting, ask for its status", answer.ErrUnavailable, w.Server)
	}
	return result.Answer, err
}

// applied is what the leader says of a command. If its word got lost, the Deployment may say it as well.
func (a *API) applied(w *waiting) (command.Result, error) {
	late := time.NewTimer(max(w.Wait, wire.AppliedWithin) + appliedMargin)
	defer late.Stop()
	select {
	case result := <-w.result:
		return result, refusal(result)
	case <-late.C:
		return a.fromMark(w)
	case <-a.ends.Done():
	}
	select {
	case result := <-w.result:
		return result, refusal(result)
	case <-time.After(endsWithin):
		return command.Result{}, errEnds
	}
}

func refusal(result command.Result) error {
	if result.Error != nil {
		return result.Error
	}
	return nil
}

// fromMark is what the mark on the Deployment says of a command.
func (a *API) fromMark(w *waiting) (command.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stream.RequestTimeout)
	defer cancel()
	view, err := a.config.Servers.Status(ctx, w.Server)
	if err == nil && view.Server.Mark.Done.Stamp.Sequence == w.sequence {
		return command.NewResult(scaler.Outcome{Server: view.Server, Event: view.Server.Mark.Last}, w.sequence, a.config.Servers.View), nil
	}
	return command.Result{}, fmt.Errorf("%w: no leader has said what became of the command: it may be applied or not, ask for the server's status",
		scaler.ErrUnsure)
}

// progress is why a server is not ready yet, as was published last; empty if nothing was.
func (a *API) progress(server *scaler.Server) string {
	if a.ends.Err() != nil { // many may wait, and none is told
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	subject := a.config.Subjects.Event(wire.EventProgress, server.ID)
	m, err := stream.Last(ctx, a.nc, stream.Events.Name(a.config.Subjects), subject)
	if err != nil {
		return ""
	}
	e, err := a.config.Subjects.ReadEvent(subject, m.Data)
	if err != nil || !server.IsAbout(e.ID) {
		return ""
	}
	return e.Text
}
