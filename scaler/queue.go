package scaler

import (
	"math/rand/v2"
	"sync"
	"time"
)

// level says how urgent a pass over a server is. Lower is sooner.
type level int

const (
	byCommand level = iota // somebody waits for the answer
	byChange               // something about it changed, or an instant came: it may have to wake
	bySweep                // it may sleep as well
	never                  // no pass
)

// queue holds the servers that need a pass, and hands them to the workers. It has the contract of
// client-go's workqueue: a key is never handed out twice at once, waiting keys are merged, keys can be
// added for later, and failures back off. Two things that one lacks are built in:
//
//   - Commands come before changes, and changes before the sweep. The sweep has only some of the workers,
//     so that putting servers to sleep never delays a wake.
//   - A namespace has at most half of the workers that others leave it, and namespaces take turns. A
//     namespace whose admission webhook is down, so that each request takes half a minute, delays no other.
type queue struct {
	now     func() time.Time
	workers int // how many passes there are at once
	sweeps  int // how many of them may be of the sweep

	mu      sync.Mutex
	added   sync.Cond
	closed  bool
	items   map[ID]*item
	waiting [never]turns
	passes  [never]int     // under way
	inPass  map[string]int // passes under way by namespace
}

// item is a server that waits for a pass, is in one, or needs one later.
type item struct {
	waits    level // of the pass that it waits for; while one is under way, of the one after that
	inPass   level // of the pass that is under way
	maySleep bool  // in the next pass

	later    *time.Timer // begins the pass that comes by itself
	rests    bool        // after a failure: until later goes off, only a command begins a pass
	failures int         // in a row
}

// next says when the next pass over a server is due, if nothing happens.
type next struct {
	now      bool          // commands wait for it
	at       time.Time     // zero: only when something happens
	maySleep bool          // at that instant
	failed   time.Duration // the pass failed: again after a pause, which grows up to this; 0: it did not
}

func newQueue(now func() time.Time, workers, sweeps int) *queue {
	q := &queue{now: now, workers: workers, sweeps: sweeps, items: make(map[ID]*item), inPass: make(map[string]int)}
	q.added.L = &q.mu
	return q
}

// add asks for a pass over a server.
func (q *queue) add(id ID, l level) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(id, l, l == bySweep)
}

func (q *queue) push(id ID, l level, maySleep bool) {
	e := q.items[id]
	if e == nil {
		e = &item{waits: never, inPass: never}
		q.items[id] = e
	}
	e.maySleep = e.maySleep || maySleep
	if e.rests && l > byCommand || l >= e.waits {
		return
	}
	e.waits = l
	if e.inPass == never {
		q.line(id, l)
	}
}

// line puts a server in line. It may be in one of a later level already: see take.
func (q *queue) line(id ID, l level) {
	q.waiting[l].push(id)
	q.added.Signal()
}

// get waits for a server that needs a pass, and begins the pass. It returns false once the queue is closed.
func (q *queue) get() (id ID, maySleep, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		if id, maySleep, ok = q.begin(); ok {
			return id, maySleep, true
		}
		q.added.Wait()
	}
	return ID{}, false, false
}

// begin begins the pass over the first server in line that may have a worker.
func (q *queue) begin() (id ID, maySleep, ok bool) {
	id, e := q.take()
	if e == nil {
		return ID{}, false, false
	}
	maySleep, e.maySleep = e.maySleep, false
	e.inPass, e.waits = e.waits, never
	q.passes[e.inPass]++
	q.inPass[id.Namespace]++
	e.stop()
	return id, maySleep, true
}

// take takes that server out of its line.
func (q *queue) take() (ID, *item) {
	free := q.workers
	for _, n := range q.passes {
		free -= n
	}
	mayHaveOne := func(namespace string) bool { return q.inPass[namespace] < free }
	for l := range never {
		if l == bySweep && q.passes[bySweep] >= q.sweeps {
			break
		}
		for {
			id, ok := q.waiting[l].pop(mayHaveOne)
			if !ok {
				break
			}
			if e := q.items[id]; e != nil && e.waits == l && e.inPass == never { // else it was moved up, and had its pass
				return id, e
			}
		}
	}
	return ID{}, nil
}

// done ends a pass.
func (q *queue) done(id ID, n next) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.items[id]
	q.passes[e.inPass]--
	if q.inPass[id.Namespace]--; q.inPass[id.Namespace] == 0 {
		delete(q.inPass, id.Namespace)
	}
	e.inPass = never
	if n.failed > 0 {
		e.failures++
		q.beginLater(id, e, pause(e.failures, n.failed), n.maySleep)
		e.rests = true
		if e.waits > byCommand {
			e.waits = never // what came meanwhile waits, too
		}
	} else {
		e.failures = 0
		if !n.at.IsZero() {
			q.beginLater(id, e, n.at.Sub(q.now()), n.maySleep)
		}
	}
	if n.now {
		e.waits = byCommand
	}
	switch {
	case e.waits != never:
		q.line(id, e.waits)
	case e.later == nil:
		delete(q.items, id)
	}
	q.added.Signal() // its worker, or its namespace's share, may be what another waited for
}

// beginLater begins a pass after a while, unless another one begins before.
func (q *queue) beginLater(id ID, e *item, after time.Duration, maySleep bool) {
	if q.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(max(0, after), func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if e.later == timer {
			e.stop()
			l := byChange
			if maySleep {
				l = bySweep
			}
			q.push(id, l, maySleep)
		}
	})
	e.later = timer
}

// stop takes back the pass that comes by itself: one that begins will say anew when that is.
func (e *item) stop() {
	if e.later != nil {
		e.later.Stop()
	}
	e.later, e.rests = nil, false
}

// pause is how long a server rests after so many failures in a row. It doubles five times, and is up to a
// third shorter for some, so that those that failed together don't try again together.
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

// turns are servers in line, of which each namespace has its turn.
type turns struct {
	namespaces []string        // in the order of their turns
	lines      map[string][]ID // by namespace; none is empty
}

func (t *turns) push(id ID) {
	if t.lines == nil {
		t.lines = make(map[string][]ID)
	}
	line, there := t.lines[id.Namespace]
	if !there {
		t.namespaces = append(t.namespaces, id.Namespace)
	}
	t.lines[id.Namespace] = append(line, id)
}

// pop takes the first server of the first namespace that may have its turn.
func (t *turns) pop(may func(namespace string) bool) (ID, bool) {
	for i, namespace := range t.namespaces {
		if !may(namespace) {
			continue
		}
		line := t.lines[namespace]
		copy(t.namespaces[1:i+1], t.namespaces[:i]) // those passed over stay first in turn
		t.namespaces = t.namespaces[1:]
		if len(line) == 1 {
			delete(t.lines, namespace)
		} else {
			t.lines[namespace] = line[1:]
			t.namespaces = append(t.namespaces, namespace)
		}
		return line[0], true
	}
	return ID{}, false
}
