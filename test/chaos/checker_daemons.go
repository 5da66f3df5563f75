package chaos

import (
	"strings"
	"time"
)

// How much a daemon may grow from its first seconds to the end of its run, when all is asleep.
const (
	moreGoroutines = 50
	moreMemory     = 96 << 20 // and as much again as it had: the race detector remembers much
	grown          = 3 * time.Second
)

// lostLease reports whether the daemon ended because it could not renew its lease in time, as it has to.
func (e Exit) lostLease() bool {
	return e.Code == 1 && strings.Contains(e.Said, "the lease of leadership was lost")
}

// daemons: none panics or ends by itself, but for a lost lease, and none grows.
func (c *checker) daemons() {
	for _, e := range c.Exits {
		if e.lostLease() {
			c.Counts["daemons that ended because they lost the lease"]++
			continue
		}
		c.fail("daemon ended", "", e.At, "%s with code %d (66: a race), saying %q", e.Daemon, e.Code, e.Said)
	}
	for _, line := range c.Panics {
		c.fail("panic", "", c.End, "%s", line)
	}
	first := make(map[int]Sample)
	final := make(map[int]Sample)
	for _, s := range c.Samples {
		if s.Panics > 0 {
			c.fail("panic", "", s.At, "%s counts %d", s.Daemon, s.Panics)
		}
		if f, has := first[s.PID]; !has || f.Age < grown {
			first[s.PID] = s // some seconds after its start, or its first
		}
		if !s.At.After(c.Quiet) {
			final[s.PID] = s
		}
	}
	for pid, s := range final {
		f := first[pid]
		if c.Quiet.Sub(s.At) > 5*time.Second || s.Age <= f.Age {
			continue // it had ended before
		}
		c.Counts["most goroutines at the end"] = max(c.Counts["most goroutines at the end"], s.Goroutines)
		c.Counts["most MB at the end"] = max(c.Counts["most MB at the end"], s.Memory>>20)
		if s.Goroutines > f.Goroutines+moreGoroutines {
			c.fail("growth", "", s.At, "%s has %d goroutines, had %d when it was %s old", s.Daemon, s.Goroutines, f.Goroutines, f.Age.Round(time.Second))
		}
		if s.Memory > 2*f.Memory+moreMemory {
			c.fail("growth", "", s.At, "%s has %d MB, had %d when it was %s old", s.Daemon, s.Memory>>20, f.Memory>>20, f.Age.Round(time.Second))
		}
	}
}
