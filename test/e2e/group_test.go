package e2e

import (
	"slices"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// A group is awake as long as one of it is in use. It falls asleep as a whole, in the order against
// "after". A ping or a lease to any of them wakes it as a whole, each once those before it are
// ready.
func TestAGroupSleepsAndWakesInOrder(t *testing.T) {
	w := newWorld(t)
	const delay = time.Second
	slow := podAnnotation("start-delay", delay.String())
	names := []string{"db", "api", "web"}
	w.deploy("db", annotation("group", "shop"), slow)
	w.deploy("api", annotation("group", "shop"), annotation("after", "db"), slow)
	w.deploy("web", annotation("group", "shop"), annotation("after", "api, db"))
	w.run(idle...)
	w.awaitReplicas("web", 1)
	w.deploy("alone")
	asleep := w.events()
	w.lease("db", time.Hour)
	w.ping("alone")
	asleep.next(scaler.Slept, "alone")
	for _, name := range []string{"web", "api"} {
		if s := w.awaitReason(name, policy.Grouped); s.Group == nil || s.Group.Wanted != "db" {
			t.Errorf("%s: its group is %+v", name, s.Group)
		}
		if err := w.wants(1, name); err != nil {
			t.Errorf("its group is used, and it sleeps: %v", err)
		}
	}
	asleep = w.events()
	w.lease("db", 0)
	for _, name := range names {
		asleep.next(scaler.Slept, name)
		w.awaitReplicas(name, 0)
	}
	if got := asleep.order(scaler.Slept); !slices.Equal(got, []string{"web", "api", "db"}) {
		t.Errorf("slept in the order %v", got)
	}

	awake := w.events()
	w.lease("api", time.Minute)
	for _, name := range names {
		w.awaitReplicas(name, 1)
		awake.next(scaler.Ready, name)
	}
	if got := awake.order(scaler.Woken); !slices.Equal(got, names) {
		t.Errorf("woken in the order %v", got)
	}
	for i, name := range names[1:] {
		before, woken := awake.next(scaler.Woken, names[i]), awake.next(scaler.Woken, name)
		if woken.At.Before(before.At.Add(delay)) {
			t.Errorf("%s was woken at %s, and %s at %s, which takes %s to get ready", name, woken.At, names[i], before.At, delay)
		}
	}
}
