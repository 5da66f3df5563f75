package kube

import (
	"encoding/json"
	"maps"
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
       "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {"f:idle-scaler/seen": {}, "f:idle-scaler/last": {}}}, "f:spec": {"f:replicas": {}}}}
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

// The marks are believed while idle-scaler/last is ours, which is so for as long as nobody has given it another value; of others the number to
// restore is, and what they wrote that can't be read is no mistake that keeps a server from being woken. Also after the Deployment was trimmed.
func TestMarksOfOthers(t *testing.T) {
	entry := func(manager, operation string, fields string) string {
		return `{"manager":"` + manager + `","operation":"` + operation + `","apiVersion":"apps/v1","time":"2026-03-01T12:00:00Z","fieldsType":"FieldsV1","fieldsV1":` + fields + `}`
	}
	const (
		marks    = `{"f:metadata":{"f:annotations":{"f:idle-scaler/hold":{},"f:idle-scaler/last":{}}}}`
		all      = `{"f:metadata":{"f:annotations":{".":{},"f:idle-scaler/last":{}}},"f:spec":{"f:replicas":{}}}`
		replicas = `{"f:spec":{"f:replicas":{}}}`
	)
	was := encodeMark(fullMark())
	damaged := maps.Clone(was)
	damaged[keyHold] = "?"
	few := encodeMark(scaler.Mark{Restore: 3, Awake: noon, Last: fullMark().Last})
	returned := maps.Clone(was) // the hold and all else of a former time came back beside the last transition
	maps.Copy(returned, few)
	onlyLast := map[string]string{keyHold: was[keyHold], keyLast: encodeMark(scaler.Mark{Last: fullMark().Last})[keyLast]}
	of := func(id string, to int) scaler.Mark {
		mark := fullMark()
		mark.Last.ID, mark.Last.To = id, to
		return mark
	}
	former := maps.Clone(was) // by a version of the daemon that did not say which marks it wrote
	former[keyLast] = formatEvent(fullMark().Last, nil)
	for _, c := range []struct {
		name   string
		marks  map[string]string
		fields []string
		want   scaler.Mark
		bad    bool
	}{
		{"ours", was, []string{entry("idle-scaler", "Update", all)}, fullMark(), false},
		{"ours, the replicas somebody else's", was, []string{entry("kubectl", "Update", replicas), entry("idle-scaler", "Update", marks)}, fullMark(), false},
		{"ours, of a former version", former, []string{entry("idle-scaler", "Update", all)}, fullMark(), false},
		{"applied by Argo CD as they are", was, []string{entry("argocd-controller", "Apply", all), entry("idle-scaler", "Update", all)}, fullMark(), false},
		{"undone, the replicas ours", was, []string{entry("idle-scaler", "Update", replicas), entry("kubectl-rollout", "Update", marks)}, scaler.Mark{Restore: 3}, false},
		{"ours, and merged with others", encodeMark(of("u1-7", 0)), []string{entry("ancient-changes", "Update", all)}, of("u1-7", 0), false},
		{"ours, and merged with the replicas of others", encodeMark(of("u1-7", 5)), []string{entry("ancient-changes", "Update", all)}, of("u1-7", 5), false},
		{"of another Deployment, and merged", encodeMark(of("u2-7", 0)), []string{entry("ancient-changes", "Update", all)}, scaler.Mark{Restore: 3}, false},
		{"restored from a backup", was, []string{entry("velero-server", "Update", all)}, scaler.Mark{Restore: 3}, false},
		{"nobody is known", was, nil, scaler.Mark{Restore: 3}, false},
		{"damaged, and ours", damaged, []string{entry("idle-scaler", "Update", all)}, func() scaler.Mark { m := fullMark(); m.Hold = policy.Hold{}; return m }(), true},
		{"damaged, and not ours", damaged, []string{entry("kubectl-rollout", "Update", all)}, scaler.Mark{Restore: 3}, false},
		{"undone before anything else was written", returned, []string{entry("idle-scaler", "Update", all), entry("kubectl-rollout", "Update", `{"f:metadata":{"f:annotations":{"f:idle-scaler/hold":{}}}}`)}, scaler.Mark{Restore: 3, Awake: noon, Last: fullMark().Last}, false},
		{"undone when nothing but the transition was written", onlyLast, []string{entry("idle-scaler", "Update", all)}, scaler.Mark{Last: fullMark().Last}, false},
	} {
		whole := read(t, asRead)
		whole.Annotations = annotated(c.marks)
		if err := json.Unmarshal([]byte("["+strings.Join(c.fields, ",")+"]"), &whole.ManagedFields); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		trimmed, _ := trim(whole.DeepCopy())
		for form, d := range map[string]*appsv1.Deployment{"whole": whole, "trimmed": trimmed.(*appsv1.Deployment)} {
			got := completed(t, d).server
			if !reflect.DeepEqual(got.Mark, c.want) || (got.Bad != nil) != c.bad {
				t.Errorf("%s, %s: %v\n got %+v\nwant %+v", c.name, form, got.Bad, got.Mark, c.want)
			}
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
