package scaler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"idle-scaler/policy"
)

// Sweep is what one look at all servers came to.
type Sweep struct {
	Decisions map[policy.Reason]int // how many servers each rule held for
	Slept     int
	Woken     int
	Took      time.Duration

	Unreadable []*Server // whose settings can't be read
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

// Sweep decides about every server now, and does what the decisions ask for. It returns when that is done; the errors of
// single servers are joined and stop no other.
func (s *Scaler) Sweep(ctx context.Context) (Sweep, error) {
	t := s.leading()
	if t == nil {
		return Sweep{}, errNotLeader
	}
	return t.sweep(ctx)
}

func (t *term) sweep(ctx context.Context) (Sweep, error) {
	s := t.s
	began := s.now()
	sweep := Sweep{Decisions: make(map[policy.Reason]int)}
	var toWake, toSleep []ID
	for server := range s.cache.All {
		facts := s.facts(server, began)
		d := s.config.Rules.Decide(&facts, began)
		sweep.Decisions[d.Reason]++
		if server.Bad != nil {
			sweep.Unreadable = append(sweep.Unreadable, server)
		}
		if d.Action == policy.Wake || server.wokenByOthers() {
			toWake = append(toWake, server.ID)
		} else if d.Action == policy.Sleep {
			toSleep = append(toSleep, server.ID)
		}
	}

	var mu sync.Mutex
	var errs []error
	var pending sync.WaitGroup
	tend := func(id ID, maySleep bool, after func()) {
		pending.Add(1)
		done := func() { after(); pending.Done() }
		ran := t.run(id, func() {
			defer done()
			e, err := t.tend(id, maySleep)
			mu.Lock()
			defer mu.Unlock()
			switch e.Type {
			case Slept:
				sweep.Slept++
			case Woken:
				sweep.Woken++
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", id, err))
			}
		})
		if !ran {
			done()
		}
	}
	for _, id := range toWake {
		tend(id, false, func() {})
	}
	for _, id := range toSleep {
		// Before it is in its lane, not there: a command to this server must not wait for the sleeps of others.
		if !acquire(ctx, s.sleeping) {
			break
		}
		tend(id, true, func() { release(s.sleeping) })
	}
	pending.Wait()
	sweep.Took = s.now().Sub(began)
	return sweep, errors.Join(errs...)
}

// Consider looks at one server because something about it changed: a ping or a lease came, its Deployment was written. It wakes
// the server if that is the decision now, and never puts one to sleep. It returns at once, and costs next to nothing for a server
// that is awake or when this process does not lead.
func (s *Scaler) Consider(id ID) {
	server, ok := s.cache.Get(id)
	if ok && server.Replicas > 0 && !server.wokenByOthers() {
		return
	}
	t := s.leading()
	if t == nil {
		return
	}
	if !ok {
		t.forget(id)
		return
	}
	now := s.now()
	facts := s.facts(server, now)
	if s.config.Rules.Decide(&facts, now).Action != policy.Wake && !server.wokenByOthers() {
		return
	}
	if !t.considers(id, true) {
		return // the lane already holds a consideration, which will see what has changed now
	}
	t.run(id, func() {
		t.considers(id, false)
		if _, err := t.tend(id, false); err != nil && !errors.Is(err, errNotLeader) {
			s.logger.Error("cannot wake a server, trying again in the next sweep", "server", id.String(), "err", err)
		}
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

// tend decides about one server, in its lane, and does what the decision asks for.
func (t *term) tend(id ID, maySleep bool) (Event, error) {
	if maySleep {
		return t.sleep(id)
	}
	server, event, err := t.apply(id, t.planTend)
	if err != nil || event.ID == "" {
		return event, err
	}
	if event.Type == Woken {
		t.follow(server, event.At)
	}
	t.tell(event)
	return event, nil
}

// planTend wakes a server if that is the decision, and takes note when somebody else has woken it.
func (t *term) planTend(server *Server) (Change, error) {
	now := t.s.now()
	if server.wokenByOthers() {
		c := planWake(server, server.Replicas, Event{At: now, Cause: CauseExternal, Actor: server.Writer, Text: "somebody else set its replicas while it was asleep"})
		c.Event.Type, c.Event.From = Woken, 0
		return c, nil
	}
	facts := t.s.facts(server, now)
	d := t.s.config.Rules.Decide(&facts, now)
	if d.Action != policy.Wake {
		return Change{}, nil
	}
	e := Event{At: now, Cause: CauseActivity}
	if d.Reason == policy.Leased {
		e.Cause = CauseLease
	}
	return planWake(server, server.restored(), e), nil
}

// sleep puts a server to sleep if that is the decision now, as seen with everything that the log held a moment ago. It tries
// once: after a conflict somebody is at work on the Deployment, and the next sweep is soon enough.
func (t *term) sleep(id ID) (Event, error) {
	asked := t.s.now()
	if err := t.s.log.Prove(t.ctx); err != nil {
		return Event{}, nil // blind, which the log itself says in status, readiness and metrics
	}
	t.tellLast(id)
	event, err := t.trySleep(id, asked)
	switch {
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUnknown), errors.Is(err, errNotLeader):
		t.s.logger.Debug("gave up a sleep", "server", id.String(), "err", err)
		return Event{}, nil
	case err != nil || event.ID == "":
		return Event{}, err
	}
	t.tell(event)
	return event, nil
}

func (t *term) trySleep(id ID, proven time.Time) (Event, error) {
	s := t.s
	if !acquire(t.ctx, s.inFlight) {
		return Event{}, errNotLeader
	}
	defer release(s.inFlight)
	server, ok := s.cache.Get(id)
	if !ok {
		return Event{}, nil
	}
	now := s.now()
	if age := now.Sub(proven); age > maxDecisionAge { // there was no slot, or this process stood still
		return Event{}, fmt.Errorf("%w: the proof of silence is %s old", ErrConflict, age)
	}
	facts := s.facts(server, now)
	d := s.config.Rules.Decide(&facts, now)
	if d.Action != policy.Sleep {
		return Event{}, nil
	}
	_, event, err := t.change(server, planSleep(server, policy.BecauseIdle, facts.Use.Last, Event{
		At: now, Cause: CauseIdle, Idle: d.Idle,
		Text: fmt.Sprintf("unused for %s, its idle-after is %s", d.Idle.Round(time.Second), server.Settings.IdleAfter),
	}))
	return event, err
}

// wokenByOthers reports whether somebody else gave replicas to a server that is marked as asleep.
func (s *Server) wokenByOthers() bool { return s.Replicas > 0 && !s.Mark.Asleep.IsZero() }
