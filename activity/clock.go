package activity

import (
	"sync"
	"time"
)

// Clock shows the time of the activity log: that of the NATS server which leads its stream, as it was measured
// last, counted on since then by the monotonic clock of this process. The domain knows no other clock, so what
// one leader writes down means the same to the next one, and a wrong clock of this machine changes nothing.
//
// It is late by at most the way of one answer of NATS, which errs to "awake"; and while the machine is
// suspended it stands still, until the next measurement. Before the first measurement it shows the time of
// this process. All methods may be called concurrently.
type Clock struct {
	mu    sync.RWMutex
	shown time.Time // what it showed
	since time.Time // at this instant of this process
}

// Now returns the time of the log.
func (c *Clock) Now() time.Time { return c.At(time.Now()) }

// At returns the time of the log at an instant of this process, as far as it is known now.
func (c *Clock) At(local time.Time) time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.at(local)
}

func (c *Clock) at(local time.Time) time.Time {
	if c.since.IsZero() {
		return local
	}
	return c.shown.Add(local.Sub(c.since))
}

// Measured records that the log's clock showed an instant at some moment between two of this process. What
// agrees with that is kept, because an answer that took long says less than one that came at once. A zero
// instant, of a NATS server that does not say, is ignored.
func (c *Clock) Measured(shown, before, after time.Time) {
	if shown.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at(before).After(shown) || c.at(after).Before(shown) {
		c.shown, c.since = shown, after
	} else if c.since.IsZero() {
		c.shown, c.since = after.Round(0), after // from here on the clock of this machine may be set
	}
}

// Skew returns how far the log's clock is behind that of this process, in whole milliseconds; negative when it
// is ahead.
func (c *Clock) Skew() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(c.At(now).Round(0)).Round(time.Millisecond)
}

// settled is how far the clock on the wall and the monotonic one may drift apart while something is true that
// was found out by the former.
const settled = time.Second

// Age is how long ago something was, between two instants of this process: by whichever clock says more, the
// one on the wall or the monotonic one, which stands still while the machine is suspended. It is not sure when
// the two don't agree: then the clock was set or the machine was suspended meanwhile, and what was proven
// before is of another time.
func Age(then, now time.Time) (age time.Duration, sure bool) {
	mono, wall := now.Sub(then), now.Round(0).Sub(then.Round(0))
	age = max(mono, wall)
	return age, age >= 0 && (wall-mono).Abs() <= settled
}
