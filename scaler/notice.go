package scaler

import (
	"fmt"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// notify publishes that a server will be put to sleep soon: a ping or a lease until then prevents it. The
// event is the only record of that. Its ID holds the instant, so a new leader keeps the time that was given.
func (t *term) notify(st *state, server *Server, f *policy.Facts, d policy.Decision, now time.Time) result {
	sleeps, cause := now.Add(server.Settings.SleepNotice), policy.CauseIdle
	if f.SleepAtDue(sleeps) { // the decision says why it is published now: the server may not be due to sleep yet
		cause = policy.CauseSchedule
	}
	err := t.publish(st, Event{
		ID: fmt.Sprintf("%s-%s-%d", server.UID, SoonAsleep, now.UnixNano()), Type: SoonAsleep, Server: server.ID, At: now,
		From: server.Replicas, To: server.Replicas, Cause: cause, Idle: d.Idle,
		Text: explain.SleepsSoon(sleeps),
	})
	if err != nil {
		return result{} // the next sweep publishes it, if it is still so
	}
	published := t.s.now() // a publication that took long takes nothing from the time
	t.mu.Lock()
	st.noticed = published
	t.mu.Unlock()
	return requeueAt(published.Add(server.Settings.SleepNotice), bySweep)
}

// awaitNotice says when a server that has its notice is to be looked at again: when that is over and, as far as is
// known, nothing else keeps it awake.
func (t *term) awaitNotice(st *state, server *Server, f *policy.Facts, d policy.Decision) result {
	if f.Noticed.IsZero() || server.Settings.SleepNotice == 0 {
		return result{}
	}
	if !f.Noticed.After(f.IdleSince()) { // it was used since: the sweep gives a new one
		t.mu.Lock()
		defer t.mu.Unlock()
		st.noticed = time.Time{}
		return result{}
	}
	at := latest(f.Noticed.Add(server.Settings.SleepNotice), d.Next)
	if !at.After(t.s.now()) {
		return result{} // nobody knows how long something else keeps it awake: the sweep sees to it
	}
	return requeueAt(at, bySweep)
}

// noticedAt is when it was last published that the server will sleep soon, as far as this process knows.
func (s *Scaler) noticedAt(id ID) time.Time {
	t := s.leading()
	if t == nil {
		return time.Time{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.states[id]; st != nil {
		return st.noticed
	}
	return time.Time{}
}
