package scaler

import (
	"context"
	"time"

	"idle-scaler/policy"
)

// Sweep is what one look at all servers came to.
type Sweep struct {
	Decisions map[policy.Reason]int // how many servers each rule held for
	Slept     int
	Woken     int
	Took      time.Duration

	Unreadable map[*Server]string // whose settings can't be read, or whose group can't be kept in order: what is wrong
}

// sweepOn sweeps when the schedule says so, until ctx is done. A sweep that is still going on when the next is due makes that one late.
func (t *term) sweepOn(ctx context.Context, schedule policy.Schedule) {
	s := t.s
	var told notices
	for {
		now := s.now()
		next := schedule.Next(now)
		if next.IsZero() { // not within the years that robfig/cron looks ahead
			next = now.AddDate(1, 0, 0)
		}
		select {
		case <-time.After(next.Sub(now)):
		case <-ctx.Done():
			return
		}
		sweep, err := t.sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.logger.Error("sweep met errors, the servers concerned are looked at again in the next", "err", err)
		}
		s.meter.Swept(sweep)
		told.tellSight(t)
		told.tellUnreadable(t, sweep.Unreadable)
		s.logger.Debug("swept", "slept", sweep.Slept, "woken", sweep.Woken, "took", sweep.Took)
	}
}

// Sweep decides about every server now, beside the schedule, and does what the decisions ask for. It returns when that is done; the errors of
// single servers are joined and stop no other.
func (s *Scaler) Sweep(ctx context.Context) (Sweep, error) {
	t := s.leading()
	if t == nil {
		return Sweep{}, errNotLeader
	}
	return t.sweep(ctx)
}

func (t *term) sweep(ctx context.Context) (Sweep, error) {
	r := newRound(t)
	l := t.s.look()
	for server := range t.s.cache.All {
		t.s.guard(server.ID, func() { r.look(&l, server) })
	}
	err := r.run(ctx)
	r.sweep.Took = t.s.now().Sub(l.now)
	return r.sweep, err
}

// look decides about one server, and takes note of what is to be done.
func (r *round) look(l *look, server *Server) {
	t := r.t
	facts := l.facts(server)
	d := t.s.config.Rules.Decide(&facts, l.now)
	r.sweep.Decisions[d.Reason]++
	if text := unreadable(&facts); text != "" {
		if r.sweep.Unreadable == nil {
			r.sweep.Unreadable = make(map[*Server]string)
		}
		r.sweep.Unreadable[server] = text
	}
	if server.Replicas == 0 {
		t.alarm.set(d.Next)
	}
	r.sort(server, d)
	if t.untold(server, l.now) {
		r.untold = append(r.untold, server.ID)
	}
	t.shadow(server, &facts, d, l.now)
}
