package scaler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"idle-scaler/policy"
)

// look is one look at several servers at one moment. What those of a group make of each other is worked out once: done for each of
// them anew, a group of a thousand would take a thousand times as long.
type look struct {
	s      *Scaler
	now    time.Time
	groups map[ID]*group // by namespace and the name of the group
}

func (s *Scaler) look() look { return look{s: s, now: s.now()} }

// facts are what a decision about the server depends on.
func (l *look) facts(server *Server) policy.Facts {
	f := l.s.factsAlone(server, l.now)
	if server.Settings.Group != "" {
		f.Group = l.group(server).of(server)
	}
	return f
}

func (l *look) group(server *Server) *group {
	id := ID{Namespace: server.ID.Namespace, Name: server.Settings.Group}
	g := l.groups[id]
	if g == nil {
		g = l.s.group(id, l.now)
		if l.groups == nil {
			l.groups = make(map[ID]*group)
		}
		l.groups[id] = g
	}
	return g
}

// group is what its servers want at one moment, each for its own sake.
type group struct {
	s      *Scaler
	now    time.Time
	mates  map[string]*Server   // by name
	wanted []wanted             // in order of name
	after  map[string][]*Server // those awake that come after a server, by its name
}

// wanted is a server that is awake and not idle, or has to wake.
type wanted struct {
	*Server
	policy.Decision
}

func (s *Scaler) group(id ID, now time.Time) *group {
	all := s.cache.Group(id.Namespace, id.Name)
	g := &group{s: s, now: now, mates: make(map[string]*Server, len(all)), after: make(map[string][]*Server)}
	for _, mate := range all {
		g.mates[mate.ID.Name] = mate
		facts := s.factsAlone(mate, now)
		d := s.config.Rules.Decide(&facts, now)
		if d.Action == policy.Wake || d.Action == policy.Notify || mate.Replicas > 0 && d.Action == policy.Keep {
			g.wanted = append(g.wanted, wanted{mate, d})
		}
		if mate.Replicas > 0 {
			for _, name := range mate.Settings.After {
				g.after[name] = append(g.after[name], mate)
			}
		}
	}
	return g
}

// of says what the others make of a server.
func (g *group) of(server *Server) policy.Group {
	v := policy.Group{Bad: g.disorder(server)}
	known := true
	for i := range g.wanted {
		mate := &g.wanted[i]
		if mate.ID == server.ID || mate.idle() && (server.Replicas == 0 || mate.untold() && server.Settings.SleepNotice > 0) {
			continue // it wakes none; and two that have to be told would wait for each other
		}
		if v.Wanted == "" || tells(mate.Reason) > tells(v.Why) {
			v.Wanted, v.Why = mate.ID.Name, mate.Reason
			if mate.untold() {
				v.Why = policy.Noticing
			}
		}
		known = known && !mate.Sleeps.IsZero()
		if mate.Sleeps.After(v.Free) {
			v.Free = mate.Sleeps
		}
	}
	if !known {
		v.Free = time.Time{}
	}
	for _, mate := range g.after[server.ID.Name] {
		if mate.ID != server.ID && !(mate.Settings.DryRun && server.Settings.DryRun) { // which would stay awake for ever
			v.Before = append(v.Before, mate.ID.Name)
		}
	}
	if server.Replicas == 0 && v.Bad == "" {
		for _, name := range server.Settings.After {
			if g.comes(g.mates[name]) {
				v.Waiting = append(v.Waiting, name)
			}
		}
	}
	return v
}

// tells says how much the reason of a server tells about why its group is wanted: first that somebody wants it, then that it is kept warm. Any
// other may only follow from one of these, as of who was woken with the group.
func tells(reason policy.Reason) int {
	switch reason {
	case policy.Leased, policy.Activity, policy.Started, policy.Held:
		return 2
	case policy.KeepWarm:
		return 1
	}
	return 0
}

// idle reports whether the server is only awake because it has to be told that it sleeps.
func (w *wanted) idle() bool { return w.untold() || w.Reason == policy.Noticing }

func (w *wanted) untold() bool { return w.Action == policy.Notify && w.Reason != policy.Awake }

// comes reports whether a server that is not ready will be, as far as is known, when another of its group wants it: only then is it
// waited for.
func (g *group) comes(server *Server) bool {
	if server.Replicas > 0 {
		if late := startingAt(server).Add(g.s.config.Rules.StartDeadline); server.Observed < server.Generation && g.now.Before(late) {
			return true // what is said of it is of before it was woken
		}
		status, _ := g.s.status(server, g.now)
		return server.Ready == 0 && status != policy.StatusFailed
	}
	f := g.s.factsAlone(server, g.now)
	f.Group.Wanted = "another"
	return g.s.config.Rules.Decide(&f, g.now).Action == policy.Wake
}

// disorder says why the order in which a group wakes can't be kept for a server; empty when it can.
func (g *group) disorder(server *Server) string {
	for _, name := range server.Settings.After {
		if g.mates[name] == nil {
			return fmt.Sprintf("after names %s, which is not in the group %s of namespace %s: write the annotation idle-scaler/group: %[2]s on it, or take it out of after",
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
	seen := make(map[string]bool)
	var back func(to string, after []string) []string // the way from there
	back = func(to string, after []string) []string {
		if slices.Contains(after, server.ID.Name) {
			return []string{to, server.ID.Name}
		}
		for _, name := range after {
			if mate := g.mates[name]; mate != nil && !seen[name] {
				seen[name] = true
				if way := back(name, mate.Settings.After); way != nil {
					return append([]string{to}, way...)
				}
			}
		}
		return nil
	}
	if len(server.Settings.After) == 0 {
		return nil
	}
	return back(server.ID.Name, server.Settings.After)
}

// waitingFor returns those of its group that have to be ready before the server is started, and will be.
func (t *term) waitingFor(server *Server) []string {
	if len(server.Settings.After) == 0 || server.Replicas > 0 {
		return nil
	}
	l := t.s.look()
	return l.facts(server).Group.Waiting
}
