package chaos

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// history keeps every version of every Deployment, by a watch of its own that goes past the proxies. When the API server was away it
// lists: what changed meanwhile is marked as a gap, and nothing is concluded from what may have been in it.
type history struct {
	client   kubernetes.Interface
	record   *recorder
	sessions atomic.Int64 // how often watching has begun
}

func (h *history) run(ctx context.Context) {
	for ctx.Err() == nil {
		h.follow(ctx)
		pause(ctx, 20*time.Millisecond)
	}
}

// follow lists and watches until the watch ends.
func (h *history) follow(ctx context.Context) {
	deployments := h.client.AppsV1().Deployments(namespace)
	list, err := deployments.List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for i := range list.Items {
		d := &list.Items[i]
		v := decode(d)
		v.Gap = h.record.now(d.Name) != nil // if it is another than the last known
		h.record.version(d.Name, v)
	}
	w, err := deployments.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return
	}
	defer w.Stop()
	h.sessions.Add(1)
	for e := range w.ResultChan() {
		d, ok := e.Object.(*appsv1.Deployment)
		if !ok || e.Type == watch.Error {
			return
		}
		v := decode(d)
		v.Deleted = e.Type == watch.Deleted
		h.record.version(d.Name, v)
	}
}

// prefix begins the names of the daemon's annotations.
const prefix = "idle-scaler/"

func decode(d *appsv1.Deployment) *Version {
	rv, _ := strconv.ParseUint(d.ResourceVersion, 10, 64)
	v := &Version{
		Seen: time.Now(), UID: string(d.UID), Made: d.CreationTimestamp.Time, RV: rv, Replicas: 1, Ready: int(d.Status.ReadyReplicas), Marks: make(map[string]string),
	}
	if d.Spec.Replicas != nil {
		v.Replicas = int(*d.Spec.Replicas)
	}
	for name, value := range d.Annotations {
		if key, ours := strings.CutPrefix(name, prefix); ours {
			v.Marks[key] = value
		}
	}
	for _, entry := range d.ManagedFields {
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if entry.FieldsV1 == nil || entry.Time == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if _, owns := fields.Spec["f:replicas"]; owns && !entry.Time.Time.Before(v.WriterAt) {
			v.Writer, v.WriterAt = entry.Manager, entry.Time.Time
		}
	}
	return v
}
