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

// Sweep sweeps now, beside the schedule. It returns before the passes that it asks for. It returns
// an error while this process does not lead.
func (s *Scaler) Sweep() (Sweep, error) {
	t := s.term.Load()
	if t == nil {
		return Sweep{}, errNotLeader
	}
	return t.sweep(), nil
}

// sweep asks for a pass over each server for which there is something to do. In that pass it may
// sleep.
func (t *term) sweep() Sweep {
	s := t.s
	t.queue.add(s.config.Self, byChange)
	sweep := Sweep{Decisions: make(map[policy.Reason]int)}
	decider := s.decider()
	for server := range s.cache.All {
		s.guard(server.ID, func() {
			facts, d := decider.decide(server)
			sweep.Decisions[d.Reason]++
			if t.hasWork(server, &facts, d) {
				t.queue.add(server.ID, bySweep)
			}
		})
	}
	sweep.Took = s.now().Sub(decider.now)
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
	case d.Action == policy.WouldSleep || st.dryRun.asleep:
		return st.dryRun.asleep != (d.Action == policy.WouldSleep)
	}
	return d.Action != policy.Keep
}
