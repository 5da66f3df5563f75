package kube

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/scaler"
)

// eventsQueued is how many events may wait to be written. More are dropped: the bus has them all.
const eventsQueued = 1024

// Recorder leaves a Kubernetes Event on the Deployment for what happened to a server, where kubectl describe shows it. It does its best
// and no more. client-go's own recorder is not used: it drops what comes after 25 events about an object, but one each 5 minutes.
type Recorder struct {
	cache    *Cache
	logger   *slog.Logger
	instance string
	queue    chan scaler.Event
	dropped  atomic.Uint64
}

// NewRecorder returns a Recorder that writes once Run is called. It writes one event at a time, so that they never hold up a wake: a single request is
// in the way of no other.
func NewRecorder(cache *Cache, logger *slog.Logger) *Recorder {
	host, _ := os.Hostname() // only to be shown
	return &Recorder{cache: cache, logger: logger, instance: cut(host+"-idle-scaler", 128), queue: make(chan scaler.Event, eventsQueued)}
}

// Record queues an event. It returns at once.
func (r *Recorder) Record(e scaler.Event) {
	if e.Type == scaler.Progress {
		return // too many, and the pods have them
	}
	select {
	case r.queue <- e:
	default:
		r.dropped.Add(1)
	}
}

// Dropped returns how many events were dropped so far.
func (r *Recorder) Dropped() uint64 { return r.dropped.Load() }

// Run writes what was recorded until ctx is done.
func (r *Recorder) Run(ctx context.Context) error {
	var told string        // of the failure that lasts
	var toldDropped uint64 // of those that were dropped
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-r.queue:
			server, ok := r.cache.Get(e.Server)
			if !ok {
				continue // nothing to leave it on
			}
			switch err := r.write(ctx, server, e); {
			case err == nil:
				told = ""
			case ctx.Err() == nil && err.Error() != told: // not once for each event
				told = err.Error()
				r.logger.Warn("cannot write kubernetes events", "server", e.Server.String(), "err", err)
			}
			if n := r.Dropped(); n > toldDropped {
				r.logger.Warn("kubernetes events were dropped: there were too many at once", "dropped", n-toldDropped)
				toldDropped = n
			}
		}
	}
}

func (r *Recorder) write(ctx context.Context, server *scaler.Server, e scaler.Event) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := r.cache.client.EventsV1().Events(e.Server.Namespace).Create(ctx, r.event(server, e), metav1.CreateOptions{FieldManager: fieldManager})
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return request{"create", "events.events.k8s.io", e.Server.Namespace, ""}.failure(err)
}

func (r *Recorder) event(server *scaler.Server, e scaler.Event) *eventsv1.Event {
	hash := fnv.New64a()
	hash.Write([]byte(e.ID))
	kind := corev1.EventTypeNormal
	switch e.Type {
	case scaler.Failed, scaler.Rejected, scaler.Expired, scaler.Unreadable, scaler.Contended:
		kind = corev1.EventTypeWarning
	}
	id := e.Server
	name := strings.TrimRight(id.Name[:min(len(id.Name), 230)], "-.") // with what comes behind it: a name again
	return &eventsv1.Event{
		// The same event told twice has the same name, so it is written once.
		ObjectMeta:          metav1.ObjectMeta{Namespace: id.Namespace, Name: fmt.Sprintf("%s.%x", name, hash.Sum64())},
		EventTime:           metav1.NewMicroTime(e.At),
		ReportingController: "idle-scaler",
		ReportingInstance:   r.instance,
		Action:              "Scale",
		Reason:              reasonOf(e.Type),
		Regarding:           corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: id.Namespace, Name: id.Name, UID: types.UID(server.UID)},
		Note:                cut(e.Change().String(), 1024),
		Type:                kind,
	}
}

// reasonOf writes the type of an event as Kubernetes writes reasons: SleepingSoon. Whatever the type is: it may be one that was written on
// a Deployment, where anybody can change it.
func reasonOf(kind scaler.EventType) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(string(kind), func(r rune) bool { return r == '-' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
