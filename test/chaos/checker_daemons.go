package chaos

import "strings"

// What a daemon may have when all is asleep. At rest it has the same whatever happened before: a leader at most 95 goroutines in some
// sixty runs of 20 seconds to 30 minutes, with 50 to 150 servers, and 116 MB, or 156 after 30 minutes. What it had at its start says nothing: it may not
// have been connected to anything by then. Since then a leader has 64 workers more, which wait for work.
const (
	mostGoroutines = 150 + 64
	mostMemory     = 256 << 20
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
	final := make(map[int]Sample)
	for _, s := range c.Samples {
		if s.Panics > 0 {
			c.fail("panic", "", s.At, "%s counts %d", s.Daemon, s.Panics)
		}
		if s.At.After(c.Quiet) && !s.At.After(c.Rest) { // when the last server has just fallen asleep, the sweep that did it is still at work
			final[s.PID] = s
		}
	}
	for _, s := range final {
		c.Counts["most goroutines at the end"] = max(c.Counts["most goroutines at the end"], s.Goroutines)
		c.Counts["most MB at the end"] = max(c.Counts["most MB at the end"], s.Memory>>20)
		if s.Goroutines > mostGoroutines {
			c.fail("growth", "", s.At, "%s has %d goroutines at rest", s.Daemon, s.Goroutines)
		}
		if s.Memory > mostMemory {
			c.fail("growth", "", s.At, "%s has %d MB at rest", s.Daemon, s.Memory>>20)
		}
	}
}
