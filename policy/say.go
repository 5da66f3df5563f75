package policy

import (
	"fmt"
	"time"
)

// At says an instant as the sentences of Explain do: as somebody would who looks at a clock in the zone of the server.
func (f *Facts) At(t, now time.Time) string { return clockOf(f, now).at(t) }

// In is At, and how long it is until then.
func (f *Facts) In(t, now time.Time) string { return clockOf(f, now).in(t) }

// Ago is At, and how long ago that was.
func (f *Facts) Ago(t, now time.Time) string { return f.At(t, now) + " (" + Span(now.Sub(t)) + " ago)" }

// Span says a duration in the two units that matter: 3d4h, 1h30m, 4m12s.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(0, d); {
	case d >= day:
		if hours := d % day / time.Hour; hours > 0 {
			return fmt.Sprintf("%dd%dh", d/day, hours)
		}
		return fmt.Sprintf("%dd", d/day)
	case d >= time.Hour:
		return span(d.Truncate(time.Minute))
	}
	return span(d)
}

// Unused says that a server is idle, and by which setting.
func Unused(idle, idleAfter time.Duration) string {
	return fmt.Sprintf("unused for %s, its idle-after is %s", Span(idle), span(idleAfter))
}

// ByWhom says who ordered something, and why, in their own words; nothing when they did not say.
func ByWhom(actor, reason string) string { return by(actor) + because(reason) }
