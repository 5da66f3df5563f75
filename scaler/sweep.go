package scaler

import (
	"context"
	"time"

	"idle-scaler/policy"
)

// Sweep is what one look at all servers found.
type Sweep struct {
	Decisions map[policy.Reason]int // how many servers each rule held for
	Took      time.Duration
}

// sweepOn sweeps when the schedule says so, until ctx is done.
func (t *term) sweepOn(ctx context.Context, schedule policy.Schedule) {
	s := t.s
	for {
		now := s.now()
		due := schedule.Next(now)
		if due.IsZero() { // not within the years that robfig/cron looks ahead
			due = now.AddDate(1, 0, 0)
		}
		select {
		case <-time.After(due.Sub(now)):
		case <-ctx.Done():
			return
		}
		sweep := t.sweep()
		s.meter.Swept(sweep)
		s.logger.Debug("swept", "took", sweep.Took)
	}
}

// Sweep looks at all servers now, beside the schedule. It returns before what it asks for is done.
func (s *Scaler) Sweep() (Sweep, error) {
	t := s.leading()
	if t == nil {
		return Sweep{}, errNotLeader
	}
	return t.sweep(), nil
}

// sweep asks for a pass over each server for which there is something to do, in which it may sleep. It looks
// at all of them at one moment: a large group is worked out once, and not once for each of its servers.
func (t *term) sweep() Sweep {
	s := t.s
	t.queue.add(s.config.Self, byChange)
	sweep := Sweep{Decisions: make(map[policy.Reason]int)}
	l := s.look()
	for server := range s.cache.All {
		s.guard(server.ID, func() {
			facts := l.facts(server)
			d := s.config.Rules.Decide(&facts, l.now)
			sweep.Decisions[d.Reason]++
			if t.hasWork(server, &facts, d) {
				t.queue.add(server.ID, bySweep)
			}
		})
	}
	sweep.Took = s.now().Sub(l.now)
	return sweep
}

// hasWork reports whether a pass over a server, in which it may sleep, would find something to do.
func (t *term) hasWork(server *Server, f *policy.Facts, d policy.Decision) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.states[server.ID]
	switch {
	case st == nil || server.wokenByOthers() || !t.isPublished(st, server) || unreadable(f) != st.unreadable:
		return true
	case d.Action == policy.WouldSleep || st.shadow.asleep:
		return st.shadow.asleep != (d.Action == policy.WouldSleep)
	}
	return d.Action != policy.Keep
}
