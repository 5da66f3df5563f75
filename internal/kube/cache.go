package kube

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"
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
	defaults policy.Settings
	logger   *slog.Logger
	now      func() time.Time
	regions  map[string]*region // by namespace; one of the name "" when all are watched

	mu       sync.RWMutex
	servers  map[scaler.ID]*deployment
	all      []*scaler.Server // what All yields, never changed; nil when it has to be made anew
	watchers map[scaler.ID][]chan struct{}
}

// NewCache returns a Cache that is empty until Run is called. Defaults are the settings of a server that says nothing.
func NewCache(client kubernetes.Interface, scope Scope, defaults policy.Settings, logger *slog.Logger) (*Cache, error) {
	selector, err := parseSelector(scope.Selector)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		OnChange: func(scaler.ID) {},
		client:   client, selector: selector, defaults: defaults, logger: logger, now: time.Now,
		regions:  make(map[string]*region),
		servers:  make(map[scaler.ID]*deployment),
		watchers: make(map[scaler.ID][]chan struct{}),
	}
	for _, namespace := range scope.namespaces() {
		c.regions[namespace] = &region{cache: c, namespace: namespace}
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

// put takes in what the API server said of a Deployment, by a watch or in an answer, unless something newer is known. It returns
// the server as it was said.
func (c *Cache) put(d *appsv1.Deployment) *scaler.Server {
	seen := c.decode(d)
	c.mu.Lock()
	changed := c.keep(seen)
	c.mu.Unlock()
	if changed {
		c.OnChange(seen.server.ID)
	}
	return seen.server
}

// decode returns what is known of the Deployment when it is already known in this version: nothing is decoded twice.
func (c *Cache) decode(d *appsv1.Deployment) *deployment {
	if known, ok := c.deployment(scaler.ID{Namespace: d.Namespace, Name: d.Name}); ok && known.server.Version == d.ResourceVersion {
		return known
	}
	return decode(d, c.defaults)
}

// keep keeps the newer of what is known and what is seen; it reports whether that is what is seen.
func (c *Cache) keep(seen *deployment) bool {
	id := seen.server.ID
	former, known := c.servers[id]
	if known && !newer(seen.server.Version, former.server.Version) {
		return false // also when it is the same: others see it already, it must not be changed below
	}
	if !known && !newer(seen.server.Version, c.region(id.Namespace).seen) {
		return false // it was deleted since: the watch has told of everything up to that version
	}
	seen.remember(former, c.now())
	c.servers[id] = seen
	c.touch(id)
	return true
}

// drop forgets a server that is gone as of a version, unless it was seen in a newer one.
func (c *Cache) drop(id scaler.ID, version string) bool {
	former, known := c.servers[id]
	if !known || newer(former.server.Version, version) {
		return false
	}
	delete(c.servers, id)
	c.touch(id)
	return true
}

// touch makes a change known to those who watch.
func (c *Cache) touch(id scaler.ID) {
	c.all = nil
	for _, watcher := range c.watchers[id] {
		select {
		case watcher <- struct{}{}:
		default: // it has not looked since the last change
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

// newer reports whether version a comes after b. Versions of one resource are ordered, also between objects. What can't be
// compared counts as newer: the API server gave it later.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order > 0
}
