package kube

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

var testConfig = policy.Layer{Source: policy.FromConfig, Written: map[string]string{"idle-after": "30m"}}

// completed is what becomes of a Deployment in a cache that knows its namespace, on which nothing is written.
func completed(t *testing.T, d *appsv1.Deployment) *deployment {
	t.Helper()
	c := newTestCache(t)
	elsewhere(c, d.Namespace)
	c.put(d)
	known, _ := c.deployment(testID)
	return known
}

const asRead = `{
  "metadata": {
    "namespace": "team-a", "name": "search", "uid": "u1", "resourceVersion": "1207", "generation": 4,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "labels": {"app.kubernetes.io/component": "mcp-server", "team": "a"},
    "annotations": {"idle-scaler/idle-after": "2h", "idle-scaler/seen": "41@2026-03-01T12:00:00Z", "other/thing": "x"},
    "managedFields": [
      {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "2026-03-01T12:00:09Z",
       "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:replicas": {}, "f:readyReplicas": {}}}},
      {"manager": "idle-scaler", "operation": "Update", "time": "2026-03-01T12:00:00Z",
       "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {"f:idle-scaler/seen": {}}}, "f:spec": {"f:replicas": {}}}}
    ]
  },
  "spec": {
    "replicas": 2,
    "selector": {"matchLabels": {"app": "search"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]},
    "template": {"metadata": {"labels": {"app": "search", "tier": "a"}}, "spec": {"containers": [{"name": "main", "image": "search:1",
      "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}], "serviceAccountName": "x"}}
  },
  "status": {
    "observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2,
    "conditions": [
      {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "ok",
       "lastUpdateTime": "2026-03-01T11:00:00Z", "lastTransitionTime": "2026-03-01T11:00:00Z"},
      {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late",
       "lastUpdateTime": "2026-03-01T11:00:00Z", "lastTransitionTime": "2026-03-01T11:00:00Z"},
      {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota",
       "lastUpdateTime": "2026-03-01T11:30:00Z", "lastTransitionTime": "2026-03-01T11:00:00Z"}
    ]
  }
}`

func read(t *testing.T, text string) *appsv1.Deployment {
	t.Helper()
	var d appsv1.Deployment
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// Everything that the domain asks about a server stands where it expects it; also after the Deployment was trimmed.
func TestDecode(t *testing.T) {
	at := func(text string) time.Time { parsed, _ := time.Parse(time.RFC3339, text); return parsed.Local() }
	settings := policy.Defaults(2 * time.Hour)
	want := &scaler.Server{
		ID: testID, UID: "u1", Version: "1207", Generation: 4, Observed: 3,
		Replicas: 2, Total: 3, Updated: 1, Ready: 2, Available: 2,
		Created: at("2026-01-01T00:00:00Z"), ReadySince: at("2026-03-01T11:00:00Z"), Stalled: true,
		Labels: map[string]string{"app.kubernetes.io/component": "mcp-server", "team": "a"}, Writer: "idle-scaler", Ours: true,
		Conditions: []scaler.Condition{
			{Type: "Available", Status: "True", Reason: "MinimumReplicasAvailable", Message: "ok", Since: at("2026-03-01T11:00:00Z")},
			{Type: "Progressing", Status: "False", Reason: "ProgressDeadlineExceeded", Message: "late", Since: at("2026-03-01T11:00:00Z")},
			{Type: "ReplicaFailure", Status: "True", Reason: "FailedCreate", Message: "exceeded quota", Since: at("2026-03-01T11:00:00Z")},
		},
		Refused:  &scaler.Refusal{Reason: "FailedCreate", Message: "exceeded quota"},
		Settings: settings,
		Sources:  map[string]policy.Source{"idle-after": policy.FromServer},
		Requests: scaler.Resources{MilliCPU: 250, Memory: 64 << 20},
	}
	want.Mark.Seen.Sequence, want.Mark.Seen.Time = 41, at("2026-03-01T12:00:00Z").UTC()

	trimmed, _ := trim(read(t, asRead))
	for name, d := range map[string]*appsv1.Deployment{"whole": read(t, asRead), "trimmed": trimmed.(*appsv1.Deployment)} {
		got := completed(t, d)
		want.Settings.Digest = got.server.Settings.Digest // which one is up to the policy
		if !reflect.DeepEqual(got.server, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got.server, want)
		}
		if got.selector != "app=search,tier in (a,b)" || !reflect.DeepEqual(got.podLabels, map[string]string{"app": "search", "tier": "a"}) {
			t.Errorf("%s: selector %q, labels of pods %v", name, got.selector, got.podLabels)
		}
	}
	if d := trimmed.(*appsv1.Deployment); len(d.ManagedFields) != 1 || len(d.Annotations) != 2 || d.Spec.Template.Spec.Containers != nil || d.Spec.Template.Spec.ServiceAccountName != "" {
		t.Errorf("not trimmed: %+v", d)
	}
}

func TestDecodeDetails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*appsv1.Deployment)
		as     func(*scaler.Server) any
		want   any
		bad    string
	}{
		{
			name: "replicas that are not written are 1", change: func(d *appsv1.Deployment) { d.Spec.Replicas = nil },
			as: func(s *scaler.Server) any { return s.Replicas }, want: 1,
		},
		{
			name: "zero is zero", change: func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32) },
			as: func(s *scaler.Server) any { return s.Replicas }, want: 0,
		},
		{
			name: "no ready replica: not ready, whatever Available says", change: func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 0 },
			as: func(s *scaler.Server) any { return s.ReadySince.IsZero() && s.UnreadySince.IsZero() }, want: true,
		},
		{name: "not available and none ready: since then", change: func(d *appsv1.Deployment) {
			d.Status.ReadyReplicas, d.Status.Conditions[0].Status = 0, "False"
		}, as: func(s *scaler.Server) any { return s.UnreadySince.UTC().Format(time.RFC3339) }, want: "2026-03-01T11:00:00Z"},
		{
			name: "not available with some ready: not known since when", change: func(d *appsv1.Deployment) { d.Status.Conditions[0].Status = "False" },
			as: func(s *scaler.Server) any { return s.ReadySince.IsZero() && s.UnreadySince.IsZero() }, want: true,
		},
		{
			name: "progressing is not stalled", change: func(d *appsv1.Deployment) { d.Status.Conditions[1].Status = "True" },
			as: func(s *scaler.Server) any { return s.Stalled }, want: false,
		},
		{
			name: "another reason is not stalled", change: func(d *appsv1.Deployment) { d.Status.Conditions[1].Reason = "FailedCreate" },
			as: func(s *scaler.Server) any { return s.Stalled }, want: false,
		},
		{
			name: "a refusal that is over is none", change: func(d *appsv1.Deployment) { d.Status.Conditions[2].Status = "False" },
			as: func(s *scaler.Server) any { return s.Refused == nil }, want: true,
		},
		{
			name: "an unknown setting is told, the known ones count", change: func(d *appsv1.Deployment) { d.Annotations[prefix+"idel-after"] = "never" },
			as: func(s *scaler.Server) any { return s.Settings.IdleAfter }, want: 2 * time.Hour, bad: "idel-after",
		},
		{
			name: "a damaged mark is told", change: func(d *appsv1.Deployment) { d.Annotations[prefix+keySeen] = "?" },
			as: func(s *scaler.Server) any { return s.Mark.Seen.IsZero() }, want: true, bad: "seen",
		},
	} {
		d := read(t, asRead)
		c.change(d)
		s := completed(t, d).server
		if got := c.as(s); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
		if (s.Bad == nil) != (c.bad == "") || s.Bad != nil && !strings.Contains(s.Bad.Error(), c.bad) {
			t.Errorf("%s: bad %v, want %q", c.name, s.Bad, c.bad)
		}
	}
}

// A zero is ours if we gave the field its value, whoever wrote the same after us: the managedFields are as API servers write them in each case.
func TestLastWriter(t *testing.T) {
	const ours = `{"manager":"idle-scaler","operation":"Update","apiVersion":"apps/v1","time":"2026-03-01T12:00:00Z","fieldsType":"FieldsV1",
		"fieldsV1":{"f:metadata":{"f:annotations":{"f:idle-scaler/asleep-since":{},"f:idle-scaler/replicas":{}}},"f:spec":{"f:replicas":{}}}}`
	const marksOnly = `{"manager":"idle-scaler","operation":"Update","apiVersion":"apps/v1","time":"2026-03-01T12:00:00Z","fieldsType":"FieldsV1",
		"fieldsV1":{"f:metadata":{"f:annotations":{"f:idle-scaler/asleep-since":{},"f:idle-scaler/replicas":{}}}}}`
	argo := func(at string) string {
		return `{"manager":"argocd-controller","operation":"Apply","apiVersion":"apps/v1","time":"` + at + `","fieldsType":"FieldsV1",
		"fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:name":{}}}}}}}}`
	}
	const hpa = `{"manager":"kube-controller-manager","operation":"Update","apiVersion":"apps/v1","time":"2026-03-01T12:05:00Z","fieldsType":"FieldsV1",
		"fieldsV1":{"f:spec":{"f:replicas":{}}},"subresource":"scale"}`
	const kubectlScale = `{"manager":"kubectl","operation":"Update","apiVersion":"apps/v1","time":"2026-03-01T12:05:00Z","fieldsType":"FieldsV1",
		"fieldsV1":{"f:spec":{"f:replicas":{}}},"subresource":"scale"}`
	const status = `{"manager":"kube-controller-manager","operation":"Update","apiVersion":"apps/v1","time":"2026-03-01T13:00:00Z","fieldsType":"FieldsV1",
		"fieldsV1":{"f:metadata":{"f:annotations":{"f:deployment.kubernetes.io/revision":{}}},"f:status":{"f:replicas":{},"f:conditions":{".":{}}}},"subresource":"status"}`
	const helm = `{"manager":"helm","operation":"Update","apiVersion":"apps/v1","time":"2026-02-01T12:00:00Z","fieldsType":"FieldsV1",
		"fieldsV1":{"f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"f:template":{"f:spec":{"f:containers":{}}}}}}`
	for _, c := range []struct {
		name, fields, want string
	}{
		{"our zero", ours + "," + status, "idle-scaler"},
		{"installed by helm, never touched", helm + "," + status, "helm"},
		{"kubectl scale took the field from us, the marks are still ours", marksOnly + "," + kubectlScale + "," + status, "kubectl"},
		{"an HPA scales through the scale subresource", marksOnly + "," + hpa, "kube-controller-manager"},
		{"Argo CD applied its own number by server-side apply", marksOnly + "," + argo("2026-03-01T12:03:00Z"), "argocd-controller"},
		{"Argo CD applied the same number later, as it does with what it is told to ignore", argo("2026-03-01T12:03:00Z") + "," + ours, "idle-scaler"},
		{"Argo CD applied the same number earlier", argo("2026-03-01T11:03:00Z") + "," + ours, "idle-scaler"},
		{"a writer without a time is the oldest", `{"manager":"old","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}}},` + ours, "idle-scaler"},
		{"only the status was written", status, ""},
		{"nobody is known", "", ""},
		{"fields of another form are nobody's", `{"manager":"x","operation":"Update","fieldsType":"FieldsV1","fieldsV1":[1]},
			{"manager":"y","operation":"Update","fieldsType":"FieldsV1"},{"manager":"z","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:spec":7}}`, ""},
	} {
		var entries []metav1.ManagedFieldsEntry
		if err := json.Unmarshal([]byte("["+c.fields+"]"), &entries); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := lastWriter(entries); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
