package scaler

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"idle-scaler/policy"
)

// mates yields the other servers of a server's group, in order of name.
func (s *Scaler) mates(server *Server) iter.Seq[*Server] {
	return func(yield func(*Server) bool) {
		if server.Settings.Group == "" {
			return
		}
		for _, mate := range s.cache.Group(server.ID.Namespace, server.Settings.Group) {
			if mate.ID != server.ID && !yield(mate) {
				return
			}
		}
	}
}

// group is what its servers want at one instant, each for its own sake.
type group struct {
	s       *Scaler
	now     time.Time
	servers map[string]*Server   // by name
	wanted  []wanted             // in order of name
	after   map[string][]*Server // those awake that come after a server, by its name
}

// wanted is a server that is awake and not idle, or has to wake.
type wanted struct {
	*Server
	policy.Decision
}

func (s *Scaler) group(id ID, now time.Time) *group {
	servers := s.cache.Group(id.Namespace, id.Name)
	g := &group{
		s: s, now: now, servers: make(map[string]*Server, len(servers)), after: make(map[string][]*Server),
	}
	for _, server := range servers {
		g.servers[server.ID.Name] = server
		facts := s.factsAlone(server, now)
		d := s.config.Rules.Decide(&facts, now)
		awake := server.Replicas > 0
		if d.Action == policy.Wake || d.Action == policy.Notify || awake && d.Action == policy.Keep {
			g.wanted = append(g.wanted, wanted{server, d})
		}
		if awake {
			for _, name := range server.Settings.After {
				g.after[name] = append(g.after[name], server)
			}
		}
	}
	return g
}

// of returns what the others of the group mean for a server.
func (g *group) of(server *Server) policy.Group {
	v := policy.Group{Bad: g.disorder(server)}
	known := true
	for i := range g.wanted {
		mate := &g.wanted[i]
		if mate.ID == server.ID || mate.idle() &&
			(server.Replicas == 0 || mate.lacksNotice() && server.Settings.SleepNotice > 0) {
			continue // an idle mate wakes none; and two that lack their notice would wait for each other
		}
		if v.Wanted == "" || weight(mate.Reason) > weight(v.Why) {
			v.Wanted, v.Why = mate.ID.Name, mate.Reason
			if mate.lacksNotice() {
				v.Why = policy.Noticing
			}
		}
		known = known && !mate.Sleeps.IsZero()
		v.Free = latestOf(v.Free, mate.Sleeps)
	}
	if !known {
		v.Free = time.Time{}
	}
	for _, mate := range g.after[server.ID.Name] {
		if mate.ID != server.ID && !(mate.Settings.DryRun && server.Settings.DryRun) { // a dry run never sleeps
			v.Before = append(v.Before, mate.ID.Name)
		}
	}
	if server.Replicas == 0 && v.Bad == "" {
		for _, name := range server.Settings.After {
			if g.willBeReady(g.servers[name]) {
				v.Waiting = append(v.Waiting, name)
			}
		}
	}
	return v
}

// weight says how much the reason of a server explains why its group is wanted: most if somebody
// uses the server, less if it is kept warm. Any other reason may only follow from one of these.
func weight(reason policy.Reason) int {
	switch reason {
	case policy.Leased, policy.Activity, policy.Started, policy.Held:
		return 2
	case policy.KeepWarm:
		return 1
	}
	return 0
}

// idle reports whether the server is only awake because a notice comes before its sleep.
func (w *wanted) idle() bool { return w.lacksNotice() || w.Reason == policy.Noticing }

// lacksNotice reports whether the server is idle, and its notice is not published yet.
func (w *wanted) lacksNotice() bool { return w.Action == policy.Notify && w.Reason != policy.Awake }

// willBeReady reports whether a server is not ready but will be, as far as is known, when another
// of its group wants it. Only then does the other wait for it.
func (g *group) willBeReady(server *Server) bool {
	if server.Replicas > 0 {
		late := startingAt(server).Add(g.s.config.Rules.StartDeadline)
		if server.Observed < server.Generation && g.now.Before(late) {
			return true // the counts are older than its wake
		}
		status, _ := g.s.status(server, g.now)
		return server.Ready == 0 && status != policy.StatusFailed
	}
	f := g.s.factsAlone(server, g.now)
	f.Group.Wanted = "another"
	return g.s.config.Rules.Decide(&f, g.now).Action == policy.Wake
}

// disorder returns why the order in which a group wakes can't be kept for a server; empty when it
// can.
func (g *group) disorder(server *Server) string {
	for _, name := range server.Settings.After {
		if g.servers[name] == nil {
			return fmt.Sprintf("after names %s, which is not in the group %s of namespace %s: "+
				"write the annotation idle-scaler/group: %[2]s on it, or take it out of after",
				name, server.Settings.Group, server.ID.Namespace)
		}
	}
	if cycle := g.cycle(server); cycle != nil {
		return fmt.Sprintf("after goes in a circle: %s: take one of them out", strings.Join(cycle, " after "))
	}
	return ""
}

// cycle returns the way from a server by "after" back to itself, nil when there is none.
func (g *group) cycle(server *Server) []string {
	if len(server.Settings.After) == 0 {
		return nil
	}
	seen := make(map[string]bool)
	var back func(from *Server) []string
	back = func(from *Server) []string {
		if slices.Contains(from.Settings.After, server.ID.Name) {
			return []string{from.ID.Name, server.ID.Name}
		}
		for _, name := range from.Settings.After {
			if mate := g.servers[name]; mate != nil && !seen[name] {
				seen[name] = true
				if way := back(mate); way != nil {
					return append([]string{from.ID.Name}, way...)
				}
			}
		}
		return nil
	}
	return back(server)
}
