package chaos

import (
	"slices"
	"time"
)

// events: each tells what happened, and all that happened is told.
func (c *checker) events(p *past) {
	byID := make(map[string]transition)
	for _, t := range p.transitions {
		byID[t.ID] = t
	}
	told := make(map[string]int)
	ready := slices.IndexFunc(p.versions, func(v *Version) bool { return v.Ready > 0 })
	for _, e := range p.told {
		told[e.ID]++
		if !isChange(e.Type) {
			if e.Type == "ready" && (ready < 0 || p.versions[ready].Seen.After(e.Stored.Add(time.Second))) {
				c.fail("event of nothing", p.Name, e.Stored, "ready %s: no replica was", e.ID)
			}
			continue
		}
		t, known := byID[e.ID]
		uid, rv := versionOf(e.ID)
		switch {
		case known && (t.Type != e.Type || t.From != e.From || t.To != e.To || t.Cause != e.Cause || t.Command != e.Command):
			c.fail("event is not true", p.Name, e.Stored, "told %s %d→%d cause %s command %q, was %s", e.Type, e.From, e.To, e.Cause, e.Command, t.last)
		case known:
		case inGap(p.versions, uid, rv):
			c.Counts["events of what the history could not see"]++
		default:
			c.fail("event of nothing", p.Name, e.Stored, "told %s %d→%d cause %s command %q id %s, which no version has", e.Type, e.From, e.To, e.Cause, e.Command, e.ID)
		}
	}
	for _, t := range p.transitions {
		switch n := told[t.ID]; {
		case n == 0 && p.remadeBetween(t.version.Seen, c.calmAfter(t.version.Seen, toldWithin)):
			c.Counts["events that ended with their Deployment"]++ // nobody lived to tell it, and it was nowhere else
		case n == 0:
			c.fail("event missing", p.Name, t.version.Seen, "%s", t.last)
		case n > 1:
			c.Counts["events told again"] += n - 1
		}
	}
}

// strays: nothing is told of servers that are not there, but of the daemon itself.
func (c *checker) strays() {
	for _, e := range c.Told {
		if c.Servers[e.Server] == nil && e.Type != "blinded" && e.Type != "sighted" {
			c.fail("event of nothing", e.Server, e.Stored, "told %s, and there is no such server", e.Type)
		}
	}
}
