package natsconn

import (
	"sync"

	"github.com/nats-io/nats.go"
)

// Drops counts the messages that connections dropped because they came faster than they were
// handled. All methods may be called concurrently.
//
// nats.go reports only the first of many drops, but counts the drops of each subscription. So Drops
// keeps the subscriptions that were too slow, which are few, and asks for their counts each time.
type Drops struct {
	mu    sync.Mutex
	total uint64
	slow  map[*nats.Subscription]int // how many drops of each are in the total
}

// note adds a subscription that was too slow.
func (d *Drops) note(sub *nats.Subscription) {
	if d == nil || sub == nil {
		return
	}
	d.mu.Lock()
	if d.slow == nil {
		d.slow = make(map[*nats.Subscription]int)
	}
	d.slow[sub] += 0
	d.mu.Unlock()
	d.Count() // now, because an ended subscription has no count
}

// Count returns how many messages were dropped so far.
func (d *Drops) Count() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	for sub, counted := range d.slow {
		n, err := sub.Dropped()
		if err != nil { // it has ended, and drops no more
			delete(d.slow, sub)
			continue
		}
		d.total += uint64(n - counted)
		d.slow[sub] = n
	}
	return d.total
}
