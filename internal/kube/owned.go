package kube

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/scaler"
)

// owned tells the pods of one Deployment from others that have the same labels: a pod belongs to a ReplicaSet, and that to the
// Deployment. One goroutine uses it.
type owned struct {
	cache     *Cache
	server    *scaler.Server
	selector  string
	revisions map[types.UID]int64 // of the ReplicaSets, and of what else turned up as the owner of a pod
	counted   string              // the revision that the Deployment was at when these were read
}

// foreign is the revision of what does not belong to the Deployment. Those that do count from 1.
const foreign = -1

// revisionKey is the annotation in which the Deployment controller counts the versions of the pod template: on each ReplicaSet, and then, that of the
// newest, on the Deployment.
const revisionKey = "deployment.kubernetes.io/revision"

// owned returns what tells the pods of the server from others. It knows no ReplicaSet yet.
func (p *Pods) owned(server *scaler.Server) (*owned, error) {
	d, ok := p.cache.deployment(server.ID)
	if !ok || d.server.UID != server.UID {
		return nil, fmt.Errorf("%w: the Deployment %s was deleted", scaler.ErrUnknown, server.ID)
	}
	return &owned{cache: p.cache, server: server, selector: d.selector, revisions: make(map[types.UID]int64), counted: d.revision}, nil
}

// list reads which ReplicaSets there are, and whose.
func (o *owned) list(ctx context.Context) error {
	namespace := o.server.ID.Namespace
	sets, err := o.cache.client.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{LabelSelector: o.selector})
	if err != nil {
		return request{"list", "replicasets.apps", namespace, ""}.failure(err)
	}
	for i := range sets.Items {
		set := &sets.Items[i]
		revision, _ := strconv.ParseInt(set.Annotations[revisionKey], 10, 64) // 0 when it is not written
		if owner := metav1.GetControllerOf(set); owner == nil || string(owner.UID) != o.server.UID {
			revision = foreign
		}
		o.revisions[set.UID] = revision
	}
	return nil
}

// revision returns the revision that the pod was made of, foreign if it belongs to something else.
func (o *owned) revision(pod *corev1.Pod) int64 {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return foreign
	}
	revision, known := o.revisions[owner.UID]
	if !known {
		return foreign
	}
	return revision
}

// newest returns those of the pods that belong to the Deployment and are of its newest revision: what ails the others is no news
// of the version that is being brought in.
func (o *owned) newest(ctx context.Context, found []any) ([]*corev1.Pod, error) {
	if err := o.learn(ctx, found); err != nil {
		return nil, err
	}
	newest := int64(foreign)
	for _, revision := range o.revisions {
		newest = max(newest, revision)
	}
	var pods []*corev1.Pod
	for _, obj := range found {
		pod := obj.(*corev1.Pod)
		if revision := o.revision(pod); revision != foreign && revision == newest && pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// learn reads the ReplicaSets when there is a pod of one that is not known, or they have been counted anew: "kubectl rollout undo" gives an old
// one the newest number. An owner that is not among them is foreign.
func (o *owned) learn(ctx context.Context, found []any) error {
	counted := o.counted
	if d, ok := o.cache.deployment(o.server.ID); ok {
		counted = d.revision
	}
	var unknown []types.UID
	for _, obj := range found {
		if owner := metav1.GetControllerOf(obj.(*corev1.Pod)); owner != nil {
			if _, known := o.revisions[owner.UID]; !known {
				unknown = append(unknown, owner.UID)
			}
		}
	}
	if len(unknown) == 0 && counted == o.counted {
		return nil
	}
	if err := o.list(ctx); err != nil {
		return err
	}
	o.counted = counted
	for _, uid := range unknown {
		if _, known := o.revisions[uid]; !known {
			o.revisions[uid] = foreign
		}
	}
	return nil
}
