package scaler

import (
	"errors"
	"time"

	"idle-scaler/policy"
)

// Enqueue asks for a pass over a server because something about it changed: a ping or a lease came,
// or its Deployment was written. The pass wakes the server if that is the decision; it never puts
// it to sleep. Enqueue returns at once. It costs next to nothing for a server that is awake, or
// while this process does not lead.
func (s *Scaler) Enqueue(id ID) {
	if t := s.term.Load(); t != nil && t.needsPass(id) {
		t.queue.add(id, byChange)
	}
}

// needsPass reports whether a pass over a server, in which it may not sleep, could find something
// to do.
func (t *term) needsPass(id ID) bool {
	server, exists := t.s.cache.Get(id)
	if exists && (server.Replicas == 0 || server.wokenByOthers() || t.mayWakeMates(server)) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.states[id]
	if !exists {
		return st != nil && len(st.commands) == 0 // it is forgotten, unless commands wait for it to appear
	}
	return st == nil || st.readiness != nil || st.dryRun.asleep || len(st.commands) > 0 || !t.isPublished(st, server)
}

// mayWakeMates reports whether others of the server's group may have to wake with it, or after it.
func (t *term) mayWakeMates(server *Server) bool {
	for mate := range t.s.mates(server) {
		if mate.Replicas == 0 {
			return true
		}
	}
	return false
}

// The longest pauses between two tries.
const (
	publishBackoff = 5 * time.Second        // to publish an event
	commandBackoff = 2 * time.Second        // to apply a command
	contestBackoff = 200 * time.Millisecond // to write between two writes of a rival
	wakeBackoff    = 30 * time.Second       // to wake: what refuses one wake may refuse thousands, for hours
)

// backoffAfter returns the longest pause after a write that failed.
func backoffAfter(err error) time.Duration {
	switch {
	case errors.Is(err, ErrConflict):
		return contestBackoff
	case transient(err):
		return commandBackoff
	}
	return wakeBackoff
}

// reconcile makes one pass over one server. It applies the oldest command or, if none waits,
// decides. It writes at most once, and publishes what happened. Only a pass of the sweep puts the
// server to sleep. Two passes over one server never overlap.
func (t *term) reconcile(id ID, p priority) result {
	if id == t.s.config.Self {
		return t.reconcileSelf()
	}
	server, exists := t.s.cache.Get(id)
	st := t.state(id)
	if exists {
		t.resume(st, server)
		if err := t.publishLast(st, server); err != nil { // the next change would overwrite the event
			return retry(publishBackoff, p)
		}
	}
	if st.current = t.oldest(st); st.current != nil {
		return t.reconcileCommand(st, st.current, p)
	}
	if !exists {
		t.forget(id)
		return result{}
	}
	t.wakeMates(server)
	r := t.reconcileDecision(st, server, p)
	if r.requeue || r.backoff > 0 {
		return r
	}
	return r.sooner(t.trackReadiness(st, server))
}

// reconcileDecision decides about a server, and does what the decision asks for.
func (t *term) reconcileDecision(st *state, server *Server, p priority) result {
	decider := t.s.decider()
	facts, d := decider.decide(server)
	if server.wokenByOthers() || d.Action == policy.Wake { // first, so that no wake waits for the stream of events
		return t.wake(st, server)
	}
	err := errors.Join(t.publishUnreadable(st, server, &facts), t.publishContended(st, server))
	if server.Settings.DryRun || st.dryRun.asleep {
		err = errors.Join(err, t.reconcileDryRun(st, server, &facts, d, decider.now, p == bySweep))
	}
	switch {
	case err != nil:
		return retry(publishBackoff, p)
	case d.Action == policy.Sleep && p == bySweep:
		return t.sleep(st, server)
	case d.Action == policy.Notify && p == bySweep:
		return t.notify(st, server, &facts, d, decider.now)
	case server.Replicas == 0:
		return requeueAt(d.Next, byChange)
	}
	return t.awaitNotice(st, server, &facts, d)
}

// wakeMates asks for a pass over each server of the group that has to wake now.
func (t *term) wakeMates(server *Server) {
	decider := t.s.decider()
	for mate := range t.s.mates(server) {
		if mate.Replicas > 0 {
			continue
		}
		if _, d := decider.decide(mate); d.Action == policy.Wake {
			t.queue.add(mate.ID, byChange)
		}
	}
}
