package scaler

import (
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// notify publishes that a server will be put to sleep soon: a ping or a lease until then prevents
// it. The event is the only record of that. Its ID holds the instant, so a new leader keeps the
// time.
func (t *term) notify(st *state, server *Server, f *policy.Facts, d policy.Decision, now time.Time) result {
	sleeps := now.Add(server.Settings.SleepNotice)
	e := newEvent(SoonAsleep, server, instantID(SoonAsleep, server, now), now)
	e.Cause, e.Idle, e.Text = policy.CauseIdle, d.Idle, explain.SleepsSoon(sleeps)
	if f.SleepAtDue(sleeps) { // the cause that the sleep will have: perhaps it is not due yet
		e.Cause = policy.CauseSchedule
	}
	if err := t.publish(st, e); err != nil {
		return result{} // the next sweep publishes it, if it is still true
	}
	published := t.s.now() // a publication that took long takes nothing from the time
	assign(t, &st.noticed, published)
	return requeueAt(published.Add(server.Settings.SleepNotice), bySweep)
}

// awaitNotice returns when the notice of a server is over and nothing else is known to keep it
// awake.
func (t *term) awaitNotice(st *state, server *Server, f *policy.Facts, d policy.Decision) result {
	if f.Noticed.IsZero() || server.Settings.SleepNotice == 0 {
		return result{}
	}
	if !f.Noticed.After(f.IdleSince()) { // it was used since: it gets a new notice before it sleeps
		assign(t, &st.noticed, time.Time{})
		return result{}
	}
	at := latestOf(f.Noticed.Add(server.Settings.SleepNotice), d.Next)
	if !at.After(t.s.now()) {
		return result{} // nobody knows how long something else keeps it awake: the sweep looks again
	}
	return requeueAt(at, bySweep)
}

// noticedAt returns when it was last published that the server will sleep soon, as far as this
// process knows.
func (s *Scaler) noticedAt(id ID) (at time.Time) {
	if t := s.term.Load(); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if st := t.states[id]; st != nil {
			at = st.noticed
		}
	}
	return at
}
