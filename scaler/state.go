package scaler

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// state is what the leader knows of one server beside the cache. All of it can be lost: the next
// leader finds it on the Deployment, in the command stream, or among the events.
type state struct {
	// Guarded by the term's mu, because others than the pass over the server read it. Only that
	// pass changes it, so it reads without mu; submit adds commands.
	commands   []*pending // in order, the oldest first
	published  string     // the ID of its last change that the stream of events has
	noticed    time.Time  // when it was last published that it will sleep soon
	dryRun     dryRun     // what would have become of it without dry-run
	readiness  *readiness // tracked since its start; nil: it is ready, or at zero
	unreadable string     // what is wrong with its settings, as published

	// Used only within the pass over the server.
	resumed   bool     // from what former leaders have published
	current   *pending // the command of this pass; nil: it has none
	logged    string   // the ID of the last event that was logged and counted
	fresh     bool     // the server was read from the API server in this term
	contended string   // the ID of the published event that somebody else keeps waking it
	tries     tries    // of the write that no command asks for
}

// assign changes a field of a state that mu guards.
func assign[T any](t *term, field *T, value T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*field = value
}

// state returns the state of a server.
func (t *term) state(id ID) *state {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stateLocked(id)
}

// stateLocked is state for a caller that holds mu.
func (t *term) stateLocked(id ID) *state {
	st := t.states[id]
	if st == nil {
		st = new(state)
		t.states[id] = st
	}
	return st
}

// resume goes on from what former leaders have published about a server, once in a term.
func (t *term) resume(st *state, server *Server) {
	if st.resumed {
		return
	}
	st.resumed = true
	resumed := t.resumeDryRun(server)
	t.mu.Lock()
	defer t.mu.Unlock()
	st.noticed, st.dryRun, st.readiness = t.former.notices[server.UID], resumed, t.resumeReadiness(server)
}

// forget drops the state of a server that is gone.
func (t *term) forget(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.states[id]; st != nil && len(st.commands) == 0 {
		st.readiness.stop()
		delete(t.states, id)
	}
}

// former is what former leaders have published.
type former struct {
	events  map[string]bool      // the IDs of the last event of each server and type
	notices map[string]time.Time // by UID: when it was published that the server will sleep soon
	dryRuns map[string]dryRun    // by UID: what would have become of the server without dry-run
}

// readFormer reads what former leaders have published. Events of which the new leader needs the
// instant have it in their ID.
func (t *term) readFormer() former {
	events, err := t.s.events.Known(t.ending)
	if err != nil {
		t.s.logger.Warn("cannot read which events the stream has, publishing the last of each server again", "err", err)
	}
	f := former{events, make(map[string]time.Time), make(map[string]dryRun)}
	for _, id := range slices.Sorted(maps.Keys(events)) { // would-sleep comes before would-wake
		if uid, at, ok := strings.Cut(id, fmt.Sprintf("-%s-", SoonAsleep)); ok {
			f.notices[uid] = nanos(at)
		} else if uid, idle, ok := strings.Cut(id, fmt.Sprintf("-%s-", WouldSleep)); ok {
			f.dryRuns[uid] = dryRun{asleep: true, idle: nanos(idle)}
		} else if uid, instants, ok := strings.Cut(id, fmt.Sprintf("-%s-", WouldWake)); ok {
			idle, at, _ := strings.Cut(instants, "-")
			if f.dryRuns[uid].idle.Equal(nanos(idle)) { // else it ended the sleep before
				f.dryRuns[uid] = dryRun{at: nanos(at)}
			}
		}
	}
	return f
}

func nanos(text string) time.Time {
	n, _ := strconv.ParseInt(text, 10, 64) // a wrong one is the instant of no sleep
	return time.Unix(0, n)
}
