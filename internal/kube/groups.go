package kube

import (
	"cmp"
	"slices"

	"idle-scaler/scaler"
)

// group names servers of one namespace that sleep and wake together.
type group struct{ namespace, name string }

// members are the servers of a group.
type members struct {
	names  map[string]bool
	sorted []*scaler.Server // what Group returns, never changed; nil when it has to be made anew
}

// Group returns the servers of a group, in order of name. Nothing is in a group without a name.
func (c *Cache) Group(namespace, name string) []*scaler.Server {
	g := group{namespace, name}
	c.mu.RLock()
	m := c.groups[g]
	var servers []*scaler.Server
	if m != nil {
		servers = m.sorted
	}
	c.mu.RUnlock()
	if m == nil || servers != nil {
		return servers
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m = c.groups[g]; m == nil {
		return nil
	}
	if m.sorted == nil {
		for name := range m.names {
			m.sorted = append(m.sorted, c.servers[scaler.ID{Namespace: namespace, Name: name}].server)
		}
		slices.SortFunc(m.sorted, func(a, b *scaler.Server) int { return cmp.Compare(a.ID.Name, b.ID.Name) })
	}
	return m.sorted
}

// regroup notes what became of a server: former is nil when it is new, present when it went.
func (c *Cache) regroup(former, present *deployment) {
	if g := former.group(); g.name != "" {
		m := c.groups[g]
		m.sorted = nil
		if delete(m.names, former.server.ID.Name); len(m.names) == 0 {
			delete(c.groups, g)
		}
	}
	if g := present.group(); g.name != "" {
		m := c.groups[g]
		if m == nil {
			m = &members{names: make(map[string]bool)}
			c.groups[g] = m
		}
		m.sorted = nil
		m.names[present.server.ID.Name] = true
	}
}

func (d *deployment) group() group {
	if d == nil {
		return group{}
	}
	return group{d.server.ID.Namespace, d.server.Settings.Group}
}
