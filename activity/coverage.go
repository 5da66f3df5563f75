package activity

import (
	"fmt"
	"slices"
	"time"
)

// maxGaps bounds the gaps that are kept. Above it the two oldest are joined, which errs to "awake".
const maxGaps = 64

// Coverage says how far the daemon knows all of the log, at one instant. Silence proves that a
// server was unused only where it does. A Coverage is a value: it never changes.
type Coverage struct {
	Blind         string    // why silence proves nothing now; empty when it does
	Until         time.Time // when Blind ends by itself; zero when nobody knows
	CompleteSince time.Time // the log has everything since this instant, and nothing from before it

	gaps []interval // in order of time
	gap  interval   // the current gap, up to the instant of this Coverage; zero while there is none
}

type interval struct{ from, to time.Time }

// Idle returns how long a server whose idle clock started at start has been idle at now. Gaps do
// not count.
func (c Coverage) Idle(start, now time.Time) time.Duration {
	idle := now.Sub(start)
	for gap := range c.all {
		if from, to := latest(gap.from, start), earliest(gap.to, now); from.Before(to) {
			idle -= to.Sub(from)
		}
	}
	return max(0, idle)
}

// IdleAt returns the instant at which a server whose idle clock started at start has been idle for
// d, if it stays unused and no other gap begins.
func (c Coverage) IdleAt(start time.Time, d time.Duration) time.Time {
	end := start.Add(d)
	for gap := range c.all {
		if from := latest(gap.from, start); from.Before(gap.to) && from.Before(end) {
			end = end.Add(gap.to.Sub(from))
		}
	}
	return end
}

// all yields the gaps in order of time.
func (c Coverage) all(yield func(interval) bool) {
	for _, gap := range c.gaps {
		if !yield(gap) {
			return
		}
	}
	yield(c.gap)
}

// Log is the state of the log at the moment at which its reader had caught up.
type Log struct {
	CompleteSince time.Time // when the log was created, or last lost messages
	Empty         bool      // it never held a ping
}

type coverage struct {
	reason   string // why the log can't be read; empty while it can
	log      Log
	lost     time.Time // when the current gap began; zero while there is none
	caughtUp time.Time // when the last gap ended
	gaps     []interval
}

// CaughtUp records that the Tracker knows everything in the log up to now. The reader of the log
// calls it each time that it has proven this.
func (t *Tracker) CaughtUp(log Log, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.coverage
	c.reason, c.log = "", log
	switch {
	case log.Empty: // otherwise the first ping to one server would prove that all others were unused
		c.beginGap(now)
	case !c.lost.IsZero() || c.caughtUp.IsZero():
		c.endGap(now)
	case now.Before(c.caughtUp): // somebody set the clock of NATS back
		c.caughtUp = now
	}
	t.forgetOld(now)
}

// Lost records that the log can't be read from now on, and why. Later calls change nothing until
// CaughtUp is called.
func (t *Tracker) Lost(why string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.coverage
	if c.reason == "" {
		c.reason = fmt.Sprintf("%s since %s", why, now.UTC().Format(time.RFC3339))
	}
	c.beginGap(now)
}

func (c *coverage) beginGap(now time.Time) {
	if c.lost.IsZero() {
		c.lost = now
	}
}

func (c *coverage) endGap(now time.Time) {
	if !c.lost.IsZero() {
		c.gaps = append(slices.Clone(c.gaps), interval{c.lost, now}) // a Coverage may hold the former slice
	}
	if len(c.gaps) > maxGaps {
		c.gaps[1].from = c.gaps[0].from
		c.gaps = c.gaps[1:]
	}
	c.lost, c.caughtUp = time.Time{}, now
}

// at returns the Coverage at now, without Blind.
func (c *coverage) at(now time.Time) Coverage {
	found := Coverage{CompleteSince: c.log.CompleteSince, gaps: c.gaps}
	if !c.lost.IsZero() {
		found.gap = interval{c.lost, now}
	}
	return found
}

// Coverage returns how far the Tracker knows the log at now.
func (t *Tracker) Coverage(now time.Time) Coverage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := &t.coverage
	found := c.at(now)
	settled := c.caughtUp.Add(t.settle)
	switch {
	case c.reason != "":
		found.Blind = c.reason
	case c.log.Empty:
		found.Blind = "the activity log has never held a ping: perhaps nobody reports activity"
	case now.Before(settled):
		found.Blind, found.Until = "the activity log is complete again only since a moment ago", settled
	}
	return found
}
