package kube

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"idle-scaler/scaler"
)

// region is the part of the Cache that one list and watch fills: the Deployments of one namespace, or of all. client-go's Reflector
// lists, watches and recovers, and writes into it as its store. There is no informer between: it would keep a second copy, and hide
// up to which version everything has been seen, without which a late answer could bring a deleted Deployment back.
type region struct {
	cache     *Cache
	namespace string // empty: all

	// Guarded by the cache's mu.
	synced bool
	seen   string // the version up to which everything has been seen
}

var (
	_ cache.TransformingStore      = (*region)(nil)
	_ cache.ReflectorBookmarkStore = (*region)(nil)
)

func (r *region) run(ctx context.Context) {
	deployments := r.cache.client.AppsV1().Deployments(r.namespace)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = r.cache.selector.String()
			list, err := deployments.List(ctx, options)
			r.report(ctx, "list", err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = r.cache.selector.String()
			w, err := deployments.Watch(ctx, options)
			r.report(ctx, "watch", err)
			return w, err
		},
	}
	reflector := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, r.cache.client), &appsv1.Deployment{}, r,
		cache.ReflectorOptions{Name: "deployments"})
	reflector.RunWithContext(quiet(ctx))
}

// report logs that the Deployments can't be read, which the Reflector goes on trying.
func (r *region) report(ctx context.Context, verb string, err error) {
	if err == nil || ctx.Err() != nil || relists(err) {
		return
	}
	r.cache.logger.Warn("cannot read the deployments, trying again", "err", request{verb, "deployments.apps", r.namespace, ""}.failure(err))
}

// quiet returns a context in which client-go logs nothing: what matters is logged here, in words that say what to do.
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, klog.Logger{}) }

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

// Replace takes in a list of all Deployments as of a version.
func (r *region) Replace(list []any, version string) error {
	c := r.cache
	listed := make(map[scaler.ID]*deployment, len(list))
	for _, obj := range list {
		d, ok := obj.(*appsv1.Deployment)
		if !ok {
			return fmt.Errorf("not a Deployment: %T", obj)
		}
		if d.DeletionTimestamp == nil {
			listed[scaler.ID{Namespace: d.Namespace, Name: d.Name}] = c.decode(d)
		}
	}
	var changed []scaler.ID
	c.mu.Lock()
	r.seen = "" // what is listed may be older than what was seen last, and is to be taken in all the same
	for id, d := range listed {
		if c.keep(d) {
			changed = append(changed, id)
		}
	}
	for id := range c.servers {
		if listed[id] == nil && c.region(id.Namespace) == r && c.drop(id, version) {
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
