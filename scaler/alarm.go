package scaler

import (
	"context"
	"sync"
	"time"
)

// alarm goes off at the earliest instant that was set: when a server may have to wake without anything happening, as at the start of
// a window, was told that it sleeps then, or could not be woken. The sweep could be late: its schedule says when to put to sleep.
type alarm struct {
	changed chan struct{} // has something to receive after it was set to go off sooner

	mu sync.Mutex
	at time.Time // zero: not set
}

func newAlarm() *alarm { return &alarm{changed: make(chan struct{}, 1)} }

// set makes the alarm go off at an instant, if it would not go off before. Zero changes nothing.
func (a *alarm) set(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.IsZero() || !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// due returns a channel that has something to receive when the alarm goes off as it is set now.
func (a *alarm) due(now time.Time) <-chan time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at.IsZero() {
		return nil
	}
	return time.After(a.at.Sub(now))
}

// reset is called before everything for which the alarm may be set is looked at, which sets it again: what is set meanwhile is kept.
func (a *alarm) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = time.Time{}
}

// heed does what the alarm is set for, until ctx is done. It runs beside the sweep, which may take long and must not be late.
func (t *term) heed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.alarm.changed:
		case <-t.alarm.due(t.s.now()):
			t.alarm.reset()
			l := t.s.look()
			for server := range t.s.cache.All {
				t.s.guard(server.ID, func() { t.consider(&l, server) })
			}
			t.s.guard(t.s.config.Self, func() { t.sleepNoticed(ctx, &l) })
		}
	}
}
