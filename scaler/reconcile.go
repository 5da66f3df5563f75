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
	switch {
	case ok && t.idles(server):
	case ok || t.known(id) != nil:
		t.queue.add(id, byChange)
	}
	if ok && server.Settings.Group != "" {
		t.enqueueMates(server)
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

// enqueueMates asks for a pass over those of a server's group that may have to wake with it, or after it.
func (t *term) enqueueMates(server *Server) {
	for _, mate := range t.s.cache.Group(server.ID.Namespace, server.Settings.Group) {
		if mate.Replicas == 0 && mate.ID != server.ID {
			t.queue.add(mate.ID, byChange)
		}
	}
}

const (
	publishRest = 5 * time.Second        // the longest between two tries to publish an event
	commandRest = 2 * time.Second        // to apply a command
	contestRest = 200 * time.Millisecond // to write a server that somebody else writes, too
	wakeRest    = 30 * time.Second       // to wake a server: what refuses one wake may refuse thousands, on and on
)

// reconcile makes one pass over one server: it applies the oldest command that waits for it or, if there is
// none, decides. It writes at most once, and publishes what happened. Only with maySleep does it put the
// server to sleep. Never two passes over one server are under way at once.
func (t *term) reconcile(id ID, maySleep bool) next {
	if id == t.s.config.Self {
		return t.reconcileSelf()
	}
	st := t.state(id)
	if err := t.publishLast(st, id); err != nil { // the next change would overwrite it
		return next{failed: publishRest}
	}
	if c := t.oldest(st); c != nil {
		return t.reconcileCommand(st, c)
	}
	server, ok := t.s.cache.Get(id)
	if !ok {
		t.forget(id)
		return next{}
	}
	n := t.decide(st, server, maySleep)
	if n.failed > 0 || n.now {
		return n
	}
	return n.sooner(t.track(st, id))
}

// sooner returns the earlier of two next passes.
func (n next) sooner(m next) next {
	switch {
	case m.failed > 0 || m.now:
		return m
	case n.at.IsZero() || !m.at.IsZero() && m.at.Before(n.at):
		return m
	}
	return n
}

// decide decides about a server, and does what the decision asks for.
func (t *term) decide(st *state, server *Server, maySleep bool) next {
	if server.wokenByOthers() {
		return t.wake(st, server)
	}
	now := t.s.now()
	facts := t.s.facts(server, now)
	d := t.s.config.Rules.Decide(&facts, now)
	if err := errors.Join(t.publishUnreadable(st, server, &facts), t.publishContended(st, server)); err != nil {
		return next{failed: publishRest}
	}
	if server.Settings.DryRun || st.shadow.asleep {
		if err := t.reconcileShadow(st, server, &facts, d, now, maySleep); err != nil {
			return next{failed: publishRest}
		}
	}
	switch {
	case d.Action == policy.Wake:
		return t.wake(st, server)
	case d.Action == policy.Sleep && maySleep:
		return t.sleep(st, server.ID)
	case d.Action == policy.Notify && maySleep:
		return t.notify(st, server, &facts, d, now)
	case server.Replicas == 0:
		return next{at: d.Next}
	}
	return t.awaitNotice(st, server, &facts)
}
