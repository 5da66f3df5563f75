package scaler

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"idle-scaler/internal/share"
)

// priority says how urgent a pass over a server is. Lower is sooner.
type priority int

const (
	byCommand priority = iota // somebody waits for the answer
	byChange                  // something about it changed, or an instant came: it may have to wake
	bySweep                   // it may sleep as well

	priorities // how many there are
)

// queue holds the servers that need a pass, and hands them to the workers. It has the contract of
// client-go's workqueue: a key is never handed out twice at once, waiting keys are merged, keys can be
// added for later, and failures back off. It adds two rules:
//
//   - Commands come before changes, and changes before the sweep. The sweep has only some of the
//     workers, so that putting servers to sleep never delays a wake.
//   - A namespace has at most half of the workers that others leave it, and namespaces take turns. If
//     the admission webhook of one namespace is down, and each request takes half a minute, no other
//     namespace waits for it.
type queue struct {
	now func() time.Time

	mu      sync.Mutex
	added   sync.Cond
	closed  bool
	items   map[ID]*item
	waiting [priorities]roundRobin
	workers share.Places
	sweeps  share.Places // of the workers
}

// item is a server that waits for a pass, is in one, or needs one later.
type item struct {
	wanted  uint     // a bit for each priority at which it needs a pass
	queued  uint     // a bit for each priority at which it waits for a worker
	running bool     // a pass is under way
	at      priority // of the pass that is under way

	timer      *time.Timer // begins the pass that is due later
	backingOff bool        // until timer fires, only a command begins a pass
	failures   int         // in a row
}

// result says when the next pass over a server is due if nothing happens, and how urgent it is.
type result struct {
	priority priority
	requeue  bool          // at once
	at       time.Time     // then; zero: only when something happens
	backoff  time.Duration // the pass failed: again after a pause, which grows up to this
}

func requeue(p priority) result                      { return result{priority: p, requeue: true} }
func requeueAt(at time.Time, p priority) result      { return result{priority: p, at: at} }
func retry(backoff time.Duration, p priority) result { return result{priority: p, backoff: backoff} }

// sooner returns the earlier of two.
func (r result) sooner(other result) result {
	switch {
	case other.requeue || other.backoff > 0, r.at.IsZero(), !other.at.IsZero() && other.at.Before(r.at):
		return other
	}
	return r
}

func newQueue(now func() time.Time, workers, sweeps int) *queue {
	q := &queue{
		now: now, items: make(map[ID]*item),
		workers: share.Places{Most: workers}, sweeps: share.Places{Most: sweeps},
	}
	q.added.L = &q.mu
	return q
}

// add asks for a pass over a server.
func (q *queue) add(id ID, p priority) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.items[id]
	if e == nil {
		e = new(item)
		q.items[id] = e
	}
	e.wanted |= 1 << p
	q.push(id, e)
}

// push queues a server at its most urgent priority, if a pass may begin now.
func (q *queue) push(id ID, e *item) {
	if p, ok := e.next(); ok && e.queued&(1<<p) == 0 {
		e.queued |= 1 << p
		q.waiting[p].push(id)
		q.added.Signal()
	}
}

// next returns the priority of the next pass, if one may begin.
func (e *item) next() (priority, bool) {
	if e.running || e.wanted == 0 || e.backingOff && e.wanted&(1<<byCommand) == 0 {
		return 0, false
	}
	return priority(bits.TrailingZeros(e.wanted)), true
}

// get waits for a server that needs a pass, and begins the pass. It returns false once the queue is
// closed.
func (q *queue) get() (ID, priority, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		for p := range priorities {
			if id, ok := q.begin(p); ok {
				return id, p, true
			}
		}
		q.added.Wait()
	}
	return ID{}, 0, false
}

// begin begins the pass over the first server queued at a priority that may have a worker.
func (q *queue) begin(p priority) (ID, bool) {
	for {
		id, ok := q.waiting[p].pop(func(namespace string) bool {
			return q.workers.Free(namespace) && (p != bySweep || q.sweeps.Free(namespace))
		})
		if !ok {
			return ID{}, false
		}
		e := q.items[id]
		e.queued &^= 1 << p
		if next, ok := e.next(); !ok || next != p {
			continue // it is queued again after its pass, or when it has backed off
		}
		q.workers.Take(id.Namespace)
		if p == bySweep {
			q.sweeps.Take(id.Namespace)
		}
		e.wanted &^= 1 << p
		e.running, e.at = true, p
		e.stop()
		return id, true
	}
}

// done ends a pass.
func (q *queue) done(id ID, r result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.items[id]
	e.running = false
	q.workers.Return(id.Namespace)
	if e.at == bySweep {
		q.sweeps.Return(id.Namespace)
	}
	if r.backoff > 0 {
		e.failures++
		e.backingOff = true
		q.beginLater(id, e, pause(e.failures, r.backoff), r.priority)
	} else {
		e.failures = 0
	}
	if !r.at.IsZero() {
		q.beginLater(id, e, r.at.Sub(q.now()), r.priority)
	}
	if r.requeue {
		e.wanted |= 1 << r.priority
	}
	if e.wanted == 0 && e.timer == nil {
		delete(q.items, id)
	}
	q.push(id, e)
	q.added.Signal() // another server may have waited for this worker, or for the share of its namespace
}

// beginLater begins a pass after a while, unless another one begins before.
func (q *queue) beginLater(id ID, e *item, after time.Duration, p priority) {
	if q.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(max(0, after), func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if e.timer == timer {
			e.stop()
			e.wanted |= 1 << p
			q.push(id, e)
		}
	})
	e.timer = timer
}

// stop cancels the pass that is due later: the pass that begins will say again when that is.
func (e *item) stop() {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer, e.backingOff = nil, false
}

// pause returns how long a server rests after so many failures in a row. It doubles five times. It
// is up to a third shorter at random, so that servers that failed together do not try again
// together.
func pause(failures int, most time.Duration) time.Duration {
	d := most >> max(0, 6-failures)
	return d - rand.N(d/3)
}

// close ends the queue: nothing is handed out any more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, e := range q.items {
		e.stop()
	}
	q.added.Broadcast()
}

// roundRobin holds servers that wait. Their namespaces take turns.
type roundRobin struct {
	namespaces []string        // in the order of their turns
	servers    map[string][]ID // by namespace; none is empty
}

func (r *roundRobin) push(id ID) {
	if r.servers == nil {
		r.servers = make(map[string][]ID)
	}
	waiting, there := r.servers[id.Namespace]
	if !there {
		r.namespaces = append(r.namespaces, id.Namespace)
	}
	r.servers[id.Namespace] = append(waiting, id)
}

// pop takes the first server of the first namespace that may have its turn.
func (r *roundRobin) pop(may func(namespace string) bool) (ID, bool) {
	i := slices.IndexFunc(r.namespaces, may)
	if i < 0 {
		return ID{}, false
	}
	namespace := r.namespaces[i]
	r.namespaces = slices.Delete(r.namespaces, i, i+1) // those passed over stay first in turn
	waiting := r.servers[namespace]
	if len(waiting) == 1 {
		delete(r.servers, namespace)
	} else {
		r.servers[namespace] = waiting[1:]
		r.namespaces = append(r.namespaces, namespace)
	}
	return waiting[0], true
}
