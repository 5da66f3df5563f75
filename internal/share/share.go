// Package share divides what is bounded among namespaces, so that the trouble of one delays no other.
package share

// Places are bounded. A namespace has at most half of those that the others leave it. The zero value has none.
//
// Concurrency: none of its own. Its owner has a lock.
type Places struct {
	Most int

	taken  int
	inEach map[string]int // by namespace
}

// Take takes a place, if the namespace may have one.
func (p *Places) Take(namespace string) bool {
	if !p.Free(namespace) {
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
func (p *Places) Free(namespace string) bool { return p.inEach[namespace] < p.Most-p.taken }

// Return gives a place back.
func (p *Places) Return(namespace string) {
	p.taken--
	if p.inEach[namespace]--; p.inEach[namespace] == 0 {
		delete(p.inEach, namespace)
	}
}

// Taken is how many places are taken.
func (p *Places) Taken() int { return p.taken }
