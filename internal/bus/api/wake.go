package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

const (
	wakeTimeout = 20 * time.Second // how long it may take to store all commands to start
	wakeAtOnce  = 64               // of these commands are on their way at once
	wakeReason  = "wake --all"     // if the sender gives none
	mostNamed   = 1000             // servers in the answer
)

// wake puts a command to start on the stream for each server that the daemon has put to sleep by
// itself. It leaves and names those that an explicit order keeps asleep.
func (a *API) wake(ctx context.Context, r request) error {
	by, err := wire.ReadWakeRequest(r.Data)
	if err != nil {
		return err
	}
	by.Reason = cmp.Or(by.Reason, wakeReason)
	servers, err := a.config.Servers.List(scaler.Filter{Namespace: r.scope.Namespace})
	if err != nil {
		return err
	}
	var start []scaler.ID
	var left []string
	for _, server := range servers {
		if server.Replicas > 0 {
			continue
		}
		view := a.config.Servers.View(server)
		switch by, ours := sleepsBecause(&view.Facts, view.At); {
		case !ours:
		case by != "":
			left = append(left, server.ID.String()+": "+by)
		default:
			start = append(start, server.ID)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wakeTimeout) // they are many
	defer cancel()
	if stored, err := a.startAll(ctx, start, by); err != nil {
		return fmt.Errorf("%w: the command stream has taken orders to start %d of %d servers: "+
			"try again, a server that was started stays so: %w", answer.ErrUnavailable, stored, len(start), err)
	}
	half := a.room() / 2
	return a.answer(r, wire.WakeAnswer{
		Started: len(start),
		Servers: fill(start, mostNamed, half, scaler.ID.String),
		Left:    fill(left, mostNamed, half, asIs),
	}, nil)
}

// sleepsBecause returns whether the daemon has scaled a server to zero, and the explicit order that
// keeps it there, if there is one.
func sleepsBecause(f *policy.Facts, now time.Time) (order string, ours bool) {
	switch {
	case !f.Ours && f.Because != policy.BecauseAfter:
		return "", false
	case f.Hold.Holds(now) && f.Hold.Asleep:
		return "held asleep until " + f.Hold.Until.UTC().Format(time.RFC3339), true
	case f.Because == policy.BecauseCommand:
		return "stopped by a command", true
	}
	return "", true
}

// startAll puts a command for each server on the command stream. It tries all, and returns how many
// are stored, and the first error.
func (a *API) startAll(ctx context.Context, servers []scaler.ID, by wire.Sender) (int64, error) {
	payload, _ := json.Marshal(by) // texts: that can't fail
	var stored atomic.Int64
	var all errgroup.Group
	all.SetLimit(wakeAtOnce)
	for _, id := range servers {
		all.Go(func() error {
			_, err := a.js.Publish(ctx, a.config.Subjects.Command(wire.VerbStart, id), payload)
			if err == nil {
				stored.Add(1)
			}
			return err
		})
	}
	err := all.Wait()
	return stored.Load(), err
}
