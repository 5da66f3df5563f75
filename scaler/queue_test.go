package scaler

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func key(namespace string, n int) ID { return ID{Namespace: namespace, Name: fmt.Sprint("s", n)} }

// beginOne begins the next pass, if one may begin now.
func (q *queue) beginOne() (ID, priority, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range priorities {
		if id, ok := q.begin(p); ok {
			return id, p, true
		}
	}
	return ID{}, 0, false
}

// beginAll begins all passes that may be under way at once.
func (q *queue) beginAll() (ids []ID) {
	for {
		id, _, ok := q.beginOne()
		if !ok {
			return ids
		}
		ids = append(ids, id)
	}
}

// No pass is lost, no two passes over a server overlap, and a server that is added during its pass
// has another one after it.
func TestQueueLosesNothing(t *testing.T) {
	const servers, asks, workers = 20, 200, 8
	q := newQueue(time.Now, workers, 2)
	var mu sync.Mutex
	asked, seen, inPass := make(map[ID]int), make(map[ID]int), make(map[ID]bool)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for {
				id, _, ok := q.get()
				if !ok {
					return
				}
				mu.Lock()
				if inPass[id] {
					t.Errorf("two passes over %s are under way", id)
				}
				inPass[id], seen[id] = true, asked[id]
				mu.Unlock()
				time.Sleep(time.Microsecond)
				mu.Lock()
				inPass[id] = false
				mu.Unlock()
				q.done(id, result{})
			}
		})
	}
	var asking sync.WaitGroup
	for i := range servers {
		asking.Go(func() {
			id := key(fmt.Sprint("team-", i%3), i)
			for n := range asks {
				mu.Lock()
				asked[id]++
				mu.Unlock()
				q.add(id, priority(n)%priorities)
			}
		})
	}
	asking.Wait()
	deadline := time.Now().Add(time.Minute)
	for {
		mu.Lock()
		done := true
		for id, n := range asked {
			done = done && seen[id] == n
		}
		mu.Unlock()
		q.mu.Lock()
		done = done && len(q.items)+q.workers.Taken()+q.sweeps.Taken() == 0
		q.mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a pass is lost, or something is kept though nothing is to do")
		}
		time.Sleep(time.Millisecond)
	}
	q.close()
	running.Wait()
}

// Commands come before changes, and changes before the sweep. A server that waits for the sweep and
// gets a command has a pass for each: only that of the sweep, which has its share of the workers,
// may put it to sleep.
func TestQueueKnowsWhatIsUrgent(t *testing.T) {
	q := newQueue(time.Now, 8, 8)
	q.add(key("a", 1), bySweep)
	q.add(key("a", 2), bySweep)
	q.add(key("a", 3), byChange)
	q.add(key("a", 4), byCommand)
	q.add(key("a", 2), byCommand)
	q.add(key("a", 2), byCommand)
	for _, want := range []struct {
		n int
		p priority
	}{{4, byCommand}, {2, byCommand}, {3, byChange}, {1, bySweep}, {2, bySweep}} {
		id, p, ok := q.beginOne()
		if !ok || id != key("a", want.n) || p != want.p {
			t.Errorf("got %v at priority %v; want %+v", id, p, want)
		}
		q.done(id, result{})
	}
	if id, _, ok := q.beginOne(); ok {
		t.Errorf("%s has another pass", id)
	}
}

// The sweep has some of the workers only, and a namespace has its share of these. Other passes have
// the rest.
func TestQueueKeepsTheSweepSmall(t *testing.T) {
	q := newQueue(time.Now, 64, 16)
	for n := range 100 {
		q.add(key("slow", n), bySweep)
	}
	if n := len(q.beginAll()); n != 8 {
		t.Errorf("one namespace has %d of 16 places of the sweep, want half", n)
	}
	for n := range 100 {
		q.add(key(fmt.Sprint("team-", n), n), bySweep)
	}
	if n := len(q.beginAll()); n != 8 {
		t.Errorf("the others have %d, want those that are left", n)
	}
	q.add(key("late", 1), byChange)
	q.add(key("slow", 99), byChange)
	if got := q.beginAll(); !slices.Equal(got, []ID{key("late", 1), key("slow", 99)}) {
		t.Errorf("got %v, want the changes", got)
	}
}

// A namespace has at most half of the workers that others leave it, and namespaces take turns,
// however many of their servers wait.
func TestQueueIsFair(t *testing.T) {
	q := newQueue(time.Now, 8, 8)
	for n := range 100 {
		q.add(key("greedy", n), byCommand)
	}
	greedy := q.beginAll()
	if len(greedy) != 4 {
		t.Errorf("one namespace has %d of 8 workers, want half", len(greedy))
	}
	for n := range 3 {
		q.add(key("modest", n), byChange)
	}
	if modest := q.beginAll(); len(modest) != 2 || modest[0].Namespace != "modest" {
		t.Errorf("the other has %v, want half of the rest", modest)
	}
	q.done(greedy[0], result{})
	if got := q.beginAll(); !slices.Equal(got, []ID{key("modest", 2)}) {
		t.Errorf("a worker that gets free goes to %v, want it to go to the one that has fewer", got)
	}

	q = newQueue(time.Now, 1000, 1000)
	for n := range 3 {
		q.add(key("first", n), byChange)
	}
	q.add(key("second", 0), byChange)
	if got := q.beginAll(); len(got) != 4 || got[1].Namespace != "second" {
		t.Errorf("got %v, want that namespaces take turns", got)
	}
}

// After each failure in a row a server rests longer, up to a limit. Only a command ends a rest, and
// a success ends the row. A retry is as urgent as the failed pass.
func TestQueueBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, id := newQueue(time.Now, 2, 2), key("a", 1)
		fail := func() time.Duration {
			began := time.Now()
			q.done(id, retry(32*time.Second, byChange))
			q.add(id, byChange)
			if got, _, ok := q.beginOne(); ok {
				t.Fatalf("%s does not rest", got)
			}
			q.get()
			return time.Since(began)
		}
		q.add(id, byChange)
		q.get()
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 32} {
			want *= time.Second
			if rest := fail(); rest > want || rest < want*2/3 {
				t.Errorf("it rests %s, want up to a third less than %s", rest, want)
			}
		}
		q.done(id, retry(32*time.Second, byChange))
		q.add(id, byCommand)
		if _, _, ok := q.beginOne(); !ok {
			t.Error("a command does not end the rest")
		}
		q.done(id, result{})
		q.add(id, byChange)
		q.get()
		if rest := fail(); rest > time.Second {
			t.Errorf("it rests %s after its first failure in a row", rest)
		}
		q.done(id, retry(time.Second, byCommand))
		for n := range 10 {
			q.add(key("a", 100+n), byChange)
		}
		time.Sleep(time.Minute)
		if got, _, _ := q.beginOne(); got != id {
			t.Errorf("%v comes before what a command has tried before", got)
		}
		q.close()
	})
}

// A pass that is due at an instant begins by itself, once: a pass before it says again when the
// next is due.
func TestQueueBeginsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, id := newQueue(time.Now, 2, 2), key("a", 1)
		began := time.Now()
		q.add(id, byChange)
		q.get()
		q.done(id, requeueAt(began.Add(time.Hour), bySweep))
		if _, p, _ := q.get(); p != bySweep || time.Since(began) != time.Hour {
			t.Errorf("after %s, priority %v; want that of the sweep, after 1h", time.Since(began), p)
		}
		q.done(id, requeueAt(began.Add(2*time.Hour), bySweep))
		q.add(id, byChange)
		q.get()
		q.done(id, requeueAt(began.Add(3*time.Hour), byChange))
		if _, p, _ := q.get(); p != byChange || time.Since(began) != 3*time.Hour {
			t.Errorf("after %s, priority %v; want that of a change, after 3h", time.Since(began), p)
		}
		q.done(id, requeue(byCommand))
		if _, p, ok := q.beginOne(); !ok || p != byCommand {
			t.Error("there is no pass at once")
		}
		q.done(id, result{})
		if len(q.items) > 0 {
			t.Error("the server is kept, and nothing is due")
		}
		q.add(id, byChange)
		q.get()
		q.done(id, requeueAt(began.Add(24*time.Hour), byChange))
		q.close()
		if _, _, ok := q.get(); ok {
			t.Error("a pass begins after the end")
		}
	})
}

// However often a server asks for passes while its namespace has no worker, it waits once.
func TestQueueDoesNotGrow(t *testing.T) {
	q := newQueue(time.Now, 4, 2)
	for n := range 10 {
		q.add(key("a", n), bySweep)
	}
	q.beginAll()
	for range 1000 {
		q.add(key("a", 9), byCommand)
		if id, _, ok := q.beginOne(); ok {
			q.done(id, result{})
		}
	}
	for p := range priorities {
		if n := len(q.waiting[p].servers["a"]); n > 10 {
			t.Errorf("%d stand in line %d", n, p)
		}
	}
}
