package kube

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// source is what one list and watch reads.
type source struct {
	kind    string         // in words, as in "cannot read the deployments"
	example runtime.Object // of the type that is read
	reads   request        // but for the verb
	only    func(*metav1.ListOptions)
	list    func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch   func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// plain makes of a typed list one that source takes.
func plain[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) func(context.Context, metav1.ListOptions) (runtime.Object, error) {
	return func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	}
}

// follow keeps a store like the source until ctx is done. client-go's Reflector lists, watches and recovers, and writes into the
// store. There is no informer between: it would keep a second copy of everything.
func (c *Cache) follow(ctx context.Context, s source, into cache.ReflectorStore) {
	report := func(verb string, err error) {
		if err == nil || ctx.Err() != nil || relists(err) {
			return
		}
		asked := s.reads
		asked.verb = verb
		c.logger.Warn("cannot read the "+s.kind+", trying again", "err", asked.failure(err))
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			s.only(&options)
			list, err := s.list(ctx, options)
			report("list", err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			s.only(&options)
			w, err := s.watch(ctx, options)
			report("watch", err)
			return w, err
		},
	}
	reflector := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, c.client), s.example, into, cache.ReflectorOptions{Name: s.kind})
	reflector.RunWithContext(quiet(ctx))
}

// quiet returns a context in which client-go logs nothing: what matters is logged here, in words that say what to do.
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, klog.Logger{}) }
