package kube

import (
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"idle-scaler/scaler"
)

// mirror is a part of the Cache that a list and watch fills, of objects that say something about servers and that nobody here writes:
// what the watch says last counts. Of most objects nothing is kept.
type mirror[V any] struct {
	cache *Cache
	trim  cache.TransformFunc
	keep  func(obj any) (value V, wanted bool)
	same  func(a, b V) bool

	// Guarded by the cache's mu.
	synced bool
	known  map[scaler.ID]V // by the object's own namespace and name
	after  func()          // called when known has changed, before the servers see it
}

// Add, Update, Delete, Replace and Resync are called by the Reflector, in the order of versions.

func (m *mirror[V]) Add(obj any) error { return m.Update(obj) }

func (m *mirror[V]) Update(obj any) error {
	value, wanted := m.keep(obj)
	return m.set(obj, value, wanted)
}

func (m *mirror[V]) Delete(obj any) error {
	var nothing V
	return m.set(obj, nothing, false)
}

func (m *mirror[V]) set(obj any, value V, wanted bool) error {
	id, err := idOf(obj)
	if err != nil {
		return err
	}
	return m.change(func() bool {
		former, known := m.known[id]
		if known == wanted && (!known || m.same(former, value)) {
			return false
		}
		if wanted {
			if m.known == nil {
				m.known = make(map[scaler.ID]V)
			}
			m.known[id] = value
		} else {
			delete(m.known, id)
		}
		return true
	})
}

// Replace takes in a list of all objects.
func (m *mirror[V]) Replace(list []any, _ string) error {
	listed := make(map[scaler.ID]V)
	for _, obj := range list {
		id, err := idOf(obj)
		if err != nil {
			return err
		}
		if value, wanted := m.keep(obj); wanted {
			listed[id] = value
		}
	}
	return m.change(func() bool {
		first := !m.synced
		m.synced = true
		if !first && maps.EqualFunc(m.known, listed, m.same) {
			return false
		}
		for id, former := range m.known { // what is the same stays the same for those who refer to it
			if value, there := listed[id]; there && m.same(former, value) {
				listed[id] = former
			}
		}
		m.known = listed
		return true
	})
}

// change does something to what is known, and lets the servers see it.
func (m *mirror[V]) change(do func() (changed bool)) error {
	c := m.cache
	var renewed []scaler.ID
	c.mu.Lock()
	if do() {
		m.after()
		renewed = c.renew()
	}
	c.mu.Unlock()
	for _, id := range renewed {
		c.OnChange(id)
	}
	return nil
}

func (m *mirror[V]) Resync() error { return nil }

// Transformer makes the Reflector trim what it lists before it has it all.
func (m *mirror[V]) Transformer() cache.TransformFunc { return m.trim }

func idOf(obj any) (scaler.ID, error) {
	object, ok := obj.(metav1.Object)
	if !ok {
		return scaler.ID{}, fmt.Errorf("not an object of Kubernetes: %T", obj)
	}
	return scaler.ID{Namespace: object.GetNamespace(), Name: object.GetName()}, nil
}
