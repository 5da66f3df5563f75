package scaler

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"idle-scaler/internal/share"
	"idle-scaler/policy"
)

// term is one unbroken time of leadership.
type term struct {
	s      *Scaler
	ending context.Context // done when the term is asked to end: the next leader does what has not begun by then
	ctx    context.Context // done when nothing may be done any more
	leads  func() bool     // whether the lease was renewed in time, at this moment
	began  time.Time
	queue  *queue
	former former

	// Used only within the pass over the daemon itself.
	blind     time.Time // since when silence proves nothing; zero: it proves something
	blindness Event     // to be published; without an ID: nothing

	watches sync.WaitGroup // of pods

	mu       sync.Mutex
	states   map[ID]*state
	absent   share.Places     // of commands that wait for a Deployment that is not there
	rejected map[ID]rejection // the last command of a server that was rejected
}

// Lead is one term of leadership: until ctx is done it applies commands, decides about servers, and
// sweeps on the schedule. Leads reports, at any moment, whether the lease was renewed in time;
// nothing is written when it was not. When ctx is done and the lease still holds, passes that have
// begun may go on for Config.DrainFor. Only one Lead may run at a time.
func (s *Scaler) Lead(ctx context.Context, schedule policy.Schedule, leads func() bool) {
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	t := &term{
		s: s, ending: ctx, ctx: work, leads: leads, began: s.now(),
		queue: newQueue(s.now, s.config.MaxInFlight, s.config.MaxSleeps), states: make(map[ID]*state),
		absent: share.Places{Most: maxAbsent}, rejected: make(map[ID]rejection),
	}
	defer context.AfterFunc(ctx, func() {
		t.queue.close()
		if leads() {
			select {
			case <-time.After(s.config.DrainFor):
			case <-work.Done():
			}
		}
		abort()
	})()
	t.former = t.readFormer()
	s.term.Store(t)
	for server := range s.cache.All { // a former leader may have left something to do
		t.queue.add(server.ID, byChange)
	}
	var workers sync.WaitGroup
	for range s.config.MaxInFlight {
		workers.Go(t.work)
	}
	t.sweepOn(ctx, schedule)
	s.term.Store(nil)
	workers.Wait()
	abort()
	t.watches.Wait()
}

// Leads reports whether a term is under way: whether commands are taken.
func (s *Scaler) Leads() bool { return s.term.Load() != nil }

// work makes one pass after the other.
func (t *term) work() {
	for id, p, ok := t.queue.get(); ok; id, p, ok = t.queue.get() {
		var r result
		if t.s.guard(id, func() { r = t.reconcile(id, p) }) {
			r = t.afterPanic(id)
		}
		t.queue.done(id, r)
	}
}

// guard runs f, and reports whether it panicked. A panic over one server must not end the others.
func (s *Scaler) guard(id ID, f func()) (panicked bool) {
	defer func() {
		if p := recover(); p != nil {
			panicked = true
			s.meter.Panic()
			s.logger.Error("panic while a server was handled: please report this",
				"server", id.String(), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
	return false
}

// afterPanic rejects the command in whose pass the panic was. If that command came again later,
// newer ones would overtake it, and it would panic again.
func (t *term) afterPanic(id ID) result {
	c := t.state(id).current
	if c == nil {
		return retry(commandBackoff, byChange)
	}
	c.applied, c.wrong = false, errPanic
	return retry(commandBackoff, byCommand)
}
