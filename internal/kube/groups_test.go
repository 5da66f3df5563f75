package kube

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"idle-scaler/scaler"
)

// The servers of a group are those that Get returns and that say so, in order of name, whatever was put, dropped and written anew; and
// to ask again costs nothing as long as nothing has changed.
func TestGroup(t *testing.T) {
	c := newTestCache(t)
	r := c.regions[""]
	elsewhere(c, "team-a", "team-b")
	random := rand.New(rand.NewPCG(1, 2))
	const servers = 12
	deployment := func(version int) *appsv1.Deployment {
		d := settled(fmt.Sprintf("s%02d", random.IntN(servers)), version, nil)
		if d.Namespace = "team-a"; random.IntN(3) == 0 {
			d.Namespace = "team-b"
		}
		if group := random.IntN(4); group > 0 {
			d.Annotations = annotated(map[string]string{"group": fmt.Sprint("g", group)})
		}
		return d
	}
	for version := 1; version < 2000; version++ {
		switch d := deployment(version); random.IntN(4) {
		case 0:
			r.Delete(d)
		default:
			r.Update(d)
		}
		for _, namespace := range []string{"team-a", "team-b", "team-c"} {
			for _, name := range []string{"g1", "g2", "g3", "none", ""} {
				var want []*scaler.Server
				for i := range servers {
					s, ok := c.Get(scaler.ID{Namespace: namespace, Name: fmt.Sprintf("s%02d", i)})
					if ok && name != "" && s.Settings.Group == name {
						want = append(want, s)
					}
				}
				if got := c.Group(namespace, name); !slices.Equal(got, want) {
					t.Fatalf("after %d changes, %s/%s: %d servers, want %d", version, namespace, name, len(got), len(want))
				}
			}
		}
	}
	if garbage := testing.AllocsPerRun(10, func() { c.Group("team-a", "g1") }); garbage > 0 {
		t.Errorf("%v allocations", garbage)
	}
	for i := range servers {
		for _, namespace := range []string{"team-a", "team-b"} {
			d := settled(fmt.Sprintf("s%02d", i), 3000+i, nil)
			d.Namespace = namespace
			r.Delete(d)
		}
	}
	if len(c.groups) > 0 {
		t.Errorf("left behind: %v", c.groups)
	}
}
