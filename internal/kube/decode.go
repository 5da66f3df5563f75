package kube

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"idle-scaler/scaler"
)

// fieldManager is the name under which the daemon writes, of every version and on every cluster: a zero whose last writer has
// it is ours.
const fieldManager = "idle-scaler"

// deployment is what is kept of a Deployment. It is not changed once others can see it.
type deployment struct {
	server    *scaler.Server
	selector  string            // of its pods
	podLabels map[string]string // that its pods will have
	revision  string            // of the pod template, as the Deployment controller counts them
	written   map[string]string // settings; nil when there are none
	badMark   error             // why the mark can't be read that we wrote

	// What the settings come from that the server has.
	in       *namespace
	settings *settings
}

// decode returns what a Deployment says. What is said elsewhere is not in it: see Cache.complete. A former state of it, nil when there is none,
// saves the work on what has not changed since.
func decode(d *appsv1.Deployment, former *deployment) *deployment {
	s := &scaler.Server{
		ID:         scaler.ID{Namespace: d.Namespace, Name: d.Name},
		UID:        string(d.UID),
		Version:    d.ResourceVersion,
		Generation: d.Generation,
		Observed:   d.Status.ObservedGeneration,
		Replicas:   1, // what Kubernetes takes when nothing is written
		Total:      int(d.Status.Replicas),
		Updated:    int(d.Status.UpdatedReplicas),
		Ready:      int(d.Status.ReadyReplicas),
		Available:  int(d.Status.AvailableReplicas),
		Created:    d.CreationTimestamp.Time,
		Labels:     d.Labels,
		Writer:     lastWriter(d.ManagedFields),
	}
	if d.Spec.Replicas != nil {
		s.Replicas = int(*d.Spec.Replicas)
	}
	ourReplicas, ourMarks := mergedOf(d, s.Replicas)
	if ourReplicas {
		s.Writer = fieldManager
	}
	s.Ours = s.Writer == fieldManager
	for _, c := range d.Status.Conditions {
		s.Conditions = append(s.Conditions, scaler.Condition{
			Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time,
		})
		observe(s, c)
	}
	if former != nil && former.server.UID == s.UID && former.server.Generation == s.Generation { // what changed is not the template
		s.Requests = former.server.Requests
	} else {
		s.Requests = requestsOf(&d.Spec.Template.Spec)
	}
	var badMark error
	if ourMarks || ownsMarks(d.ManagedFields) {
		s.Mark, badMark = decodeMark(s.ID, d.Annotations)
	} else { // what a former time or another cluster says; the number is as good as any
		s.Mark.Restore, _ = parseRestore(d.Annotations[prefix+keyRestore])
	}

	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		selector = labels.Nothing() // the API server lets no such Deployment in
	}
	return &deployment{
		server: s, selector: selector.String(), podLabels: d.Spec.Template.Labels, revision: d.Annotations[revisionKey],
		written: settingsOf(d.Annotations), badMark: badMark,
	}
}

// observe takes from a condition what it says about the server.
func observe(s *scaler.Server, c appsv1.DeploymentCondition) {
	yes, no := c.Status == corev1.ConditionTrue, c.Status == corev1.ConditionFalse
	switch {
	case c.Type == appsv1.DeploymentAvailable && yes && s.Ready > 0:
		s.ReadySince = c.LastTransitionTime.Time
	case c.Type == appsv1.DeploymentAvailable && no && s.Ready == 0:
		s.UnreadySince = c.LastTransitionTime.Time
	case c.Type == appsv1.DeploymentProgressing && no && c.Reason == "ProgressDeadlineExceeded":
		s.Stalled = true
	case c.Type == appsv1.DeploymentReplicaFailure && yes:
		s.Refused = &scaler.Refusal{Reason: c.Reason, Message: c.Message}
	}
}

// remember adds what a former state of the same Deployment tells: since when it is ready, or not. The condition Available proves
// nothing by itself: where all replicas may be unavailable it is always true. Who is raised from zero is not ready only since then, whatever it
// was before; a raise of our own is marked. At the first sight, as after a restart, it may have been raised a moment ago.
func (d *deployment) remember(former *deployment, now time.Time) {
	s := d.server
	raised := s.Replicas > 0 && s.Ready == 0 && !s.Ours
	if former == nil || former.server.UID != s.UID {
		if raised && s.UnreadySince.IsZero() {
			s.UnreadySince = now
		}
		return
	}
	f := former.server
	switch {
	case s.Ready > 0 && f.Ready > 0:
		s.ReadySince = later(s.ReadySince, f.ReadySince)
	case s.Ready > 0:
		s.ReadySince = later(s.ReadySince, now)
	case f.Ready > 0, raised && f.Replicas == 0:
		s.UnreadySince = later(s.UnreadySince, now)
	default:
		s.UnreadySince = later(s.UnreadySince, f.UnreadySince)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lastWriter returns the field manager that gave spec.replicas its value, empty when that is not known. It is us for as long as we
// are among its owners: whoever writes another value takes the field from all others. Who writes the same value only joins
// them, as Argo CD does when it applies what it was told to ignore; were that zero no longer ours, nothing would wake the server.
func lastWriter(entries []metav1.ManagedFieldsEntry) string {
	var writer string
	var at time.Time
	for _, entry := range entries {
		if replicas, _ := wrote(entry); !replicas {
			continue
		}
		if entry.Manager == fieldManager {
			return fieldManager
		}
		var t time.Time
		if entry.Time != nil {
			t = entry.Time.Time
		}
		if writer == "" || t.After(at) {
			writer, at = entry.Manager, t
		}
	}
	return writer
}

// ownsMarks reports whether the marks are those of our last write. "kubectl rollout undo" puts back those that a ReplicaSet has collected, a
// restored backup those of its time: a hold that was ended long ago, a sleep that is over. Both give last another value than ours, and
// so take it from us, whom each of our writes makes its owner. Who writes the value that is there, or none, leaves it to us.
func ownsMarks(entries []metav1.ManagedFieldsEntry) bool {
	return slices.ContainsFunc(entries, func(entry metav1.ManagedFieldsEntry) bool {
		if entry.Manager != fieldManager {
			return false
		}
		_, last := wrote(entry)
		return last
	})
}

// merged is the field manager into which Kubernetes merges the oldest of more than ten that have updated an object
// (k8s.io/apimachinery, managedfields, capmanagers.go).
const merged = "ancient-changes"

// mergedOf reports whether the replicas, of this number, and the marks are ours although our name is gone, as it is when ten others have
// written since: forgotten as ours, a server would never wake again. The last transition is ours if it names this Deployment's UID, and
// the replicas are if it led to as many.
func mergedOf(d *appsv1.Deployment, count int) (replicas, marks bool) {
	i := slices.IndexFunc(d.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool { return entry.Manager == merged })
	if i < 0 {
		return false, false
	}
	replicas, marks = wrote(d.ManagedFields[i])
	last, _, err := parseEvent(d.Annotations[prefix+keyLast], scaler.ID{})
	marks = marks && err == nil && strings.HasPrefix(last.ID, string(d.UID)+"-")
	return replicas && marks && last.To == count, marks
}

// wrote reports whether the entry's manager wrote spec.replicas, in the Deployment or by its scale, and the mark of the last transition.
func wrote(entry metav1.ManagedFieldsEntry) (replicas, last bool) {
	if entry.FieldsV1 == nil {
		return false, false
	}
	var fields struct {
		Metadata struct {
			Annotations struct {
				Last json.RawMessage `json:"f:idle-scaler/last"`
			} `json:"f:annotations"`
		} `json:"f:metadata"`
		Spec struct {
			Replicas json.RawMessage `json:"f:replicas"`
		} `json:"f:spec"`
	}
	if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
		return false, false
	}
	return fields.Spec.Replicas != nil, fields.Metadata.Annotations.Last != nil
}

// trim takes from a Deployment that was just read what decode does not look at: while thousands are listed they are all in memory.
func trim(obj any) (any, error) {
	d, ok := obj.(*appsv1.Deployment)
	if !ok {
		return obj, nil
	}
	var writers []metav1.ManagedFieldsEntry
	for _, entry := range d.ManagedFields {
		if replicas, last := wrote(entry); replicas || last && (entry.Manager == fieldManager || entry.Manager == merged) {
			writers = append(writers, entry)
		}
	}
	d.ManagedFields = writers
	for name := range d.Annotations {
		if !strings.HasPrefix(name, prefix) && name != revisionKey {
			delete(d.Annotations, name)
		}
	}
	d.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: d.Spec.Template.Labels}, Spec: sized(&d.Spec.Template.Spec)}
	return d, nil
}
