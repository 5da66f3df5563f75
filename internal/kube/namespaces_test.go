package kube

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

func annotatedNamespace(name string, settings map[string]string) *corev1.Namespace {
	annotations := annotated(settings)
	annotations["other/idle-after"] = "7m"
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
}

// settled is team-a/NAME in a version, with settings written on it.
func settled(name string, version int, settings map[string]string) *appsv1.Deployment {
	d := at(version, "u", 0)
	d.Name, d.Annotations = name, annotated(settings)
	return d
}

// A server is treated as is written on it, else on its namespace, else in the configuration; also after the namespace has changed, and
// then those hear of it who want to hear of the server. What was seen before stays as it was.
func TestSettingsFromThreePlaces(t *testing.T) {
	c := newTestCache(t)
	r := c.regions[""]
	var told []string
	c.OnChange = func(id scaler.ID) { told = append(told, id.Name) }
	r.namespaces.Replace([]any{annotatedNamespace("team-a", map[string]string{"idle-after": "1h", "max-replicas": "3"}), annotatedNamespace("team-b", nil)}, "1")
	elsewhereServer := at(4, "u", 0)
	elsewhereServer.Namespace = "team-b"
	r.Replace([]any{settled("own", 1, map[string]string{"idle-after": "2h"}), settled("search", 2, nil), elsewhereServer}, "10")

	id := func(name string) scaler.ID { return scaler.ID{Namespace: "team-a", Name: name} }
	check := func(when string, id scaler.ID, idle time.Duration, replicas int, sources map[string]policy.Source) {
		t.Helper()
		s, ok := c.Get(id)
		if !ok || s.Bad != nil || s.Settings.IdleAfter != idle || s.Settings.MaxReplicas != replicas || !maps.Equal(s.Sources, sources) {
			t.Errorf("%s: %+v, from %v (%v)", when, s.Settings, s.Sources, s.Bad)
		}
	}
	check("own", id("own"), 2*time.Hour, 3, map[string]policy.Source{"idle-after": policy.FromServer, "max-replicas": policy.FromNamespace})
	check("of the namespace", id("search"), time.Hour, 3, map[string]policy.Source{"idle-after": policy.FromNamespace, "max-replicas": policy.FromNamespace})
	check("of the configuration", scaler.ID{Namespace: "team-b", Name: "search"}, 30*time.Minute, 10, map[string]policy.Source{"idle-after": policy.FromConfig})

	told = nil
	before, _ := c.Get(id("search"))
	changed, stop := c.Watch(id("search"))
	defer stop()
	r.namespaces.Update(annotatedNamespace("team-a", map[string]string{"idle-after": "5m"}))
	check("own, after the change", id("own"), 2*time.Hour, 10, map[string]policy.Source{"idle-after": policy.FromServer})
	check("of the namespace, after the change", id("search"), 5*time.Minute, 10, map[string]policy.Source{"idle-after": policy.FromNamespace})
	if before.Settings.IdleAfter != time.Hour {
		t.Error("a server was changed in place")
	}
	if after, _ := c.Get(id("search")); after.Version != before.Version {
		t.Errorf("at version %s, it was %s: nobody has written the Deployment", after.Version, before.Version)
	}
	if slices.Sort(told); !slices.Equal(told, []string{"own", "search"}) {
		t.Errorf("told of %v", told)
	}
	select {
	case <-changed:
	default:
		t.Error("who watches was not told")
	}

	told = nil
	r.namespaces.Update(annotatedNamespace("team-a", map[string]string{"idle-after": "5m"}))
	r.namespaces.Replace([]any{annotatedNamespace("team-a", map[string]string{"idle-after": "5m"}), annotatedNamespace("team-b", nil)}, "20")
	if len(told) > 0 {
		t.Errorf("nothing has changed, and told of %v", told)
	}
	c.put(settled("search", 30, map[string]string{"idle-after": "never"})) // an answer, not the watch
	check("own, by now", id("search"), policy.Never, 10, map[string]policy.Source{"idle-after": policy.FromServer})
}

// What can't be read on a namespace concerns all of its servers, and says where it stands.
func TestBadNamespace(t *testing.T) {
	c := newTestCache(t)
	c.put(settled("search", 1, map[string]string{"wake-replicas": "many"}))
	c.regions[""].namespaces.Replace([]any{annotatedNamespace("team-a", map[string]string{"idle-after": "soon", "group": "x", "replicas": "3"})}, "1")
	s, _ := c.Get(testID)
	if s.Bad == nil {
		t.Fatal("not told")
	}
	for _, want := range []string{"wake-replicas", "idle-after", "namespace", "group", "write it there", "replicas"} {
		if !strings.Contains(s.Bad.Error(), want) {
			t.Errorf("%q does not say %q", s.Bad, want)
		}
	}
}

// A server is not put to sleep before its namespace is known, which may forbid it: neither at first nor when the namespace is new. At first that
// is said of all servers, and none is unreadable, so that it can be woken.
func TestUnknownNamespace(t *testing.T) {
	c := newTestCache(t)
	r := c.regions[""]
	r.Replace([]any{at(1, "u", 0)}, "10")
	if s, _ := c.Get(testID); s.Bad != nil || !c.Synced() || c.Missing() != "the namespaces have not been read" {
		t.Errorf("bad: %v, synced: %v, missing: %q", s.Bad, c.Synced(), c.Missing())
	}
	r.namespaces.Replace(nil, "1")
	if s, _ := c.Get(testID); s.Bad == nil || !c.Synced() || c.Missing() != "the autoscalers have not been read" {
		t.Errorf("bad: %v, synced: %v, missing: %q", s.Bad, c.Synced(), c.Missing())
	}
	elsewhere(c)
	if s, _ := c.Get(testID); s.Bad == nil || c.Missing() != "" {
		t.Errorf("bad: %v, missing: %q", s.Bad, c.Missing())
	}
	r.namespaces.Add(annotatedNamespace("team-a", nil))
	if s, _ := c.Get(testID); s.Bad != nil || s.Settings.IdleAfter != 30*time.Minute {
		t.Errorf("the namespace is known: %+v, %v", s.Settings, s.Bad)
	}
	r.namespaces.Delete(annotatedNamespace("team-a", nil))
	if s, _ := c.Get(testID); s.Bad == nil {
		t.Error("the namespace is gone, and it may sleep")
	}
}

// A change of the status reads no settings again, and those of servers on which nothing is written are one.
func TestSettingsAreShared(t *testing.T) {
	c := newTestCache(t)
	elsewhere(c, "team-a")
	c.put(settled("a", 1, nil))
	c.put(settled("b", 2, nil))
	c.put(settled("own", 3, map[string]string{"idle-after": "1h"}))
	of := func(name string) *settings {
		d, _ := c.deployment(scaler.ID{Namespace: "team-a", Name: name})
		return d.settings
	}
	if of("a") != of("b") {
		t.Error("read for each server")
	}
	former := of("own")
	c.put(settled("own", 4, map[string]string{"idle-after": "1h"}))
	if of("own") != former {
		t.Error("read again for a change of the status")
	}
	c.put(settled("own", 5, map[string]string{"idle-after": "2h"}))
	if of("own").IdleAfter != 2*time.Hour {
		t.Error("not read again for a change of the settings")
	}
}

// Of a Namespace nothing is kept in memory but what concerns the daemon.
func TestTrimNamespace(t *testing.T) {
	n := annotatedNamespace("team-a", map[string]string{"idle-after": "1h"})
	n.ResourceVersion, n.Labels = "7", map[string]string{"a": "b"}
	trimmed, _ := trimNamespace(n)
	got := trimmed.(*corev1.Namespace)
	if got.Labels != nil || got.ResourceVersion != "7" || !maps.Equal(got.Annotations, map[string]string{"idle-scaler/idle-after": "1h"}) {
		t.Errorf("%+v", got)
	}
	whole, _ := keepNamespace(n)
	kept, _ := keepNamespace(got)
	if !sameNamespace(whole, kept) {
		t.Errorf("%v, and trimmed %v", whole.written, kept.written)
	}
}
