package scaler

import (
	"context"
	"slices"
	"strconv"
	"sync"
)

// fakeCluster is Cache, Cluster and Endpoints at once: a map of Deployments with versions. Its
// replicas get ready at once unless slow is set.
type fakeCluster struct {
	mu       sync.Mutex
	servers  map[ID]*Server
	watchers map[chan struct{}]bool
	version  int
	slow     bool
	reads    int
	lost     int    // how many of the next reads get no answer
	missing  string // what has not been read
	writes   []*Server
	onWrite  func(*Server) error // says how the next writes go; ErrUnsure is returned after the write is done
	onChange func(ID)            // as kube.Cache.OnChange: after each change, the daemon's own too
}

func newCluster(servers ...*Server) *fakeCluster {
	c := &fakeCluster{servers: map[ID]*Server{}, watchers: map[chan struct{}]bool{}, onChange: func(ID) {}}
	for _, s := range servers {
		c.put(*s)
	}
	return c
}

// put is anybody's write.
func (c *fakeCluster) put(s Server) *Server {
	c.mu.Lock()
	now := c.store(s)
	c.mu.Unlock()
	c.onChange(s.ID)
	return now
}

// remove deletes a Deployment.
func (c *fakeCluster) remove(id ID) {
	c.mu.Lock()
	delete(c.servers, id)
	c.version++
	c.touch()
	c.mu.Unlock()
	c.onChange(id)
}

func (c *fakeCluster) store(s Server) *Server {
	c.version++
	s.UID, s.Version = "uid-"+s.ID.Name, strconv.Itoa(c.version)
	if old := c.servers[s.ID]; old == nil || old.Replicas != s.Replicas {
		s.Generation++
	}
	if !c.slow {
		s.Observed, s.Ready, s.Updated, s.Total = s.Generation, s.Replicas, s.Replicas, s.Replicas
	}
	c.servers[s.ID] = &s
	c.touch()
	return &s
}

func (c *fakeCluster) touch() {
	for w := range c.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func (c *fakeCluster) Synced() bool    { return true }
func (c *fakeCluster) Missing() string { return c.missing }

func (c *fakeCluster) Get(id ID) (*Server, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.servers[id]
	return s, ok
}

func (c *fakeCluster) All(yield func(*Server) bool) {
	c.mu.Lock()
	var all []*Server
	for _, s := range c.servers {
		all = append(all, s)
	}
	c.mu.Unlock()
	for _, s := range all {
		if !yield(s) {
			return
		}
	}
}

func (c *fakeCluster) Group(namespace, name string) (group []*Server) {
	for s := range c.All {
		if s.ID.Namespace == namespace && s.Settings.Group == name {
			group = append(group, s)
		}
	}
	slices.SortFunc(group, func(a, b *Server) int { return CompareIDs(a.ID, b.ID) })
	return group
}

func (c *fakeCluster) Seen(id ID, version string) (*Server, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.servers[id]; ok {
		return s, number(s.Version) >= number(version)
	}
	return nil, c.version >= number(version)
}

func number(version string) int {
	n, _ := strconv.Atoi(version)
	return n
}

func (c *fakeCluster) Watch(ID) (<-chan struct{}, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := make(chan struct{}, 1)
	c.watchers[w] = true
	return w, func() { c.mu.Lock(); defer c.mu.Unlock(); delete(c.watchers, w) }
}

func (c *fakeCluster) Fresh(_ context.Context, id ID) (*Server, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if c.lost > 0 {
		c.lost--
		return nil, ErrUnsure
	}
	if s, ok := c.servers[id]; ok {
		return s, nil
	}
	return nil, ErrUnknown
}

func (c *fakeCluster) Write(_ context.Context, server *Server, replicas int, mark Mark) (*Server, error) {
	if c.onWrite != nil {
		if err := c.onWrite(server); err == ErrUnsure { //nolint:errorlint // the fake's own
			defer c.put(written(server, replicas, mark))
			return nil, err
		} else if err != nil {
			return nil, err
		}
	}
	s, err := c.compareAndSet(server, replicas, mark)
	if err == nil {
		c.onChange(s.ID)
	}
	return s, err
}

func (c *fakeCluster) compareAndSet(server *Server, replicas int, mark Mark) (*Server, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.servers[server.ID]; now == nil {
		return nil, ErrUnknown
	} else if now.Version != server.Version {
		return nil, ErrConflict
	}
	s := c.store(written(server, replicas, mark))
	c.writes = append(c.writes, s)
	return s, nil
}

func written(server *Server, replicas int, mark Mark) Server {
	s := *server
	if s.Replicas != replicas {
		s.Writer, s.Ours = "idle-scaler", true
	}
	s.Replicas, s.Mark = replicas, mark
	return s
}

func (c *fakeCluster) Endpoints(*Server) []Endpoint { return nil }
