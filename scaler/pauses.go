package scaler

import (
	"sync"

	"idle-scaler/policy"
)

// Pauses are the orders that nothing is put to sleep: one server, a namespace, or all. All methods
// may be called concurrently.
type Pauses struct {
	mu sync.RWMutex
	in map[ID]policy.Pause // an ID without a name is a namespace, one without either is all
}

// NewPauses returns Pauses without any.
func NewPauses() *Pauses { return &Pauses{in: make(map[ID]policy.Pause)} }

// Set pauses a server, a namespace (an ID without a name), or all (the zero ID). A pause without
// Scope ends it.
func (p *Pauses) Set(scope ID, pause policy.Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pause.Scope == "" {
		delete(p.in, scope)
		return
	}
	p.in[scope] = pause
}

// Of returns the widest pause that holds for a server, a zero one when there is none.
func (p *Pauses) Of(id ID) policy.Pause {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(p.in) == 0 { // almost always, and every sweep asks for every server
		return policy.Pause{}
	}
	for _, scope := range [...]ID{{}, {Namespace: id.Namespace}, id} {
		if pause, paused := p.in[scope]; paused {
			return pause
		}
	}
	return policy.Pause{}
}
