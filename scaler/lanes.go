package scaler

import "sync"

// lanes run functions one after the other for each server, and servers in parallel. A lane exists only while
// it has work, so servers that come and go leave nothing behind.
type lanes struct {
	mu      sync.Mutex
	queues  map[ID][]func()
	running sync.WaitGroup
}

// run appends f to the server's lane.
func (l *lanes) run(id ID, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queues == nil {
		l.queues = make(map[ID][]func())
	}
	queue, busy := l.queues[id]
	l.queues[id] = append(queue, f)
	if !busy {
		l.running.Go(func() { l.work(id) })
	}
}

// busy reports whether there is work in the server's lane.
func (l *lanes) busy(id ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, busy := l.queues[id]
	return busy
}

// work runs what is in the server's lane until it is empty.
func (l *lanes) work(id ID) {
	for {
		l.mu.Lock()
		queue := l.queues[id]
		if len(queue) == 0 {
			delete(l.queues, id)
			l.mu.Unlock()
			return
		}
		f := queue[0]
		queue[0] = nil // the closure may hold a payload
		l.queues[id] = queue[1:]
		l.mu.Unlock()
		f()
	}
}

// wait returns when all lanes are empty. No run may be called meanwhile.
func (l *lanes) wait() { l.running.Wait() }
