package scaler

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// The fakes of this file stand for the pods and the bus, as fakeCluster does for the cluster. They
// do what the real ones do in a world of compare-and-set; what the real ones do beyond that is
// tested on the real servers, in internal and test/e2e.

// fakePods send what the test diagnoses, and count the kills.
type fakePods struct {
	diagnoses chan Diagnosis
	killing   func() // what happens while pods are killed
	err       error  // of each kill

	mu     sync.Mutex
	killed []ID
}

func (p *fakePods) Diagnose(ctx context.Context, _ *Server) <-chan Diagnosis {
	diagnoses := make(chan Diagnosis)
	go func() {
		defer close(diagnoses)
		for {
			select {
			case d := <-p.diagnoses:
				diagnoses <- d
			case <-ctx.Done():
				return
			}
		}
	}()
	return diagnoses
}

func (p *fakePods) Kill(_ context.Context, s *Server) error {
	if p.killing != nil {
		p.killing()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = append(p.killed, s.ID)
	return p.err
}

// fakeBus is Events and ActivityLog. It keeps what was published, and can be away.
type fakeBus struct {
	mu    sync.Mutex
	away  error
	kept  []Event
	known map[string]bool
	prove func() // what happens while the log is asked
	takes map[EventType]time.Duration
}

func (b *fakeBus) Publish(_ context.Context, e Event) error {
	time.Sleep(b.takes[e.Type])
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away == nil {
		b.kept = append(b.kept, e)
	}
	return b.away
}
func (b *fakeBus) Known(context.Context) (map[string]bool, error) { return b.known, nil }

func (b *fakeBus) setAway(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = err
}

func (b *fakeBus) Prove(context.Context) error {
	if b.prove != nil {
		b.prove()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.away
}

func (b *fakeBus) types() (types []EventType) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.kept {
		types = append(types, e.Type)
	}
	return types
}

type noMeter struct{ events, panics, misSleeps, wouldMisSleep, ready atomic.Int32 }

func (m *noMeter) Event(Event) { m.events.Add(1) }
func (*noMeter) Swept(Sweep)   {}
func (m *noMeter) Panic()      { m.panics.Add(1) }
func (m *noMeter) Wake(phase string, _ time.Duration) {
	if phase == "ready" {
		m.ready.Add(1)
	}
}

func (m *noMeter) MisSlept(dryRun bool) {
	if dryRun {
		m.wouldMisSleep.Add(1)
	} else {
		m.misSleeps.Add(1)
	}
}
