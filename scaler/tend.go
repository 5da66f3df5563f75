package scaler

import (
	"errors"
	"slices"
	"time"

	"idle-scaler/policy"
)

// Consider looks at one server because something about it changed: a ping or a lease came, its Deployment was written. It wakes
// the server if that is the decision now, and never puts one to sleep. It returns at once, and costs next to nothing for a server
// that is awake or when this process does not lead.
func (s *Scaler) Consider(id ID) {
	t := s.leading()
	if t == nil {
		return
	}
	server, ok := s.cache.Get(id)
	if !ok {
		t.forget(id)
		return
	}
	s.guard(id, func() {
		l := s.look()
		t.consider(&l, server)
		if server.Settings.Group != "" {
			t.considerMates(server)
		}
	})
}

// considerMates looks at the others of a server's group, which may have to follow it. While many of them change, as when all wake, that is
// done after some of the changes, the last of them among these: after each it would be a great deal of work.
func (t *term) considerMates(server *Server) {
	mates := t.s.cache.Group(server.ID.Namespace, server.Settings.Group)
	if !slices.ContainsFunc(mates, func(mate *Server) bool { return mate.Replicas == 0 && mate.ID != server.ID }) {
		return // as nearly always when it was pinged
	}
	lane := ID{Namespace: server.ID.Namespace, Name: "group/" + server.Settings.Group} // no server has this name
	if !t.considers(lane, true) {
		return
	}
	t.run(lane, func() {
		t.considers(lane, false)
		l := t.s.look()
		for _, mate := range t.s.cache.Group(server.ID.Namespace, server.Settings.Group) {
			t.consider(&l, mate)
		}
	})
}

func (t *term) consider(l *look, server *Server) {
	s, id := t.s, server.ID
	if server.Replicas > 0 && !server.wokenByOthers() {
		if server.Settings.DryRun {
			t.wouldWake(l, server)
		}
		return
	}
	facts := l.facts(server)
	d := s.config.Rules.Decide(&facts, l.now)
	if d.Action != policy.Wake && !server.wokenByOthers() {
		t.alarm.set(d.Next)
		if t.untold(server, l.now) && !t.lanes.busy(id) {
			t.run(id, func() { t.tellLast(id) })
		}
		return
	}
	if t.wasRefused(id, l.now) {
		t.tryAgain()
		return // it would be refused again, as often as the server is pinged
	}
	if !t.considers(id, true) {
		return // the lane already holds a consideration, which will see what has changed now
	}
	t.run(id, func() {
		t.considers(id, false)
		e, err := t.tend(id, false)
		t.noteRefusal(id, errors.Is(err, ErrRefused))
		if err != nil && !errors.Is(err, errNotLeader) && !errors.Is(err, ErrUnknown) {
			s.logger.Error("cannot wake a server, trying again within 30 seconds", "server", id.String(), "err", err)
			t.tryAgain()
		}
		t.tellTended(e)
	})
}

// considers notes whether the server's lane holds a consideration; it reports whether that is a change.
func (t *term) considers(id ID, holds bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.considered[id] == holds {
		return false
	}
	if holds {
		t.considered[id] = true
	} else {
		delete(t.considered, id)
	}
	return true
}

// refusedFor is how long a server is not considered after the API server has refused to wake it. The sweep tries all the same.
const refusedFor = 5 * time.Second

// retryAfter is when a server that could not be woken is considered again: nobody may ask again, and the sweep may be far. It is as often as a sweep
// by default: what refuses one wake may refuse thousands, on and on.
const retryAfter = 30 * time.Second

// tryAgain has a server that could not be woken considered again. That is at the same instant as for others of that kind, so all servers are
// looked at once in retryAfter; whoever was refused a moment before waits for the next time.
func (t *term) tryAgain() { t.alarm.set(t.s.now().Add(retryAfter)) }

func (t *term) noteRefusal(id ID, refused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if refused {
		t.refused[id] = t.s.now()
	} else {
		delete(t.refused, id)
	}
}

func (t *term) wasRefused(id ID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, refused := t.refused[id]
	return refused && now.Sub(at) < refusedFor
}

// tend decides about one server, in its lane, and does what the decision asks for. What it returns is to be told by tellTended.
func (t *term) tend(id ID, maySleep bool) (Event, error) {
	if maySleep {
		return t.sleep(id)
	}
	server, event, err := t.apply(id, time.Time{}, t.planTend)
	if err == nil && event.Type == Woken {
		t.follow(server, event.At)
	}
	return event, err
}

// tellTended tells what tend did, in the same lane. It may last as long as NATS is away, which a sweep must not.
func (t *term) tellTended(e Event) {
	if e.ID == "" {
		return
	}
	t.tell(e)
	if e.Cause != CauseExternal {
		return
	}
	if server, ok := t.s.cache.Get(e.Server); ok {
		if e := t.contended(server); e.ID != "" {
			t.tell(e)
		}
	}
}

// planTend wakes a server if that is the decision, and takes note when somebody else has woken it.
func (t *term) planTend(server *Server) (Change, error) {
	now := t.s.now()
	if server.wokenByOthers() {
		return t.planWokenByOthers(server, now), nil
	}
	facts := t.s.facts(server, now)
	d := t.s.config.Rules.Decide(&facts, now)
	if d.Action != policy.Wake {
		return Change{}, nil
	}
	e := Event{At: now, Cause: wakeCause(d, &facts)}
	switch last, hold := server.Mark.Last, server.Mark.Hold; d.Reason {
	case policy.Grouped:
		e.Text = d.Explain(&facts, now) // whom it follows
	case policy.Started:
		e.Actor, e.Command, e.Reason = last.Actor, last.Command, last.Reason
	case policy.Held:
		e.Actor, e.Reason = hold.Actor, hold.Reason
	}
	return t.planWake(server, server.restored(), e), nil
}

// wakeCause is what makes a server wake. Who follows others that are only kept warm is kept warm, too: nobody wants to use it.
func wakeCause(d policy.Decision, f *policy.Facts) Cause {
	if d.Reason == policy.Grouped && f.Group.Why == policy.KeepWarm {
		return CauseKeepWarm
	}
	return wakeCauses[d.Reason]
}

var wakeCauses = map[policy.Reason]Cause{
	policy.Activity: CauseActivity, policy.Leased: CauseLease, policy.KeepWarm: CauseKeepWarm,
	policy.Grouped: CauseGroup, policy.Held: CauseHold, policy.Started: CauseCommand,
}

// wokenByOthers reports whether somebody else gave replicas to a server that is marked as asleep.
func (s *Server) wokenByOthers() bool { return s.Replicas > 0 && !s.Mark.Asleep.IsZero() }
