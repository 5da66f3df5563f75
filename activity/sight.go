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

	deaf []interval // in order of time
	lost interval   // the deafness of now, up to the instant of this Sight; zero while the log can be heard
}

type interval struct{ from, to time.Time }

// Idle returns how long a server whose idle clock started at start has been idle at now. Time in which this
// process could not hear the log does not count.
func (s Sight) Idle(start, now time.Time) time.Duration {
	idle := now.Sub(start)
	for i := range s.deafness {
		if from, to := latest(i.from, start), earliest(i.to, now); from.Before(to) {
			idle -= to.Sub(from)
		}
	}
	return max(0, idle)
}

// IdleAt returns the instant at which a server whose idle clock started at start has been idle for d, as far as
// is known now: silence from here on, and no further deafness.
func (s Sight) IdleAt(start time.Time, d time.Duration) time.Time {
	end := start.Add(d)
	for i := range s.deafness {
		if from := latest(i.from, start); from.Before(i.to) && from.Before(end) {
			end = end.Add(i.to.Sub(from))
		}
	}
	return end
}

// deafness yields the intervals in which silence proves nothing, in order of time.
func (s Sight) deafness(yield func(interval) bool) {
	for _, i := range s.deaf {
		if !yield(i) {
			return
		}
	}
	yield(s.lost)
}

// Log is what a reader of the log saw of it when it had caught up.
type Log struct {
	Born  time.Time // since when the log is complete: its creation, or when a purge was noticed
	Empty bool      // it never held any ping
}

type sight struct {
	why      string // why the log can't be heard; empty while it can
	log      Log
	lost     time.Time // since when silence proves nothing; zero while it proves something
	since    time.Time // since when it proves something again
	deafness []interval
}

// Hear records that everything in the log is known as of now. It is called when the log was caught up with, and
// again when what the reader saw of it has changed.
func (t *Tracker) Hear(log Log, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.sight
	s.why, s.log = "", log
	switch {
	case log.Empty: // as good as deaf: the first ping to one server must not prove that all others were unused
		s.lose(now)
	case !s.lost.IsZero() || s.since.IsZero():
		s.gain(now)
	case now.Before(s.since): // the clock of NATS was set back
		s.since = now
	}
	t.tidy(now)
}

// Deaf records that from now on the log can't be heard, and why. Later calls, until Hear, change nothing.
func (t *Tracker) Deaf(why string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.sight
	if s.why == "" {
		s.why = fmt.Sprintf("%s since %s", why, now.UTC().Format(time.RFC3339))
	}
	s.lose(now)
}

func (s *sight) lose(now time.Time) {
	if s.lost.IsZero() {
		s.lost = now
	}
}

func (s *sight) gain(now time.Time) {
	if !s.lost.IsZero() {
		s.deafness = append(slices.Clone(s.deafness), interval{s.lost, now}) // a Sight may hold the former
	}
	if len(s.deafness) > maxDeaf {
		s.deafness[1].from = s.deafness[0].from
		s.deafness = s.deafness[1:]
	}
	s.lost, s.since = time.Time{}, now
}

// at returns what a Sight of now knows of the past.
func (s *sight) at(now time.Time) Sight {
	sight := Sight{Born: s.log.Born, deaf: s.deafness}
	if !s.lost.IsZero() {
		sight.lost = interval{s.lost, now}
	}
	return sight
}

// Sight returns how far the log can be heard at now.
func (t *Tracker) Sight(now time.Time) Sight {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := &t.sight
	sight := s.at(now)
	settled := s.since.Add(t.settle)
	switch {
	case s.why != "":
		sight.Blind = s.why
	case s.log.Empty:
		sight.Blind = "the activity log has never held a ping: nobody may be reporting activity"
	case now.Before(settled):
		sight.Blind, sight.Until = "the activity log can be heard again only since a moment ago", settled
	}
	return sight
}
