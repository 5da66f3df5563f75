package chaos

import (
	"slices"
	"time"
)

// sleeps: none too early, and each is over as soon as the server is wanted.
func (c *checker) sleeps(p *past) {
	for i, t := range p.transitions {
		if t.Type != "slept" || t.Cause != "idle" {
			continue
		}
		c.Counts["automatic sleeps"]++
		if t.At.After(t.version.Seen) {
			c.fail("instant of a wrong clock", p.Name, t.version.Seen, "its last change says that it will be at %s", t.At.Format(clock))
		}
		early := func(since time.Time) bool { return t.At.Before(since.Add(p.IdleAfter)) }
		if until, use := p.usedUntil(t.At.Add(-unheard), t.At); use != nil && early(until) {
			c.fail("early sleep", p.Name, t.At, "decided %s after its last use, acknowledged %s before; its idle-after is %s; written at %s at the latest",
				t.At.Sub(until), t.At.Sub(use.Acked), p.IdleAfter, t.version.Seen.Format(clock))
		}
		for _, former := range slices.Backward(p.transitions[:i]) {
			if former.version.UID == t.version.UID && former.To > 0 && isChange(former.Type) {
				if early(former.At) {
					c.fail("early sleep", p.Name, t.At, "decided %s after it was woken or told to be awake; its idle-after is %s", t.At.Sub(former.At), p.IdleAfter)
				}
				break
			}
		}
		if early(t.version.Made) {
			c.fail("early sleep", p.Name, t.At, "decided %s after the Deployment was made; its idle-after is %s", t.At.Sub(t.version.Made), p.IdleAfter)
		}
		if by := p.lastRival(t.version); by != nil && early(by.WriterAt) {
			c.fail("early sleep", p.Name, t.At, "decided %s after somebody else woke it; its idle-after is %s", t.At.Sub(by.WriterAt), p.IdleAfter)
		}
		late := t.version.Seen.Sub(t.At)
		if late > stale {
			c.Counts["automatic sleeps written late"]++
		}
		c.longest("decision to sleep until seen", late)
		c.wakes(p, t, p.transitions[i+1:])
	}
}

// remadeBetween reports whether the Deployment may have been deleted in between.
func (p *past) remadeBetween(from, to time.Time) bool {
	return slices.ContainsFunc(p.remakes, func(m *Remake) bool { return m.Deleting.Before(to) && (m.Made.IsZero() || m.Made.After(from)) })
}

// wokenByRival reports whether somebody else gave replicas to a server that the daemon has at zero, between two versions.
func wokenByRival(before, v *Version) bool {
	return v.UID == before.UID && before.Replicas == 0 && v.Replicas > 0 && v.Writer != fieldManager && v.Marks["asleep-since"] != ""
}

// lastRival returns the last version before this one with which somebody else woke the server, nil when there is none.
func (p *past) lastRival(before *Version) (by *Version) {
	for i, v := range p.versions {
		if v == before {
			break
		}
		if i > 0 && wokenByRival(p.versions[i-1], v) {
			by = v
		}
	}
	if by != nil && by.UID != before.UID {
		return nil
	}
	return by
}

// rivals: that somebody else woke a server is taken note of, so that its marks are true.
func (c *checker) rivals(p *past) {
	for i, v := range p.versions {
		if i == 0 || !wokenByRival(p.versions[i-1], v) {
			continue
		}
		c.Counts["sleepers woken by somebody else"]++
		deadline := c.calmAfter(v.Seen, wakeWithin)
		if p.remadeBetween(v.Seen, deadline) {
			continue
		}
		later, ended := p.versions[i:], deadline.Before(c.End)
		if noted := slices.IndexFunc(later, func(v *Version) bool { return v.Marks["asleep-since"] == "" || v.Replicas == 0 }); noted >= 0 {
			ended = later[noted].Seen.After(deadline)
			c.longest("wake by somebody else until noted", later[noted].Seen.Sub(v.Seen))
		}
		if ended {
			c.fail("rival not noted", p.Name, v.Seen, "%s gave it %d replicas, and its marks say that it sleeps until after %s", v.Writer, v.Replicas, deadline.Format(clock))
		}
	}
}

// usedUntil returns until when a server was in use at least, as far as was acknowledged before known, and by which use. At is when that
// is asked: what its holder said later does not shorten a lease.
func (p *past) usedUntil(known, at time.Time) (until time.Time, by *Use) {
	for i, u := range p.uses {
		if u.Acked.IsZero() || !u.Acked.Before(known) {
			continue
		}
		end := u.Sent.Add(u.TTL)
		for _, later := range p.uses[i+1:] {
			if u.Holder != "" && later.Holder == u.Holder && later.Sent.Before(at) && later.Sent.Before(end) {
				end = later.Sent // it may have ended it
				break
			}
		}
		if end.After(at) {
			end = at
		}
		if end.After(until) {
			until, by = end, u
		}
	}
	return until, by
}

// wakes: a server that was put to sleep is woken by what was stored after that was decided, or at the same time.
func (c *checker) wakes(p *past, slept transition, after []transition) {
	over := slices.IndexFunc(after, func(t transition) bool { return t.To > 0 || t.Cause == "command" })
	for _, u := range p.uses {
		asked := u.Acked // when it could be known that the server is wanted and asleep
		if asked.IsZero() || asked.Before(slept.At.Add(-unheard)) || u.Holder != "" && u.TTL == 0 {
			continue
		}
		if u.Sent.Before(slept.At.Add(-p.IdleAfter)) {
			continue // its acknowledgement took so long that the decision may have known it
		}
		if over >= 0 && after[over].version.Seen.Before(asked) {
			return
		}
		raced := asked.Before(slept.version.Seen)
		if raced {
			asked = slept.version.Seen
		}
		deadline := c.calmAfter(asked, wakeWithin)
		if p.remadeBetween(slept.version.Seen, deadline) {
			return
		}
		if u.Holder != "" {
			if end, _ := p.usedUntil(u.Acked.Add(1), deadline); u.Sent.Add(u.TTL).Before(deadline) || end.Before(deadline) {
				continue // the lease was over before anybody had to act
			}
		}
		ended, took := deadline.Before(c.End), c.End.Sub(asked)
		if over >= 0 {
			ended, took = after[over].version.Seen.After(deadline), after[over].version.Seen.Sub(asked)
		}
		if ended {
			c.fail("wake lost", p.Name, asked, "asleep since %s, used at %s, and not woken by %s (a calm %s)",
				slept.version.Seen.Format(clock), u.Acked.Format(clock), deadline.Format(clock), wakeWithin)
			return
		}
		what := "ping or lease until woken"
		if raced {
			what = "sleep that met a ping or lease until undone"
			c.Counts["sleeps that met a ping or lease on their way"]++
			if slept.version.Seen.Sub(slept.At) > stale {
				c.Counts["of these written late"]++
			}
		}
		if !c.calmAfter(asked, 0).After(asked) {
			c.longest(what+", in calm", took)
		} else {
			c.longest(what+", in a storm", took)
		}
		return
	}
}

// disturbances are the times in which nothing is expected to be fast, in order of their begins: the faults, those in which the machine stood
// still, those in which nobody led, and whatever made a leader lose its lease. Without a fault that is such a machine, too, and another leads
// only when that lease has run out.
func (r *Record) disturbances() []interval {
	all := r.leaderless()
	for _, s := range r.Stalls {
		all = append(all, interval{s.From, s.To.Add(recovery)})
	}
	for _, e := range r.Exits {
		if e.lostLease() {
			all = append(all, interval{e.At.Add(-renewing), e.At.Add(recovery)})
		}
	}
	for _, f := range r.Faults {
		after := recovery
		if f.Target == "API" {
			after = recoveryAPI
		}
		all = append(all, interval{f.From, f.To.Add(after)})
	}
	slices.SortFunc(all, func(a, b interval) int { return a.from.Compare(b.from) })
	return all
}

// leaderless are the times between a leader and the next. That the last one never has a successor excuses nothing.
func (r *Record) leaderless() (all []interval) {
	var led []time.Time
	for _, s := range r.Samples {
		if s.Leads {
			led = append(led, s.At)
		}
	}
	slices.SortFunc(led, time.Time.Compare) // they are of several daemons
	for i := range led[min(1, len(led)):] {
		if without := led[i+1].Sub(led[i]); without > unled {
			all = append(all, interval{led[i], led[i].Add(min(without+settling, mostWithoutLeader))})
		}
	}
	return all
}

// calmAfter returns the first instant from t on at which it has been calm for so long.
func (c *checker) calmAfter(t time.Time, long time.Duration) time.Time {
	for _, d := range c.disturbed {
		if t.Add(long).Before(d.from) {
			break
		}
		if t.Before(d.to) {
			t = d.to
		}
	}
	return t.Add(long)
}
