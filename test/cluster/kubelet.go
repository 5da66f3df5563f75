package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// requestsInFlight bounds the kubelet's own load: a thousand pods at once should not starve the server's other clients.
const requestsInFlight = 64

// kubelet is scheduler and kubelet in one, and fakes both: it binds every pod to its node, lets it seem to start, and
// removes it when it is deleted. What a pod does is in its image and annotations, see pod.go.
//
// One goroutine lives for each pod that is starting, failing or stopping; none for a pod that just runs.
type kubelet struct {
	client   kubernetes.Interface
	timing   podTiming
	requests chan struct{} // a semaphore of requestsInFlight
	lastIP   atomic.Uint32

	mu   sync.Mutex
	pods map[types.UID]*podState
}

type podState struct {
	cancel   context.CancelFunc // ends the pod's goroutine
	stopping bool
}

// newKubelet returns a kubelet that sees the pods of the informer, which the caller starts afterwards.
func newKubelet(ctx context.Context, admin *rest.Config, pods cache.SharedIndexInformer, timing podTiming) (*kubelet, error) {
	client, err := kubernetes.NewForConfig(as("kubelet", admin))
	if err != nil {
		return nil, err
	}
	k := &kubelet{
		client:   client,
		timing:   timing,
		requests: make(chan struct{}, requestsInFlight),
		pods:     map[types.UID]*podState{},
	}
	k.lastIP.Store(rand.Uint32()) // A later run does not hand out the addresses of pods that still run.
	_, err = pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { k.see(ctx, obj.(*v1.Pod)) },
		UpdateFunc: func(before, now any) {
			if gone := before.(*v1.Pod); gone.UID != now.(*v1.Pod).UID {
				k.forget(gone.UID)
			}
			k.see(ctx, now.(*v1.Pod))
		},
		DeleteFunc: func(obj any) {
			if lost, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = lost.Obj
			}
			k.forget(obj.(*v1.Pod).UID)
		},
	})
	return k, err
}

// waitReady makes the node and returns when pods can be created in the default namespace.
func (k *kubelet) waitReady(ctx context.Context) error {
	if err := createNode(ctx, k.client.CoreV1().Nodes()); err != nil {
		return fmt.Errorf("create node: %w", err)
	}
	err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := k.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the default ServiceAccount: %w", err)
	}
	return nil
}

// see starts what a pod needs now and does not have yet.
func (k *kubelet) see(ctx context.Context, pod *v1.Pod) {
	if pod.Spec.NodeName != "" && pod.Spec.NodeName != nodeName {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	state, known := k.pods[pod.UID]
	if pod.DeletionTimestamp != nil {
		if known && state.stopping {
			return
		}
		if known {
			state.cancel()
		}
		ctx, cancel := context.WithCancel(ctx)
		k.pods[pod.UID] = &podState{cancel: cancel, stopping: true}
		go k.stopPod(ctx, pod)
		return
	}
	if !known {
		ctx, cancel := context.WithCancel(ctx)
		k.pods[pod.UID] = &podState{cancel: cancel}
		if !isReady(pod) { // It is when it comes from a former run of the cluster.
			go k.startPod(ctx, pod)
		}
	}
}

func (k *kubelet) forget(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if state, ok := k.pods[uid]; ok {
		state.cancel()
		delete(k.pods, uid)
	}
}

// startPod takes a pod from its creation to where it stays, which for a crashing one is an endless loop.
func (k *kubelet) startPod(ctx context.Context, pod *v1.Pod) {
	if fails(pod, failSchedule) {
		k.setStatus(ctx, pod, unschedulable(metav1.Now()))
		return
	}
	if pod.Spec.NodeName == "" && k.bind(ctx, pod) != nil {
		return
	}
	ip := k.nextIP()
	delay := k.timing.startDelay(pod)
	if delay > 0 {
		k.setStatus(ctx, pod, podStatus(pod, creating, "", metav1.Now()))
		if !sleep(ctx, delay) {
			return
		}
	}
	started := metav1.Now()
	backoff := firstBackoff
	for attempt := 0; ; attempt++ {
		k.setStatus(ctx, pod, podStatus(pod, attempt, ip, started))
		if settled(pod, attempt) || !sleep(ctx, backoff) {
			return
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// stopPod ends a deleted pod after the time that its containers take to stop.
func (k *kubelet) stopPod(ctx context.Context, pod *v1.Pod) {
	if !sleep(ctx, k.timing.stopDelay(pod)) {
		return
	}
	k.request(ctx, "delete", pod, func() error {
		return k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: new(int64),
			Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
		})
	})
}

func (k *kubelet) bind(ctx context.Context, pod *v1.Pod) error {
	return k.request(ctx, "bind", pod, func() error {
		return k.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &v1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Target:     v1.ObjectReference{Kind: "Node", Name: nodeName},
		}, metav1.CreateOptions{})
	})
}

func (k *kubelet) setStatus(ctx context.Context, pod *v1.Pod, status v1.PodStatus) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID}, // Never the status of a namesake that came after it.
		"status":   status,
	})
	if err != nil {
		panic(err) // A PodStatus always marshals.
	}
	k.request(ctx, "set status of", pod, func() error {
		_, err := k.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
}

// request does one API request about a pod, and again while the server is the reason that it failed.
func (k *kubelet) request(ctx context.Context, verb string, pod *v1.Pod, do func() error) error {
	for {
		k.requests <- struct{}{}
		err := do()
		<-k.requests
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err), apierrors.IsConflict(err), ctx.Err() != nil:
			return err // The pod is gone, or being deleted.
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
			klog.ErrorS(err, "Pod cannot go on", "verb", verb, "pod", klog.KObj(pod))
			return err
		}
		klog.ErrorS(err, "Request failed, trying again", "verb", verb, "pod", klog.KObj(pod))
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// nextIP returns an address in 10.128.0.0/9. It is never a loopback one: the server does not accept those.
func (k *kubelet) nextIP() string {
	n := k.lastIP.Add(1)
	return fmt.Sprintf("10.%d.%d.%d", 128+(n>>16)%128, n>>8&0xff, n&0xff)
}

// sleep waits, and says whether ctx was still alive at the end.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}
