package kube

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"idle-scaler/scaler"
)

func newTestCache(t *testing.T, namespaces ...string) *Cache {
	t.Helper()
	c, err := NewCache(fake.NewClientset(), Scope{Namespaces: namespaces, Selector: "app.kubernetes.io/component=mcp-server"},
		testConfig, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// elsewhere lets the cache know of namespaces, and of no autoscalers.
func elsewhere(c *Cache, names ...string) {
	for _, r := range c.regions {
		var list []any
		for _, name := range names {
			if r.namespace == "" || r.namespace == name {
				list = append(list, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
			}
		}
		r.namespaces.Replace(list, "1")
		r.autoscalers.Replace(nil, "1")
	}
}

// at is team-a/search in a version; uid and ready as given.
func at(version int, uid string, ready int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "search", UID: types.UID(uid), ResourceVersion: fmt.Sprint(version)},
		Status:     appsv1.DeploymentStatus{ReadyReplicas: ready},
	}
}

func deleting(d *appsv1.Deployment) *appsv1.Deployment {
	now := metav1.Now()
	d.DeletionTimestamp = &now
	return d
}

// Of what the watch and the answers to our own requests say, the newer counts in whatever order it comes; and what was deleted is
// not brought back by an answer that was under way. When the versions go back, as they do when etcd is restored, the list counts.
func TestNewerCounts(t *testing.T) {
	list := func(r *region, version string, ds ...*appsv1.Deployment) {
		var objs []any
		for _, d := range ds {
			objs = append(objs, d)
		}
		r.Replace(objs, version)
	}
	for _, c := range []struct {
		name string
		do   func(c *Cache, r *region)
		want string // uid@version, empty when it is gone
	}{
		{"an answer before the watch", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			c.put(at(12, "u", 0))
			r.Update(at(11, "u", 0))
		}, "u@12"},
		{"an answer after the watch", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			r.Update(at(13, "u", 0))
			c.put(at(12, "u", 0))
		}, "u@13"},
		{"versions are numbers", func(c *Cache, r *region) { list(r, "10", at(9, "u", 0)); c.put(at(10, "u", 0)) }, "u@10"},
		{"an answer about one that the watch has not shown yet", func(c *Cache, r *region) { list(r, "10"); c.put(at(12, "u", 0)) }, "u@12"},
		{"deleted, then the late answer", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			r.Update(at(12, "u", 0))
			r.Delete(at(13, "u", 0))
			c.put(at(12, "u", 0))
		}, ""},
		{"being deleted, then the late answer", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			r.Update(deleting(at(13, "u", 0)))
			c.put(at(12, "u", 0))
		}, ""},
		{"the answer, then deleted", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			c.put(at(12, "u", 0))
			r.Delete(at(13, "u", 0))
		}, ""},
		{"the answer about a new one, then the deletion of the old", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			c.put(at(14, "v", 0))
			r.Delete(at(13, "u", 0))
		}, "v@14"},
		{"made anew, then the late answer about the old", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			r.Delete(at(13, "u", 0))
			r.Add(at(14, "v", 0))
			c.put(at(12, "u", 0))
		}, "v@14"},
		{"a list without it", func(c *Cache, r *region) { list(r, "10", at(9, "u", 0)); list(r, "20") }, ""},
		{"a list without it, then the late answer", func(c *Cache, r *region) { list(r, "10", at(9, "u", 0)); list(r, "20"); c.put(at(12, "u", 0)) }, ""},
		{"a list older than an answer", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			c.put(at(22, "u", 0))
			list(r, "20", at(9, "u", 0))
		}, "u@22"},
		{"a list older than the answer about a new one", func(c *Cache, r *region) { list(r, "10"); c.put(at(22, "u", 0)); list(r, "20") }, "u@22"},
		{"a list with one that is being deleted", func(c *Cache, r *region) { list(r, "10", deleting(at(9, "u", 0))) }, ""},
		{"a restored list", func(c *Cache, r *region) { list(r, "100", at(90, "u", 0)); list(r, "50", at(45, "u", 0)) }, "u@45"},
		{"a restored list after a bookmark", func(c *Cache, r *region) {
			list(r, "10", at(9, "u", 0))
			r.Update(at(12, "u", 0))
			r.Bookmark("100")
			list(r, "50", at(9, "u", 0))
		}, "u@9"},
		{"a restored list, and what comes after it", func(c *Cache, r *region) {
			list(r, "100", at(90, "u", 0))
			list(r, "50", at(45, "u", 0))
			r.Update(at(51, "u", 0))
			c.put(at(52, "u", 0))
		}, "u@52"},
		{"a restored list without it", func(c *Cache, r *region) { list(r, "100", at(90, "u", 0)); list(r, "50") }, ""},
		{"a restored list with something else of that version", func(c *Cache, r *region) { list(r, "100", at(90, "u", 0)); list(r, "95", at(90, "v", 0)) }, "v@90"},
		{"a bookmark, then the late answer", func(c *Cache, r *region) { list(r, "10"); r.Bookmark("15"); c.put(at(12, "u", 0)) }, ""},
	} {
		cache := newTestCache(t)
		c.do(cache, cache.regions[""])
		got := ""
		if s, ok := cache.Get(testID); ok {
			got = s.UID + "@" + s.Version
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		var all []string
		for s := range cache.All {
			all = append(all, s.UID+"@"+s.Version)
		}
		if c.want == "" && len(all) > 0 || c.want != "" && !slices.Equal(all, []string{c.want}) {
			t.Errorf("%s: All yields %v, want %q", c.name, all, c.want)
		}
	}
}

// The same version is decoded once, whether it comes by an answer, the watch or a list.
func TestDecodedOnce(t *testing.T) {
	c := newTestCache(t)
	r := c.regions[""]
	changes := 0
	c.OnChange = func(scaler.ID) { changes++ }
	first := c.put(at(9, "u", 0))
	r.Update(at(9, "u", 0))
	r.Replace([]any{at(9, "u", 0)}, "10")
	if again := c.put(at(9, "u", 0)); again != first || changes != 1 {
		t.Errorf("decoded again: %v, %d changes", again != first, changes)
	}
}

// With several namespaces the cache is synced when all have been listed, and a list of one drops nothing of another.
func TestRegions(t *testing.T) {
	c := newTestCache(t, "team-b", "team-a", "team-a")
	if len(c.regions) != 2 {
		t.Fatalf("%d regions", len(c.regions))
	}
	c.regions["team-a"].Replace([]any{at(9, "u", 0)}, "10")
	if c.Synced() {
		t.Error("synced with half of it")
	}
	c.regions["team-b"].Replace(nil, "11")
	if _, ok := c.Get(testID); !ok || !c.Synced() {
		t.Errorf("team-a/search there: %v, synced: %v", ok, c.Synced())
	}
	for _, mirror := range []func(r *region){
		func(r *region) { r.namespaces.Replace(nil, "1") },
		func(r *region) { r.autoscalers.Replace(nil, "1") },
	} {
		mirror(c.regions["team-a"])
		if c.Missing() == "" {
			t.Error("nothing is missing with half of it")
		}
		mirror(c.regions["team-b"])
	}
	if missing := c.Missing(); missing != "" {
		t.Error(missing)
	}
}

// Since when a server is ready is the later of what the Deployment says and what was seen: where all replicas may be unavailable,
// Available is always true.
func TestReadySince(t *testing.T) {
	available := func(d *appsv1.Deployment, status corev1.ConditionStatus, since time.Time) *appsv1.Deployment {
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: "Available", Status: status, LastTransitionTime: metav1.NewTime(since)}}
		return d
	}
	c := newTestCache(t)
	var now time.Time
	c.now = func() time.Time { return now }
	long := noon.Add(-24 * time.Hour)
	for i, step := range []struct {
		name           string
		d              *appsv1.Deployment
		ready, unready time.Time
	}{
		{"first seen ready: as it says", available(at(10, "u", 1), "True", long), long, time.Time{}},
		{"still ready", available(at(11, "u", 2), "True", long), long, time.Time{}},
		{"not ready any more, and always available", available(at(12, "u", 0), "True", long), time.Time{}, noon.Add(2 * time.Minute)},
		{"still not ready", available(at(13, "u", 0), "True", long), time.Time{}, noon.Add(2 * time.Minute)},
		{"ready again", available(at(14, "u", 1), "True", long), noon.Add(4 * time.Minute), time.Time{}},
		{"still ready, and available later", available(at(15, "u", 1), "True", noon.Add(5*time.Minute)), noon.Add(5 * time.Minute), time.Time{}},
		{"still ready, not available", available(at(16, "u", 1), "False", noon.Add(6*time.Minute)), noon.Add(5 * time.Minute), time.Time{}},
		{"another of the same name", available(at(17, "v", 0), "True", long), time.Time{}, noon.Add(7 * time.Minute)},
	} {
		now = noon.Add(time.Duration(i) * time.Minute)
		s := c.put(step.d)
		if !s.ReadySince.Equal(step.ready) || !s.UnreadySince.Equal(step.unready) {
			t.Errorf("%s: ready since %v, unready since %v; want %v, %v", step.name, s.ReadySince, s.UnreadySince, step.ready, step.unready)
		}
	}
}

// Who is raised from zero is not ready since then, not since it went to zero: it is starting. So is who is not ready when it is first seen, as after a
// restart of the daemon, which may have missed the raise. What we raise is marked.
func TestUnreadySinceRaised(t *testing.T) {
	var now time.Time
	scaled := func(version int, replicas, ready int32, manager string) *appsv1.Deployment {
		d := at(version, "u", ready)
		d.Spec.Replicas = &replicas
		d.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: manager, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)}}
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: "Available", Status: "True", LastTransitionTime: metav1.NewTime(noon.Add(-24 * time.Hour))}}
		return d
	}
	known, restarted := newTestCache(t), newTestCache(t)
	known.now = func() time.Time { return now }
	restarted.now = known.now
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for i, step := range []struct {
		name    string
		c       *Cache
		d       *appsv1.Deployment
		unready time.Time
	}{
		{"running", known, scaled(10, 1, 1, "kubectl"), time.Time{}},
		{"put to zero", known, scaled(11, 0, 0, "kubectl"), minute(1)},
		{"still at zero", known, scaled(12, 0, 0, "kubectl"), minute(1)},
		{"raised", known, scaled(13, 1, 0, "kubectl"), minute(3)},
		{"raised, still starting", known, scaled(14, 2, 0, "kubectl"), minute(3)},
		{"put to zero while it starts", known, scaled(15, 0, 0, "kubectl"), minute(3)},
		{"as after kubectl scale", known, func() *appsv1.Deployment { d := scaled(16, 1, 0, ""); d.ManagedFields = nil; return d }(), minute(6)},
		{"put to zero by us", known, scaled(17, 0, 0, "idle-scaler"), minute(6)},
		{"raised by us", known, scaled(18, 1, 0, "idle-scaler"), minute(6)},
		{"first seen, not ready", restarted, scaled(20, 1, 0, "kubectl"), minute(9)},
		{"and still not", restarted, scaled(21, 1, 0, "kubectl"), minute(9)},
	} {
		now = minute(i)
		if s := step.c.put(step.d); !s.UnreadySince.Equal(step.unready) {
			t.Errorf("%s: unready since %v, want %v", step.name, s.UnreadySince, step.unready)
		}
	}
	for name, d := range map[string]*appsv1.Deployment{"at zero": scaled(30, 0, 0, "kubectl"), "ready": scaled(30, 1, 1, "kubectl"), "raised by us": scaled(30, 1, 0, "idle-scaler")} {
		if s := newTestCache(t).put(d); !s.UnreadySince.IsZero() {
			t.Errorf("first seen %s: unready since %v", name, s.UnreadySince)
		}
	}
}

// Who waits for a server hears of its next change, also of one that does not exist yet; nobody is waited for, nothing is left.
func TestWatch(t *testing.T) {
	c := newTestCache(t)
	r := c.regions[""]
	changed, stop := c.Watch(testID)
	other, stopOther := c.Watch(scaler.ID{Namespace: "team-a", Name: "other"})
	heard := func(want bool, after string) {
		t.Helper()
		select {
		case <-changed:
			if !want {
				t.Errorf("told after %s", after)
			}
		default:
			if want {
				t.Errorf("not told after %s", after)
			}
		}
	}
	heard(false, "nothing")
	r.Replace([]any{at(9, "u", 0)}, "10")
	heard(true, "it appeared")
	c.put(at(8, "u", 0))
	heard(false, "an old answer")
	for version := 11; version < 20; version++ {
		c.put(at(version, "u", 0)) // does not wait for anybody
	}
	heard(true, "several changes")
	heard(false, "several changes, once more")
	r.Delete(at(20, "u", 0))
	heard(true, "it went")
	select {
	case <-other:
		t.Error("told about another server")
	default:
	}
	stop()
	stop()
	stopOther()
	if len(c.watchers) != 0 {
		t.Errorf("left behind: %v", c.watchers)
	}
	r.Add(at(21, "v", 0))
	heard(false, "stop")
}

// What All yields to may read and write the cache, and a sweep makes no garbage for each server.
func TestAll(t *testing.T) {
	c := newTestCache(t)
	for i := range 1000 {
		d := at(i+1, "u", 0)
		d.Name = fmt.Sprint(i)
		c.put(d)
	}
	n := 0
	for s := range c.All {
		n++
		if _, ok := c.Get(s.ID); !ok {
			t.Fatal("yielded and not there")
		}
		d := at(5000+n, "u", 1)
		d.Name = s.ID.Name
		c.put(d)
	}
	if n != 1000 {
		t.Errorf("%d servers", n)
	}
	for range c.All {
		break
	}
	if garbage := testing.AllocsPerRun(10, func() {
		for s := range c.All {
			n += s.Ready
		}
	}); garbage > 1 {
		t.Errorf("%v allocations in a sweep", garbage)
	}
}
