package activity

import (
	"fmt"
	"slices"
	"time"
)

// maxGaps bounds the gaps that are kept. Past it the two oldest are joined, which errs to "awake".
const maxGaps = 64

// Coverage says how far the daemon knows all of the log, at one instant. Only where it does, silence
// proves that a server was unused.
type Coverage struct {
	Blind         string    // why silence proves nothing now; empty when it does
	Until         time.Time // when that ends by itself, zero when that is not known
	CompleteSince time.Time // the log has everything since this instant, and nothing from before it

	gaps []interval // in order of time
	gap  interval   // that of now, up to the instant of this Coverage; zero while the log is complete
}

type interval struct{ from, to time.Time }

// Idle returns how long a server whose idle clock started at start has been idle at now. Time in
// which the log was not complete does not count.
func (c Coverage) Idle(start, now time.Time) time.Duration {
	idle := now.Sub(start)
	for i := range c.all {
		if from, to := latest(i.from, start), earliest(i.to, now); from.Before(to) {
			idle -= to.Sub(from)
		}
	}
	return max(0, idle)
}

// IdleAt returns the instant at which a server whose idle clock started at start has been idle for
// d, if it stays unused and the log stays complete.
func (c Coverage) IdleAt(start time.Time, d time.Duration) time.Time {
	end := start.Add(d)
	for i := range c.all {
		if from := latest(i.from, start); from.Before(i.to) && from.Before(end) {
			end = end.Add(i.to.Sub(from))
		}
	}
	return end
}

// all yields the gaps in order of time.
func (c Coverage) all(yield func(interval) bool) {
	for _, i := range c.gaps {
		if !yield(i) {
			return
		}
	}
	yield(c.gap)
}

// Log is what a reader of the log saw of it when it had caught up.
type Log struct {
	CompleteSince time.Time // its creation, or when a purge was noticed
	Empty         bool      // it never held any ping
}

type coverage struct {
	why  string // why the log can't be read; empty while it can
	log  Log
	lost time.Time // since when silence proves nothing; zero while it proves something
	back time.Time // since when it proves something again
	gaps []interval
}

// CaughtUp records that the daemon knows everything in the log up to now. Call it when the reader
// has caught up, and again when what it saw of the log has changed.
func (t *Tracker) CaughtUp(log Log, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.coverage
	c.why, c.log = "", log
	switch {
	case log.Empty: // otherwise the first ping to one server would prove that all others were unused
		c.lose(now)
	case !c.lost.IsZero() || c.back.IsZero():
		c.regain(now)
	case now.Before(c.back): // the clock of NATS was set back
		c.back = now
	}
	t.tidy(now)
}

// Lost records that from now on the log can't be read, and why. Later calls, until CaughtUp, change
// nothing.
func (t *Tracker) Lost(why string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.coverage
	if c.why == "" {
		c.why = fmt.Sprintf("%s since %s", why, now.UTC().Format(time.RFC3339))
	}
	c.lose(now)
}

func (c *coverage) lose(now time.Time) {
	if c.lost.IsZero() {
		c.lost = now
	}
}

func (c *coverage) regain(now time.Time) {
	if !c.lost.IsZero() {
		c.gaps = append(slices.Clone(c.gaps), interval{c.lost, now}) // a Coverage may hold the former
	}
	if len(c.gaps) > maxGaps {
		c.gaps[1].from = c.gaps[0].from
		c.gaps = c.gaps[1:]
	}
	c.lost, c.back = time.Time{}, now
}

// at returns what a Coverage of now knows of the past.
func (c *coverage) at(now time.Time) Coverage {
	past := Coverage{CompleteSince: c.log.CompleteSince, gaps: c.gaps}
	if !c.lost.IsZero() {
		past.gap = interval{c.lost, now}
	}
	return past
}

// Coverage returns how far the log is known at now.
func (t *Tracker) Coverage(now time.Time) Coverage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := &t.coverage
	found := c.at(now)
	settled := c.back.Add(t.settle)
	switch {
	case c.why != "":
		found.Blind = c.why
	case c.log.Empty:
		found.Blind = "the activity log has never held a ping: perhaps nobody reports activity"
	case now.Before(settled):
		found.Blind, found.Until = "the activity log is complete again only since a moment ago", settled
	}
	return found
}
