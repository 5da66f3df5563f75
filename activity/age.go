package activity

import "time"

// settled is how far the clock on the wall and the monotonic one may drift apart while something is true that was found out by the former.
const settled = time.Second

// Age is how long before now something was, by whichever clock says more: the one on the wall or the monotonic one, which stands still while the machine is
// suspended. It is not sure when the two don't agree: then the clock was set meanwhile, and what was found out by it, as how far others are from it, is
// of another time.
func Age(then, now time.Time) (age time.Duration, sure bool) {
	mono, wall := now.Sub(then), now.Round(0).Sub(then.Round(0))
	age = max(mono, wall)
	return age, age >= 0 && (wall-mono).Abs() <= settled
}
