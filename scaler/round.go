package scaler

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"idle-scaler/policy"
)

// round is what is to be done after a look at servers.
type round struct {
	t     *term
	sweep Sweep // what it came to
	errs  []error

	wake, sleep, notify []ID
	untold              []ID // whose last change may have to be told
	ordered             []ID // that sleep once others do
	slept               int  // how many the last do has put to sleep
}

func newRound(t *term) *round {
	return &round{t: t, sweep: Sweep{Decisions: make(map[policy.Reason]int)}}
}

func (r *round) sort(server *Server, d policy.Decision) {
	switch {
	case d.Action == policy.Wake || server.wokenByOthers():
		r.wake = append(r.wake, server.ID)
	case d.Action == policy.Sleep:
		r.sleep = append(r.sleep, server.ID)
	case d.Action == policy.Notify:
		r.notify = append(r.notify, server.ID)
	case d.Reason == policy.Ordered && server.Replicas > 0:
		r.ordered = append(r.ordered, server.ID)
	}
}

// run does all of it, those that others have to sleep before after these, and returns when it is done.
func (r *round) run(ctx context.Context) error {
	r.do(ctx)
	for len(r.ordered) > 0 && r.slept > 0 && ctx.Err() == nil {
		r.again()
		r.do(ctx)
	}
	return errors.Join(r.errs...)
}

// again decides anew about those that waited.
func (r *round) again() {
	s := r.t.s
	l := s.look()
	waited := r.ordered
	r.wake, r.sleep, r.notify, r.untold, r.ordered = nil, nil, nil, nil, nil
	for _, id := range waited {
		if server, ok := s.cache.Get(id); ok {
			s.guard(id, func() {
				facts := l.facts(server)
				r.sort(server, s.config.Rules.Decide(&facts, l.now))
			})
		}
	}
}

// do does all of it, servers in parallel, and returns when it is done; it may not be told yet. Nobody waits here for what else
// is at work on a server, such as a command that is tried for minutes, or an event that NATS does not take.
func (r *round) do(ctx context.Context) {
	s := r.t.s
	var mu sync.Mutex
	var pending sync.WaitGroup
	r.slept = 0
	tend := func(id ID, maySleep bool, after func()) {
		pending.Add(1)
		done := sync.OnceFunc(func() { after(); pending.Done() })
		ran := r.t.run(id, func() {
			defer done()
			e, err := r.t.tend(id, maySleep)
			mu.Lock()
			switch e.Type {
			case Slept:
				r.slept++
				r.sweep.Slept++
			case Woken:
				r.sweep.Woken++
			}
			if err != nil && !errors.Is(err, ErrUnknown) {
				r.errs = append(r.errs, fmt.Errorf("%s: %w", id, err))
				if !maySleep {
					r.t.tryAgain()
				}
			}
			mu.Unlock()
			done()
			r.t.tellTended(e)
		})
		if !ran {
			done()
		}
	}
	for _, id := range r.wake {
		if r.t.lanes.busy(id) {
			s.Consider(id)
			continue
		}
		tend(id, false, func() {})
	}
	for _, id := range r.notify {
		if !r.t.lanes.busy(id) { // else in the next sweep
			r.t.run(id, func() { r.t.notify(id) })
		}
	}
	for _, id := range r.sleep {
		if r.t.lanes.busy(id) {
			continue // until the next sweep
		}
		// Before it is in its lane, not there: a command to this server must not wait for the sleeps of others.
		if !acquire(ctx, s.sleeping) {
			break
		}
		tend(id, true, func() { release(s.sleeping) })
	}
	for _, id := range r.untold {
		if !r.t.lanes.busy(id) { // else it is told there
			r.t.run(id, func() { r.t.tellLast(id) })
		}
	}
	pending.Wait()
}
