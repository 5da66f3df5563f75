package scaler

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"idle-scaler/policy"
)

// term is one unbroken time of leadership.
type term struct {
	s     *Scaler
	asked context.Context // done when the term is to end: what has not been written by then is left to the next leader
	ctx   context.Context // done when nothing may be done any more
	leads func() bool     // whether the lease was renewed in time, as of now
	began time.Time
	lanes lanes
	after sync.WaitGroup // what goes on beside the lanes: waits and wakes

	alarm  *alarm
	absent chan struct{} // one entry for each command in hand whose server is not there

	mu         sync.Mutex
	ended      bool             // nothing new is begun
	considered map[ID]bool      // servers whose lane already holds a consideration
	refused    map[ID]time.Time // when the API server has last refused to wake a server
	wakes      map[ID]*wake     // servers that were woken and are not ready yet
	waiting    map[string]int   // commands that wait until their server is ready, by namespace
	allWaiting int              // the sum of these
	shadows    map[ID]shadow    // what would have become of servers of a dry run
	told       map[ID]string    // the last change of each server of which the stream is known to have the event
	rejected   map[ID]string    // the last command of each server that was rejected
	read       map[ID]bool      // servers of which it is known what former leaders have done
	known      map[string]bool  // the events that the stream had when the term began
}

// Lead is one term of leadership: until ctx is done it sweeps on the schedule, considers servers and applies commands. Leads
// reports, at any moment, whether the lease was renewed in time; nothing is written when it was not. When ctx is done and the
// lease still holds, what was begun may finish within Config.DrainFor. Only one Lead may run at a time.
func (s *Scaler) Lead(ctx context.Context, schedule policy.Schedule, leads func() bool) {
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	t := &term{
		s: s, asked: ctx, ctx: work, leads: leads, alarm: newAlarm(), began: s.now(), absent: make(chan struct{}, maxAbsent),
		considered: make(map[ID]bool), refused: make(map[ID]time.Time), wakes: make(map[ID]*wake), waiting: make(map[string]int),
		shadows: make(map[ID]shadow), told: make(map[ID]string), rejected: make(map[ID]string), read: make(map[ID]bool),
	}
	defer context.AfterFunc(ctx, func() { // not only when the sweep has ended: what it waits for may wait for NATS
		if leads() {
			select {
			case <-time.After(s.config.DrainFor):
			case <-work.Done():
			}
		}
		abort()
	})()
	s.setTerm(t)
	t.catchUp()
	var alarms sync.WaitGroup
	alarms.Go(func() { t.heed(ctx) })
	t.sweepOn(ctx, schedule)
	alarms.Wait()
	s.setTerm(nil)
	t.end()
	t.lanes.wait()
	abort()
	t.after.Wait()
}

func (s *Scaler) setTerm(t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = t
	clear(s.noticed) // another leader may have told something else since
}

func (t *term) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

// Leads reports whether a term is under way: whether commands are taken.
func (s *Scaler) Leads() bool { return s.leading() != nil }

// leading returns the current term, nil when this process does not lead.
func (s *Scaler) leading() *term {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

// run appends f to the server's lane; it reports whether it did, which it does until the term has ended.
func (t *term) run(id ID, f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.runLocked(id, f)
}

func (t *term) runLocked(id ID, f func()) bool {
	if t.ended {
		return false
	}
	t.lanes.run(id, func() { t.s.guard(id, f) })
	return true
}

// beside runs f beside the server's lane, for what waits. The caller is in a lane, or is run by beside.
func (t *term) beside(id ID, f func()) { t.after.Go(func() { t.s.guard(id, f) }) }

// guard runs f, and reports whether it panicked. A panic while one server is handled must not end the others.
func (s *Scaler) guard(id ID, f func()) (panicked bool) {
	defer func() {
		if p := recover(); p != nil {
			panicked = true
			s.meter.Panic()
			s.logger.Error("panic while a server was handled: please report this", "server", id.String(), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
	return false
}

// republishFor is how long an event is republished when the stream lacks it: a day less than the stream keeps events. An
// older one may have been there and be gone.
const republishFor = 6 * 24 * time.Hour

// catchUp does what the former leader may have left: events that are on the Deployments and not in the stream are published,
// servers on their way to ready are followed, and what should be awake is woken.
func (t *term) catchUp() {
	s := t.s
	known, err := s.events.Known(t.ctx)
	if err != nil {
		s.logger.Warn("cannot read which events the stream has, publishing the last of each server again", "err", err)
	}
	t.mu.Lock()
	t.known = known
	t.mu.Unlock()
	l := s.look()
	shadows := shadowsOf(known)
	for server := range s.cache.All {
		s.guard(server.ID, func() { t.resume(&l, server, known, shadows) })
	}
}

// resume does what the former leader may have left to do for one server.
func (t *term) resume(l *look, server *Server, known map[string]bool, shadows map[string]shadow) {
	s := t.s
	last := server.Mark.Last
	if known[last.ID] || l.now.Sub(last.At) >= republishFor {
		t.markTold(last)
	} else {
		t.run(server.ID, func() { t.tellLast(server.ID) })
	}
	if e := t.contended(server); e.ID != "" && !known[e.ID] {
		t.run(server.ID, func() { t.tell(e) })
	}
	if shadow, ok := shadows[server.UID]; ok {
		facts := l.facts(server)
		t.resumeShadow(server, &facts, shadow, l.now)
	}
	if server.Replicas > 0 && server.Ready == 0 && l.now.Before(s.tracker.Unstamp(server.Mark.Awake).Add(s.config.Rules.StartDeadline)) {
		t.follow(server, s.tracker.Unstamp(server.Mark.Awake)) // which says how long it took: Local errs to later
	}
	t.consider(l, server)
}
