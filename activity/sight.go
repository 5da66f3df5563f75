package activity

import (
	"fmt"
	"slices"
	"time"
)

// maxDeaf bounds the intervals kept. Past it the two oldest are joined, which errs to "awake".
const maxDeaf = 64

// Sight says how far the log could be heard, at one instant.
type Sight struct {
	Blind string    // why silence proves nothing now; empty when it does
	Until time.Time // when the blindness ends by itself, zero when that is not known
	Born  time.Time // the log tells of everything since this instant, and of nothing before it

	deaf []interval
}

type interval struct{ from, to time.Time }

// Idle returns how long a server whose idle clock started at start has been idle at now. Time in which this
// process could not hear the log does not count.
func (s Sight) Idle(start, now time.Time) time.Duration {
	idle := now.Sub(start)
	for _, i := range s.deaf {
		if i.to.After(start) && i.from.Before(now) {
			idle -= i.to.Sub(latest(i.from, start))
		}
	}
	return max(0, idle)
}

// IdleAt returns the instant at which a server whose idle clock started at start has been idle for d, as far as
// is known now: silence from here on, and no further deafness.
func (s Sight) IdleAt(start time.Time, d time.Duration) time.Time {
	end := start.Add(d)
	for _, i := range s.deaf { // in order of time
		if i.to.After(start) && i.from.Before(end) {
			end = end.Add(i.to.Sub(latest(i.from, start)))
		}
	}
	return end
}

// Log is what a reader of the log saw of it when it had caught up.
type Log struct {
	Born   time.Time     // since when the log is complete: its creation, or when a purge was noticed
	Empty  bool          // it never held any ping
	Behind time.Duration // how far its clock is behind that of this process
}

type sight struct {
	why      string // not empty: the log can't be heard
	log      Log
	since    time.Time // when sight returned
	lostAt   time.Time // when it was lost, zero before it was first gained
	deafness []interval
}

// Hear records that everything in the log is known as of now.
func (t *Tracker) Hear(log Log, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.sight
	if s.why != "" {
		s.why, s.since = "", now
		if !s.lostAt.IsZero() {
			s.deafness = append(slices.Clone(s.deafness), interval{s.lostAt, now}) // a Sight may hold the former
		}
		if len(s.deafness) > maxDeaf {
			s.deafness[1].from = s.deafness[0].from
			s.deafness = s.deafness[1:]
		}
	}
	s.log, t.behind = log, log.Behind
}

// Deaf records that from now on the log can't be heard, and why. Later calls, until Hear, change nothing.
func (t *Tracker) Deaf(why string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := &t.sight; s.why == "" {
		s.why, s.lostAt = why, now
	}
}

// Sight returns how far the log can be heard at now.
func (t *Tracker) Sight(now time.Time) Sight {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := &t.sight
	sight := Sight{Born: s.log.Born, deaf: s.deafness}
	settled := s.since.Add(t.settle)
	switch {
	case s.why != "" && s.lostAt.IsZero():
		sight.Blind = s.why
	case s.why != "":
		sight.Blind = fmt.Sprintf("%s since %s", s.why, s.lostAt.UTC().Format(time.RFC3339))
	case s.log.Empty:
		sight.Blind = "the activity log has never held a ping: nobody may be reporting activity"
	case now.Before(settled):
		sight.Blind, sight.Until = "the activity log can be heard again only since a moment ago", settled
	}
	return sight
}
