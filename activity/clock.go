package activity

import (
	"sync"
	"time"
)

// Clock shows the time of the activity log: the clock of the NATS server that leads the stream of
// pings. The Clock knows it from the last measurement, and counts on with the monotonic clock of
// this process. The domain knows no other clock. So the next leader reads the instants that this
// one writes down as they are meant, and a wrong clock of this machine changes nothing.
//
// A Clock is slow by at most the time that one answer of NATS took, which errs to "awake". It
// stands still while the machine is suspended, until the next measurement. Before the first
// measurement it shows the time of this process. All methods may be called concurrently.
type Clock struct {
	mu    sync.RWMutex
	shown time.Time // the time of the log at the last measurement
	since time.Time // the same instant by the clock of this process
}

// Now returns the time of the log.
func (c *Clock) Now() time.Time { return c.At(time.Now()) } //nolint:forbidigo // the one place that reads it

// At returns the time of the log at an instant of this process, by the last measurement.
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

// Measured records that the log's clock showed an instant at some moment between two instants of
// this process. A measurement that agrees with the Clock changes nothing, because a slow answer
// says less than the fast one before it. Measured ignores a zero instant: an old NATS server sends
// none.
func (c *Clock) Measured(shown, before, after time.Time) {
	if shown.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at(before).After(shown) || c.at(after).Before(shown) {
		c.shown, c.since = shown, after
	} else if c.since.IsZero() {
		// From here on somebody may set the clock of this machine.
		c.shown, c.since = after.Round(0), after
	}
}

// Skew returns by how much the log's clock is behind the clock of this process, in whole
// milliseconds. It is negative when the log's clock is ahead.
func (c *Clock) Skew() time.Duration {
	now := time.Now() //nolint:forbidigo // what is compared with the clock of the log
	return now.Round(0).Sub(c.At(now).Round(0)).Round(time.Millisecond)
}

// maxDrift is how far the wall clock and the monotonic clock may drift apart before a proof from
// before that counts no more.
const maxDrift = time.Second

// Age returns how much time passed between two instants of this process. It takes the larger of two
// answers, that of the wall clock and that of the monotonic clock, which stands still while the
// machine is suspended. When the two disagree, sure is false: somebody set the clock or the machine
// was suspended, and a proof from before that says nothing about now.
func Age(then, now time.Time) (age time.Duration, sure bool) {
	mono, wall := now.Sub(then), now.Round(0).Sub(then.Round(0))
	age = max(mono, wall)
	return age, age >= 0 && (wall-mono).Abs() <= maxDrift
}
