package scaler

import (
	"context"
	"fmt"
	"maps"
	"time"

	"idle-scaler/policy"
)

// notify tells, in its lane, that a server will be put to sleep soon, and sets the alarm for then: a ping or a lease until then
// prevents it.
func (t *term) notify(id ID) {
	s := t.s
	server, ok := s.cache.Get(id)
	if !ok {
		return
	}
	now := s.now()
	facts := s.facts(server, now)
	d := s.config.Rules.Decide(&facts, now)
	if d.Action != policy.Notify {
		return
	}
	sleeps, cause := now.Add(server.Settings.SleepNotice), CauseIdle
	if facts.SleepAtDue(sleeps) { // the decision says why it is told now: the server may not be due to sleep yet
		cause = CauseSchedule
	}
	t.tell(Event{
		ID: fmt.Sprintf("%s-%s-%d", server.UID, SoonAsleep, now.UnixNano()), Type: SoonAsleep, Server: id, At: now,
		From: server.Replicas, To: server.Replicas, Cause: cause, Idle: d.Idle,
		Text: fmt.Sprintf("sleeps at %s or later, unless a ping or a lease comes before", clock(sleeps)),
	})
	told := s.now() // who is told late has as much time
	s.setNoticed(id, told)
	t.alarm.set(told.Add(server.Settings.SleepNotice))
}

// sleepNoticed puts to sleep those that were told so when the time has come, and with them those of their groups that wait for them.
func (t *term) sleepNoticed(ctx context.Context, l *look) {
	s := t.s
	r := newRound(t)
	groups := make(map[ID]bool)
	for id, told := range s.allNoticed() {
		server, ok := s.cache.Get(id)
		if !ok {
			s.setNoticed(id, time.Time{})
			continue
		}
		if server.Replicas == 0 {
			continue // kept: who has just looked at the group may not have seen yet that it sleeps
		}
		facts := l.facts(server)
		if !told.After(facts.IdleSince()) { // used since: the sweep tells it anew
			s.setNoticed(id, time.Time{})
			continue
		}
		d := s.config.Rules.Decide(&facts, l.now)
		if d.Action != policy.Sleep {
			t.alarm.set(d.Next)
			continue
		}
		r.sleep = append(r.sleep, id)
		if server.Settings.Group != "" {
			groups[ID{Namespace: id.Namespace, Name: server.Settings.Group}] = true
		}
	}
	for group := range groups {
		for _, mate := range s.cache.Group(group.Namespace, group.Name) {
			if mate.Replicas > 0 {
				r.ordered = append(r.ordered, mate.ID)
			}
		}
	}
	if len(r.sleep) == 0 {
		return
	}
	t.after.Go(func() { // the next alarm must not wait for it
		if err := r.run(ctx); err != nil {
			s.logger.Error("cannot put servers to sleep, trying again in the next sweep", "err", err)
		}
	})
}

func (s *Scaler) noticedAt(id ID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noticed[id]
}

func (s *Scaler) allNoticed() map[ID]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.noticed)
}

func (s *Scaler) setNoticed(id ID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.IsZero() {
		delete(s.noticed, id)
		return
	}
	s.noticed[id] = at
}
