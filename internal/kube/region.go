package kube

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"idle-scaler/scaler"
)

// region is the part of the Cache that is of one namespace, or of all: its Deployments, which come into it as the store of a Reflector,
// and what else says something about them. Between the Reflector and the region there is no informer: it would hide up to which
// version everything has been seen, without which a late answer could bring a deleted Deployment back.
type region struct {
	cache       *Cache
	namespace   string // empty: all
	namespaces  *mirror[*namespace]
	autoscalers *mirror[scaler.ID] // those of KEDA: what they scale

	// Guarded by the cache's mu.
	synced bool
	seen   string               // the version up to which everything has been seen
	rivals map[scaler.ID]string // who else scales a server
}

var (
	_ cache.TransformingStore      = (*region)(nil)
	_ cache.ReflectorBookmarkStore = (*region)(nil)
)

func newRegion(c *Cache, name string) *region {
	r := &region{cache: c, namespace: name}
	r.namespaces = &mirror[*namespace]{cache: c, trim: trimNamespace, keep: keepNamespace, same: sameNamespace, after: func() {}}
	r.autoscalers = &mirror[scaler.ID]{cache: c, trim: trimAutoscaler, keep: keepAutoscaler, same: sameTarget, after: r.findRivals}
	return r
}

func (r *region) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { r.cache.follow(ctx, r.watchedDeployments(), r) })
	running.Go(func() { r.cache.follow(ctx, r.watchedNamespaces(), r.namespaces) })
	running.Go(func() { r.cache.follow(ctx, r.watchedAutoscalers(), r.autoscalers) })
	running.Wait()
}

func (r *region) watchedDeployments() source {
	client := r.cache.client.AppsV1().Deployments(r.namespace)
	return source{
		kind: "deployments", example: &appsv1.Deployment{}, reads: request{resource: deployments, namespace: r.namespace},
		only: func(options *metav1.ListOptions) { options.LabelSelector = r.cache.selector.String() },
		list: plain(client.List), watch: client.Watch,
	}
}

// Add, Update, Delete, Replace, Bookmark and Resync are called by the Reflector, in the order of versions.

func (r *region) Add(obj any) error { return r.Update(obj) }

func (r *region) Update(obj any) error {
	d, ok := obj.(*appsv1.Deployment)
	if !ok {
		return fmt.Errorf("not a Deployment: %T", obj)
	}
	if d.DeletionTimestamp != nil {
		return r.Delete(d) // only finalizers keep it
	}
	r.cache.put(d)
	return r.Bookmark(d.ResourceVersion)
}

func (r *region) Delete(obj any) error {
	d, ok := obj.(*appsv1.Deployment)
	if !ok {
		return fmt.Errorf("not a Deployment: %T", obj)
	}
	id := scaler.ID{Namespace: d.Namespace, Name: d.Name}
	c := r.cache
	c.mu.Lock()
	r.seen = d.ResourceVersion
	changed := c.drop(id, d.ResourceVersion)
	c.mu.Unlock()
	if changed {
		c.OnChange(id)
	}
	return nil
}

// Replace takes in a list of all Deployments as of a version. When etcd was restored from a backup that version is older than what was seen, and the
// list is all that counts: what is known beyond it never was, and its versions will be given to something else.
func (r *region) Replace(list []any, version string) error {
	c := r.cache
	c.mu.RLock()
	restored := older(version, r.seen)
	c.mu.RUnlock()
	listed := make(map[scaler.ID]bool, len(list))
	var news []*deployment
	for _, obj := range list {
		d, ok := obj.(*appsv1.Deployment)
		if !ok {
			return fmt.Errorf("not a Deployment: %T", obj)
		}
		if d.DeletionTimestamp != nil {
			continue
		}
		listed[scaler.ID{Namespace: d.Namespace, Name: d.Name}] = true
		former, same := c.former(d)
		if restored {
			former, same = nil, false
		}
		if !same {
			news = append(news, decode(d, former))
		}
	}
	var changed []scaler.ID
	c.mu.Lock()
	r.seen = "" // what is listed may be older than what was seen last, and is to be taken in all the same
	for id := range c.servers {
		if restored && c.region(id.Namespace) == r {
			c.set(id, nil)
			if !listed[id] {
				changed = append(changed, id)
			}
		}
	}
	for _, d := range news {
		if c.keep(d) {
			changed = append(changed, d.server.ID)
		}
	}
	for id := range c.servers {
		if !listed[id] && c.region(id.Namespace) == r && c.drop(id, version) {
			changed = append(changed, id)
		}
	}
	r.seen, r.synced = version, true
	c.mu.Unlock()
	for _, id := range changed {
		c.OnChange(id)
	}
	return nil
}

// Bookmark says that everything up to a version has been seen.
func (r *region) Bookmark(version string) error {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	r.seen = version
	return nil
}

func (r *region) Resync() error { return nil }

// Transformer makes the Reflector trim what it lists before it has it all.
func (r *region) Transformer() cache.TransformFunc { return trim }
