package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// chain makes a group of three: web comes after api, api after db. Those before others take a while to get ready.
func (b *bench) chain(delay time.Duration) []string {
	b.t.Helper()
	slow := podAnnotation("start-delay", delay.String())
	b.deploy("db", annotation("group", "shop"), slow)
	b.deploy("api", annotation("group", "shop"), annotation("after", "db"), slow)
	b.deploy("web", annotation("group", "shop"), annotation("after", "api, db"))
	return []string{"db", "api", "web"}
}

// order returns the names in the order in which what events of a type tell has happened for the first time.
func (e *events) order(kind scaler.EventType) (names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	inTime := slices.SortedStableFunc(slices.Values(e.seen), func(a, b scaler.Event) int { return a.At.Compare(b.At) }) // each is told by itself
	for _, event := range inTime {
		if name := event.Server.Name; event.Type == kind && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// A group is awake as long as one of it is in use; it falls asleep as a whole, in the order against "after", and wakes as a whole in that
// order, each once those before it are ready: by a ping to any of them.
func TestAGroupSleepsAndWakesInOrder(t *testing.T) {
	b := newBench(t)
	const delay = time.Second
	names := b.chain(delay)
	b.run(idle...)
	b.awaitReplicas("web", 1)
	b.deploy("alone")
	asleep := b.events()
	b.lease("db", time.Hour)
	b.ping("alone")
	asleep.next(scaler.Slept, "alone")
	for _, name := range []string{"web", "api"} {
		if s := b.awaitReason(name, policy.Grouped); s.Group == nil || s.Group.Wanted != "db" {
			t.Errorf("%s: its group is %+v", name, s.Group)
		}
		if err := b.staysAt(name, 1)(); err != nil {
			t.Errorf("its group is used, and it sleeps: %v", err)
		}
	}
	b.lease("db", 0)
	for _, name := range names {
		asleep.next(scaler.Slept, name)
		b.awaitReplicas(name, 0)
	}
	if got := slices.DeleteFunc(asleep.order(scaler.Slept), func(name string) bool { return name == "alone" }); !slices.Equal(got, []string{"web", "api", "db"}) {
		t.Errorf("slept in the order %v", got)
	}

	awake := b.events()
	b.lease("api", time.Minute)
	for _, name := range names {
		b.awaitReplicas(name, 1)
		awake.next(scaler.Ready, name)
	}
	if got := awake.order(scaler.Woken); !slices.Equal(got, names) {
		t.Errorf("woken in the order %v", got)
	}
	for i, name := range names[1:] {
		before, woken := awake.next(scaler.Woken, names[i]), awake.next(scaler.Woken, name)
		if woken.At.Before(before.At.Add(delay)) {
			t.Errorf("%s was woken at %s, and %s, which was not ready before %s later, at %s", name, woken.At, names[i], delay, before.At)
		}
	}
}

// A start of one that comes after others is one command with one answer: it waits until those are ready. It lasts over a restart.
func TestAStartWaitsForThoseBefore(t *testing.T) {
	b := newBench(t)
	names := b.chain(4 * time.Second)
	b.run(idle...)
	b.awaitReplicas("web", 1)
	b.ping("web")
	for _, name := range names {
		b.awaitReplicas(name, 0)
	}
	awake := b.events()
	_, err := b.Start(t.Context(), b.id("web"), 500*time.Millisecond, wire.Sender{Actor: "ann"})
	refused(t, err, 504, "api")
	b.kill()
	b.run(append(idle, "--idle-after", "1h")...)
	a, err := b.Start(t.Context(), b.id("web"), patience, wire.Sender{Actor: "bob"})
	if err != nil || a.Server == nil || a.Server.Status != "running" {
		t.Fatalf("answered %+v, %v", a, err)
	}
	if got := awake.order(scaler.Woken); !slices.Equal(got, names) {
		t.Errorf("woken in the order %v", got)
	}
	// A stop is for the one that it names.
	b.order("stop", "web", "")
	b.awaitReplicas("web", 0)
	consistently(t, 2*time.Second, "stopped with another, or woken by its group", func() error {
		for name, want := range map[string]int32{"web": 0, "api": 1, "db": 1} {
			if err := b.staysAt(name, want)(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Servers that come after each other in a circle, or after one that is not there, are told so and stay awake.
func TestAnOrderThatCannotBeKept(t *testing.T) {
	b := newBench(t)
	b.deploy("hen", annotation("group", "farm"), annotation("after", "egg"))
	b.deploy("egg", annotation("group", "farm"), annotation("after", "hen"))
	b.deploy("lost", annotation("group", "other"), annotation("after", "nobody"))
	b.deploy("plain")
	events := b.events()
	b.run(idle...)
	b.ping("plain")
	events.next(scaler.Slept, "plain")
	for name, says := range map[string]string{"hen": "hen after egg after hen", "egg": "egg after hen after egg", "lost": "nobody"} {
		s := b.awaitReason(name, policy.Unreadable)
		if !strings.Contains(s.Decision.Text, says) {
			t.Errorf("%s says %q, want %q", name, s.Decision.Text, says)
		}
		if e := events.next(scaler.Unreadable, name); !strings.Contains(e.Text, says) {
			t.Errorf("told %+v", e)
		}
	}
	consistently(t, 3*time.Second, "asleep", func() error {
		for _, name := range []string{"hen", "egg", "lost"} {
			if err := b.staysAt(name, 1)(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}
