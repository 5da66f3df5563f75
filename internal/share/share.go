// Package share divides what is bounded among namespaces, so that the trouble of one delays no
// other.
package share

import "sync"

// Places are bounded. A namespace has at most half of those that the others leave it. The zero
// value has none. All methods may be called concurrently.
type Places struct {
	Most int

	mu     sync.Mutex
	taken  int
	inEach map[string]int // by namespace
}

// Take takes a place, if the namespace may have one.
func (p *Places) Take(namespace string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.free(namespace) {
		return false
	}
	if p.inEach == nil {
		p.inEach = make(map[string]int)
	}
	p.inEach[namespace]++
	p.taken++
	return true
}

// Free reports whether the namespace may have a place.
func (p *Places) Free(namespace string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.free(namespace)
}

func (p *Places) free(namespace string) bool { return p.inEach[namespace] < p.Most-p.taken }

// Return gives a place back.
func (p *Places) Return(namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.inEach[namespace]--; p.inEach[namespace] == 0 {
		delete(p.inEach, namespace)
	}
}

// Taken returns how many places are taken.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}
