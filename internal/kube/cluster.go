package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/scaler"
)

// requestTimeout is after how long without an answer nobody knows what became of a request. Admission webhooks may take 30 s.
const requestTimeout = 35 * time.Second

// Cluster reads and writes single Deployments. It implements scaler.Cluster.
type Cluster struct{ cache *Cache }

// NewCluster returns a Cluster that reads and writes what the cache watches, and puts what it is answered there.
func NewCluster(cache *Cache) *Cluster { return &Cluster{cache} }

// Fresh reads one server from the API server.
func (c *Cluster) Fresh(ctx context.Context, id scaler.ID) (*scaler.Server, error) {
	if c.cache.region(id.Namespace) == nil {
		return nil, fmt.Errorf("%w: idle-scaler does not watch the namespace %s: add it to its --namespaces", scaler.ErrUnmanaged, id.Namespace)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d, err := c.cache.client.AppsV1().Deployments(id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return nil, request{"get", deployments, id.Namespace, id.Name}.failure(err)
	case d.DeletionTimestamp != nil:
		return nil, fmt.Errorf("%w: the Deployment %s is being deleted", scaler.ErrUnknown, id)
	case !c.cache.selector.Matches(labels.Set(d.Labels)):
		return nil, fmt.Errorf("%w: the Deployment %s does not carry the label %s: kubectl -n %s label deployment %s %[3]s",
			scaler.ErrUnmanaged, id, c.cache.selector, id.Namespace, id.Name)
	}
	return c.cache.put(d), nil
}

// patch is what is written on a Deployment: never its template, and not by its scale, which could not carry the marks.
type patch struct {
	Metadata struct {
		ResourceVersion string             `json:"resourceVersion"` // not at this version any more: conflict
		Annotations     map[string]*string `json:"annotations,omitempty"`
	} `json:"metadata"`
	Spec *patchSpec `json:"spec,omitempty"`
}

type patchSpec struct {
	Replicas int `json:"replicas"`
}

func newPatch(server *scaler.Server, replicas int, mark scaler.Mark) patch {
	var p patch
	p.Metadata.ResourceVersion = server.Version
	p.Metadata.Annotations = make(map[string]*string)
	marks := encodeMark(mark)
	for _, key := range markKeys {
		if value, set := marks[key]; set {
			p.Metadata.Annotations[prefix+key] = &value
		} else { // also one that was not believed: what is written is ours then, and would be
			p.Metadata.Annotations[prefix+key] = nil
		}
	}
	if replicas != server.Replicas {
		p.Spec = &patchSpec{replicas}
	}
	return p
}

// Write sets the replicas and the mark in one patch, and returns the server as written.
func (c *Cluster) Write(ctx context.Context, server *scaler.Server, replicas int, mark scaler.Mark) (*scaler.Server, error) {
	body, err := json.Marshal(newPatch(server, replicas, mark))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	id := server.ID
	d, err := c.cache.client.AppsV1().Deployments(id.Namespace).Patch(ctx, id.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, request{"patch", deployments, id.Namespace, id.Name}.failure(err)
	}
	return c.cache.put(d), nil
}
