package kube

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"idle-scaler/scaler"
)

const (
	maxDiagnoses = 128             // servers whose pods are watched at once; the others wait for their turn
	maxKills     = 16              // pods of one server that are deleted at once
	lookAgain    = 5 * time.Second // after the ReplicaSets could not be read
)

// Pods looks at pods, and ends them. It implements scaler.Pods.
type Pods struct {
	client    kubernetes.Interface
	cache     *Cache
	diagnoses chan struct{} // one entry for each Diagnose that watches
}

// NewPods returns the Pods of the servers in the cache.
func NewPods(c *Cache) *Pods {
	return &Pods{client: c.client, cache: c, diagnoses: make(chan struct{}, maxDiagnoses)}
}

// Diagnose sends why the server is not ready, each time that changes, until ctx is done.
func (p *Pods) Diagnose(ctx context.Context, server *scaler.Server) <-chan scaler.Diagnosis {
	diagnoses := make(chan scaler.Diagnosis)
	go func() {
		defer close(diagnoses)
		select {
		case p.diagnoses <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-p.diagnoses }()
		p.watch(ctx, server, diagnoses)
	}()
	return diagnoses
}

// watch watches the pods that the server's selector finds, and looks at its own.
func (p *Pods) watch(ctx context.Context, server *scaler.Server, diagnoses chan<- scaler.Diagnosis) {
	owned, err := p.owned(server)
	if err != nil {
		return // it is gone, which the cache tells
	}
	changed := make(chan struct{}, 1)
	failed := make(chan error, 1)
	informer := coreinformers.NewFilteredPodInformer(p.client, server.ID.Namespace, 0, cache.Indexers{},
		func(options *metav1.ListOptions) { options.LabelSelector = owned.selector })
	err = errors.Join(
		informer.SetTransform(trimPod),
		informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			if !relists(err) {
				offer(failed, request{"list", "pods", server.ID.Namespace, ""}.failure(err))
			}
		}))
	_, handled := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { offer(changed, struct{}{}) },
		UpdateFunc: func(any, any) { offer(changed, struct{}{}) },
		DeleteFunc: func(any) { offer(changed, struct{}{}) },
	})
	if err = errors.Join(err, handled); err != nil {
		send(ctx, diagnoses, blocked(err))
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { informer.RunWithContext(quiet(ctx)) })

	var told scaler.Diagnosis
	var again <-chan time.Time
	for {
		var d scaler.Diagnosis
		select {
		case <-ctx.Done():
			return
		case err := <-failed:
			d = blocked(err)
		case <-again:
			offer(changed, struct{}{})
			continue
		case <-changed:
			pods, err := owned.newest(ctx, informer.GetStore().List())
			if err != nil {
				d, again = blocked(err), time.After(lookAgain)
			} else {
				d = diagnose(pods)
			}
		}
		if d != told && d != fine {
			send(ctx, diagnoses, d)
		}
		told = d
	}
}

func send(ctx context.Context, diagnoses chan<- scaler.Diagnosis, d scaler.Diagnosis) {
	select {
	case diagnoses <- d:
	case <-ctx.Done():
	}
}

// offer sends unless something waits there already.
func offer[T any](to chan<- T, value T) {
	select {
	case to <- value:
	default:
	}
}

// Kill ends all pods of the server at once, and no others.
func (p *Pods) Kill(ctx context.Context, server *scaler.Server) error {
	owned, err := p.owned(server)
	if err != nil {
		return err
	}
	if err := owned.list(ctx); err != nil {
		return err
	}
	namespace := server.ID.Namespace
	list, err := p.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: owned.selector})
	if err != nil {
		return request{"list", "pods", namespace, ""}.failure(err)
	}
	errs := make([]error, len(list.Items))
	var killing errgroup.Group
	killing.SetLimit(maxKills)
	for i := range list.Items {
		pod := &list.Items[i]
		if owned.revision(pod) == foreign {
			continue
		}
		killing.Go(func() error {
			err := p.client.CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
				GracePeriodSeconds: new(int64),
				Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
			})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // gone, or another of its name
				errs[i] = request{"delete", "pods", namespace, pod.Name}.failure(err)
			}
			return nil
		})
	}
	_ = killing.Wait() // errs has them all, not only the first
	return errors.Join(errs...)
}

// trimPod keeps what diagnose looks at.
func trimPod(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			OwnerReferences: pod.OwnerReferences, DeletionTimestamp: pod.DeletionTimestamp,
		},
		Status: pod.Status,
	}, nil
}
