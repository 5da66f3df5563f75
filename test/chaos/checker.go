package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// What may be late, and by how much.
const (
	// unheard is how long before a decision to sleep a use may have been stored and still be unknown to it. The daemon proves that it
	// knows what the log held within the last second; another second is for threads that have to wait for two busy cores between the
	// reading of a clock and the use of what was read.
	unheard = 2 * time.Second

	// wakeWithin is how long a server may stay asleep that is wanted, once there is a leader. It takes about a second; this is for a slow
	// machine that wakes all servers at once. What it is to find is a wake that was lost: how long one took is in Longest.
	wakeWithin = 8 * time.Second

	// toldWithin is how long an event may take to be told in calm: a second, and two for busy cores.
	toldWithin = 3 * time.Second

	// A leader says once a second that it leads. Nobody does when none has said so for longer than unled. A new one is found after some
	// seconds, or many on a slow machine; what needs longer than most without one is not excused by that. The new one reads the cluster
	// and the log for as long as settling.
	unled             = leaseDuration
	mostWithoutLeader = time.Minute
	settling          = 3 * time.Second

	// renewing is for how long before it has to end a leader may already have been too slow to renew its lease, and so to do anything else.
	renewing = leaseDuration + 20*time.Second

	// How long after a fault nothing is expected to be fast: the lease has to run out and a leader be found, a silent connection is
	// noticed after 8 s, client-go waits longer after each failure of the API server.
	recovery    = 10 * time.Second
	recoveryAPI = 20 * time.Second

	// stale is how late a sleep has to be written after its decision to be counted as one of a leader that was held up.
	stale = time.Second
)

// Violation is something that must not be.
type Violation struct {
	Rule   string
	Server string // empty: it is about none
	At     time.Time
	Text   string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s %s: %s", v.Rule, v.At.Format(clock), v.Server, v.Text)
}

// Verdict is what the checker found.
type Verdict struct {
	Violations []Violation
	Counts     map[string]int
	Longest    map[string]time.Duration
}

// Check says what is wrong with a run.
func Check(r *Record) *Verdict {
	c := &checker{Record: r, Verdict: Verdict{Counts: make(map[string]int), Longest: make(map[string]time.Duration)}}
	c.disturbed = r.disturbances()
	for _, name := range slices.Sorted(maps.Keys(r.Servers)) {
		c.check(c.past(name))
	}
	c.strays()
	c.daemons()
	c.count()
	if r.Left > 0 {
		c.fail("unfinished", "", r.Quiet, "%d commands were left in the stream", r.Left)
	}
	return &c.Verdict
}

type checker struct {
	*Record
	Verdict
	disturbed []interval
}

type interval struct{ from, to time.Time }

// past is all that is known of one server.
type past struct {
	*Server
	versions    []*Version
	transitions []transition
	orders      map[string]*Order
	uses        []*Use
	told        []*Told
	remakes     []*Remake
}

func (c *checker) past(name string) *past {
	p := &past{Server: c.Servers[name], versions: c.Versions[name], orders: make(map[string]*Order)}
	for _, o := range c.Orders {
		if o.Server == name {
			p.orders[o.ID] = o
		}
	}
	for _, u := range c.Uses {
		if u.Server == name {
			p.uses = append(p.uses, u)
		}
	}
	for _, t := range c.Told {
		if t.Server == name {
			p.told = append(p.told, t)
		}
	}
	for _, m := range c.Remakes {
		if m.Server == name {
			p.remakes = append(p.remakes, m)
		}
	}
	var err error
	if p.transitions, err = c.transitions(p.versions); err != nil {
		c.fail("unreadable mark", name, c.End, "%v", err)
	}
	return p
}

func (c *checker) fail(rule, server string, at time.Time, format string, args ...any) {
	c.Violations = append(c.Violations, Violation{rule, server, at, fmt.Sprintf(format, args...)})
}

func (c *checker) longest(what string, d time.Duration) { c.Longest[what] = max(c.Longest[what], d) }

func (c *checker) check(p *past) {
	c.commands(p)
	for _, t := range p.transitions {
		c.effect(p, t)
	}
	c.writers(p)
	c.rivals(p)
	c.sleeps(p)
	c.events(p)
	c.quiet(p)
}

// quiet: when all has ended, what is unused is asleep, and nothing else is.
func (c *checker) quiet(p *past) {
	var v *Version
	for _, at := range p.versions {
		if !at.Seen.After(c.Quiet) {
			v = at
		}
	}
	switch {
	case v == nil || v.Deleted:
		c.fail("no history", p.Name, c.Quiet, "there is no version of it")
	case p.Kind == Paused && v.Replicas == 0:
		c.fail("asleep at the end", p.Name, c.Quiet, "it is paused")
	case v.contended():
		c.Counts["servers left alone because somebody else kept waking them"]++
	case p.Kind != Paused && v.Replicas > 0:
		c.fail("awake at the end", p.Name, c.Quiet, "it has %d replicas, %d ready, and nobody used it", v.Replicas, v.Ready)
	}
}

// count counts what was done.
func (c *checker) count() {
	add := func(what string, n int) { c.Counts[what] += n }
	for _, o := range c.Orders {
		add("commands sent", 1)
		if o.Acked.IsZero() {
			add("commands without an answer", 1)
		}
		if len(o.Again) > 0 {
			add("commands sent again with the same Nats-Msg-Id", 1)
		}
	}
	for _, u := range c.Uses {
		kind := "pings"
		if u.Holder != "" {
			kind = "words about leases"
		}
		add(kind+" sent", 1)
		if u.Acked.IsZero() {
			add(kind+" without an acknowledgement", 1)
		}
	}
	for _, f := range c.Faults {
		kind, _, _ := strings.Cut(f.Kind, " ")
		target := f.Target
		if strings.HasPrefix(target, "daemon-") {
			target = strings.TrimSpace("daemon" + strings.TrimLeft(strings.TrimPrefix(target, "daemon-"), "0123456789"))
		}
		add("fault: "+kind+" "+target, 1)
	}
	for _, l := range c.Lives {
		switch {
		case l.Ahead > 0:
			add("lives of daemons with a clock ahead", 1)
		case l.Ahead < 0:
			add("lives of daemons with a clock behind", 1)
		default:
			add("lives of daemons with a right clock", 1)
		}
	}
	add("times the machine stood still", len(c.Stalls))
	add("Deployments made again", len(c.Remakes))
	for _, versions := range c.Versions {
		add("versions of Deployments", len(versions))
		for _, v := range versions {
			if v.Gap {
				add("gaps in the history", 1)
			}
		}
	}
	for _, e := range c.Told {
		add("events: "+e.Type, 1)
	}
}

// sorted returns the names of what was counted, in order.
func sorted[V any](m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), cmp.Compare[string])
}
