package kube

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// Scope says which Deployments are servers.
type Scope struct {
	Namespaces []string // none: all
	Selector   string   // of labels
}

// Cache is the daemon's memory of the cluster. It implements scaler.Cache.
type Cache struct {
	// OnChange, if set before Run, is called after a server changed, appeared or went. It must return at once.
	OnChange func(scaler.ID)

	client   kubernetes.Interface
	selector labels.Selector
	config   policy.Layer
	logger   *slog.Logger
	now      func() time.Time
	regions  map[string]*region // by namespace; one of the name "" when all are watched
	unread   *namespace         // stands for each while none has been read
	unknown  *namespace         // stands for one that the watch has not told of
	whole    atomic.Bool        // nothing is missing: see Missing

	mu       sync.RWMutex
	servers  map[scaler.ID]*deployment
	groups   map[group]*members
	all      []*scaler.Server // what All yields, never changed; nil when it has to be made anew
	watchers map[scaler.ID][]chan struct{}
}

// NewCache returns a Cache that is empty until Run is called. Config is what the configuration says of all servers; what is written on
// a namespace beats it, and what is written on the server beats both.
func NewCache(client kubernetes.Interface, scope Scope, config policy.Layer, now func() time.Time, logger *slog.Logger) (*Cache, error) {
	selector, err := parseSelector(scope.Selector)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		OnChange: func(scaler.ID) {},
		client:   client, selector: selector, config: config, logger: logger, now: now,
		regions:  make(map[string]*region),
		unread:   new(namespace),
		unknown:  &namespace{bad: errUnknown},
		groups:   make(map[group]*members),
		servers:  make(map[scaler.ID]*deployment),
		watchers: make(map[scaler.ID][]chan struct{}),
	}
	for _, namespace := range scope.namespaces() {
		c.regions[namespace] = newRegion(c, namespace)
	}
	return c, nil
}

// namespaces returns the namespaces to watch, without repetitions: "" for all.
func (s Scope) namespaces() []string {
	if len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, "") {
		return []string{""}
	}
	return slices.Compact(slices.Sorted(slices.Values(s.Namespaces)))
}

// Run keeps the Cache like the cluster until ctx is done.
func (c *Cache) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, r := range c.regions {
		running.Go(func() { r.run(ctx) })
	}
	running.Wait()
	return nil
}

// Synced reports whether all servers have been read once.
func (c *Cache) Synced() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, r := range c.regions {
		if !r.synced {
			return false
		}
	}
	return true
}

// Missing says what has not been read of what is said about servers elsewhere, empty when all has. Without that servers can be woken. None
// must sleep: the namespace that could not be read may forbid it. It costs next to nothing once all has been read.
func (c *Cache) Missing() string {
	if c.whole.Load() {
		return ""
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	autoscalers := true
	for _, r := range c.regions {
		if !r.namespaces.synced {
			return "the namespaces have not been read"
		}
		autoscalers = autoscalers && r.autoscalers.synced
	}
	if !autoscalers {
		return "the autoscalers have not been read"
	}
	c.whole.Store(true) // what was read once stays read
	return ""
}

// Get returns the server as it was last seen.
func (c *Cache) Get(id scaler.ID) (*scaler.Server, bool) {
	d, ok := c.deployment(id)
	if !ok {
		return nil, false
	}
	return d.server, true
}

func (c *Cache) deployment(id scaler.ID) (*deployment, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d, ok := c.servers[id]
	return d, ok
}

// All yields every server, in no order. Nothing is locked meanwhile: what changes while it yields may not be seen.
func (c *Cache) All(yield func(*scaler.Server) bool) {
	for _, server := range c.snapshot() {
		if !yield(server) {
			return
		}
	}
}

// snapshot returns all servers in a slice that is shared by all callers, until one of the servers changes.
func (c *Cache) snapshot() []*scaler.Server {
	c.mu.RLock()
	all := c.all
	c.mu.RUnlock()
	if all != nil {
		return all
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make([]*scaler.Server, 0, len(c.servers))
		for _, d := range c.servers {
			c.all = append(c.all, d.server)
		}
	}
	return c.all
}

// Seen returns the server, nil when it is not there, and whether that is at least as new as a version. Versions
// that can't be compared count as reached: the API server gives no others.
func (c *Cache) Seen(id scaler.ID, version string) (server *scaler.Server, reached bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if d, ok := c.servers[id]; ok {
		return d.server, !older(d.server.Version, version)
	}
	r := c.region(id.Namespace)
	return nil, r != nil && r.synced && !older(r.seen, version)
}

// Watch returns a channel that has something to receive after the server changed, appeared or went, until stop is called.
// Several changes may be one.
func (c *Cache) Watch(id scaler.ID) (changed <-chan struct{}, stop func()) {
	watcher := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[id] = append(c.watchers[id], watcher)
	return watcher, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.watchers[id] = slices.DeleteFunc(c.watchers[id], func(w chan struct{}) bool { return w == watcher })
		if len(c.watchers[id]) == 0 {
			delete(c.watchers, id)
		}
	}
}

// region returns the one that the namespace lies in, nil when it is not watched.
func (c *Cache) region(namespace string) *region {
	if r, ok := c.regions[""]; ok {
		return r
	}
	return c.regions[namespace]
}
