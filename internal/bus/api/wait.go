package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

const (
	// appliedMargin is how much longer a replica waits for the leader than the command may be
	// applied.
	appliedMargin = 2 * time.Second

	// endsWithin is how long a replica that ends still waits for the leader. It answers a command
	// that is applied at that moment.
	endsWithin = time.Second
)

// waiting is a request that waits for the outcome of its command.
type waiting struct {
	scaler.Command
	request  request
	sequence uint64    // of the command in its stream
	until    time.Time // when the sender wants an answer, ready or not
	result   <-chan command.Result
	forget   func()
}

// wait waits, and answers.
func (a *API) wait(w *waiting) {
	defer a.waits.Return(w.Server.Namespace)
	defer w.forget()
	var body wire.Answer
	failure := a.guarded(w.request, func() (err error) { body, err = a.outcome(w); return err })
	a.finish(w.request, body, failure)
}

// outcome waits for what the leader says of a command and then, if the request asks for that, for
// the server to be ready.
func (a *API) outcome(w *waiting) (wire.Answer, error) {
	result, err := a.applied(w)
	switch {
	case err != nil:
		return result.Answer, err
	case result.Error != nil:
		return result.Answer, result.Error
	case w.Wait == 0 || !result.Wanted:
		return result.Answer, nil
	}
	ctx, cancel := context.WithDeadline(context.Background(), w.until)
	defer cancel()
	defer context.AfterFunc(a.ends, cancel)()
	server, err := a.config.Orders.Await(ctx, scaler.Applied{
		Server: w.Server, UID: result.UID, Version: result.Version, All: w.Verb == scaler.Scale, Wait: w.Wait,
	}, a.progress)
	if server != nil {
		summary := a.summary(server)
		result.Server = &summary
	}
	if err != nil && a.ends.Err() != nil && errors.Is(err, scaler.ErrNotInTime) {
		err = fmt.Errorf("%w: the replica that waited for %s ends: it goes on starting, ask for its status",
			answer.ErrUnavailable, w.Server)
	}
	return result.Answer, err
}

// applied waits for what the leader says of a command. If its answer got lost, the mark on the
// Deployment may tell.
func (a *API) applied(w *waiting) (command.Result, error) {
	late := time.NewTimer(max(w.Wait, wire.AppliedWithin) + appliedMargin)
	defer late.Stop()
	select {
	case result := <-w.result:
		return result, nil
	case <-late.C:
		return a.fromMark(w)
	case <-a.ends.Done():
	}
	select {
	case result := <-w.result:
		return result, nil
	case <-time.After(endsWithin):
		return command.Result{}, errEnds
	}
}

// fromMark returns what the mark on the Deployment says of a command.
func (a *API) fromMark(w *waiting) (command.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stream.RequestTimeout)
	defer cancel()
	view, err := a.config.Servers.Status(ctx, w.Server)
	if err != nil || view.Server.Mark.Done.Stamp.Sequence != w.sequence {
		return command.Result{}, fmt.Errorf("%w: no leader has answered: the command may be applied or not, "+
			"ask for the server's status", scaler.ErrUnsure)
	}
	outcome := scaler.Outcome{Server: view.Server, Event: view.Server.Mark.Last}
	return command.NewResult(outcome, w.sequence, a.config.Servers.View), nil
}

// progress returns why a server is not ready yet, as was published last; empty if nothing was.
func (a *API) progress(server *scaler.Server) string {
	if a.ends.Err() != nil { // many may wait, and their answers do not say it
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
