package scaler

import (
	"fmt"
	"strings"
	"time"
)

// state is what the leader knows of one server beside the cache. All of it can be lost: the next leader
// finds it on the Deployment, in the command stream, or among the events.
type state struct {
	// Guarded by the term's mu: others look at it, beside the pass over the server.
	commands   []*pending // in order, the oldest first
	published  string     // the ID of its last change that the stream of events has
	noticed    time.Time  // when it was last published that it will sleep soon
	shadow     shadow     // what would have become of it without dry-run
	start      *start     // on its way to ready; nil: it is not
	unreadable string     // what is wrong with its settings, as published

	// Used within the pass over the server only.
	current   *pending // the command of this pass; nil: it has none
	logged    string   // the ID of the last event that was logged and counted
	fresh     bool     // it was read from the API server in this term
	contended string   // the ID of the event that somebody else keeps waking it, as published
	tries     tries    // to write what no command asks for
}

// state returns that of a server. When the term first looks at one, it goes on from what former leaders
// have published.
func (t *term) state(id ID) *state {
	if st := t.known(id); st != nil {
		return st
	}
	resumed := new(state) // without mu: what a dry run has come to is worked out from the facts
	if server, ok := t.s.cache.Get(id); ok {
		t.resume(resumed, server)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.states[id]; st != nil {
		return st
	}
	t.states[id] = resumed
	return resumed
}

// known returns the state of a server, nil if the term has not looked at it yet.
func (t *term) known(id ID) *state {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.states[id]
}

// resume goes on from what a former leader has done about a server.
func (t *term) resume(st *state, server *Server) {
	now := t.s.now()
	if at, ok := t.left.notices[server.UID]; ok {
		st.noticed = at
	}
	if published, ok := t.left.shadows[server.UID]; ok {
		st.shadow = t.resumeShadow(server, published, now)
	}
	st.start = t.resumeTracking(server, now)
}

// forget drops what is known of a server that is gone.
func (t *term) forget(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.states[id]; st != nil && len(st.commands) == 0 {
		st.start.stop()
		delete(t.states, id)
	}
}

// left is what former leaders have published.
type left struct {
	events  map[string]bool      // the IDs of the last event of each server and type
	notices map[string]time.Time // by UID: when it was published that a server will sleep soon
	shadows map[string]shadow    // by UID: what would have become of servers of a dry run
}

// readLeft reads what former leaders have published.
func (t *term) readLeft() left {
	events, err := t.s.events.Known(t.asked)
	if err != nil {
		t.s.logger.Warn("cannot read which events the stream has, publishing the last of each server again", "err", err)
	}
	l := left{events, make(map[string]time.Time), shadowsOf(events)}
	for id := range events {
		if uid, at, ok := strings.Cut(id, fmt.Sprintf("-%s-", SoonAsleep)); ok {
			l.notices[uid] = nanos(at)
		}
	}
	return l
}
