package scaler

import (
	"errors"
	"time"

	"idle-scaler/policy"
)

// Enqueue asks for a pass over a server because something about it changed: a ping or a lease came, its
// Deployment was written. The pass wakes it if that is the decision, and never puts it to sleep. Enqueue
// returns at once, and costs next to nothing for a server that is awake or when this process does not lead.
func (s *Scaler) Enqueue(id ID) {
	t := s.leading()
	if t == nil {
		return
	}
	server, ok := s.cache.Get(id)
	if ok && (!t.idles(server) || t.mayWakeMates(server)) || !ok && t.isLeft(id) {
		t.queue.add(id, byChange)
	}
}

// idles reports whether a pass would find nothing to do for a server that is awake.
func (t *term) idles(server *Server) bool {
	if server.Replicas == 0 || server.wokenByOthers() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.states[server.ID]
	return st != nil && st.start == nil && !st.shadow.asleep && len(st.commands) == 0 && t.isPublished(st, server)
}

// isLeft reports whether something is known of a server that is gone, and no command waits for it to appear.
func (t *term) isLeft(id ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.states[id]
	return st != nil && len(st.commands) == 0
}

// mayWakeMates reports whether others of a server's group may have to wake with it, or after it.
func (t *term) mayWakeMates(server *Server) bool {
	if server.Settings.Group == "" {
		return false
	}
	for _, mate := range t.s.cache.Group(server.ID.Namespace, server.Settings.Group) {
		if mate.Replicas == 0 && mate.ID != server.ID {
			return true
		}
	}
	return false
}

// wakeMates asks for a pass over each of a server's group that has to wake now. One look at the group serves all.
func (t *term) wakeMates(server *Server) {
	if !t.mayWakeMates(server) {
		return
	}
	l := t.s.look()
	for _, mate := range t.s.cache.Group(server.ID.Namespace, server.Settings.Group) {
		if mate.Replicas > 0 || mate.ID == server.ID {
			continue
		}
		if facts := l.facts(mate); t.s.config.Rules.Decide(&facts, l.now).Action == policy.Wake {
			t.queue.add(mate.ID, byChange)
		}
	}
}

// The longest pauses between two tries.
const (
	publishBackoff = 5 * time.Second        // to publish an event
	commandBackoff = 2 * time.Second        // to apply a command
	contestBackoff = 200 * time.Millisecond // to write a server that somebody else writes, too
	wakeBackoff    = 30 * time.Second       // to wake a server: what refuses one wake may refuse thousands, on and on
)

// reconcile makes one pass over one server: it applies the oldest command that waits for it or, if there is
// none, decides. It writes at most once, and publishes what happened. Only a pass of the sweep puts the
// server to sleep. Never two passes over one server are under way at once.
func (t *term) reconcile(id ID, p priority) result {
	if id == t.s.config.Self {
		return t.reconcileSelf()
	}
	st := t.state(id)
	if err := t.publishLast(st, id); err != nil { // the next change would overwrite it
		return retry(publishBackoff, p)
	}
	if c := t.oldest(st); c != nil {
		return t.reconcileCommand(st, c, p)
	}
	server, ok := t.s.cache.Get(id)
	if !ok {
		t.forget(id)
		return result{}
	}
	t.wakeMates(server)
	r := t.decide(st, server, p)
	if r.requeue || r.backoff > 0 {
		return r
	}
	return r.sooner(t.track(st, id))
}

// decide decides about a server, does what the decision asks for, and publishes what there is to say of it.
func (t *term) decide(st *state, server *Server, p priority) result {
	if server.wokenByOthers() {
		return t.wake(st, server)
	}
	now := t.s.now()
	facts := t.s.facts(server, now)
	d := t.s.config.Rules.Decide(&facts, now)
	if d.Action == policy.Wake { // before anything is published: that the stream of events is away delays no wake
		return t.wake(st, server)
	}
	err := errors.Join(t.publishUnreadable(st, server, &facts), t.publishContended(st, server))
	if server.Settings.DryRun || st.shadow.asleep {
		err = errors.Join(err, t.reconcileShadow(st, server, &facts, d, now, p == bySweep))
	}
	switch {
	case err != nil:
		return retry(publishBackoff, p)
	case d.Action == policy.Sleep && p == bySweep:
		return t.sleep(st, server.ID)
	case d.Action == policy.Notify && p == bySweep:
		return t.notify(st, server, &facts, d, now)
	case server.Replicas == 0:
		return requeueAt(d.Next, byChange)
	}
	return t.awaitNotice(st, server, &facts, d)
}
