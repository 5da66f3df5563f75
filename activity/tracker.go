package activity

import (
	"sync"
	"time"
)

// ID names one server: a Deployment. It stands here because this package imports no other.
type ID struct{ Namespace, Name string }

func (id ID) String() string { return id.Namespace + "/" + id.Name }

// Stamp is the place of one message in a stream. The sequence alone is not enough: a stream that was
// deleted and made again counts from 1.
type Stamp struct {
	Sequence uint64
	Time     time.Time // by the clock of the stream
}

// Equal reports whether s and t name the same message.
func (s Stamp) Equal(t Stamp) bool { return s.Sequence == t.Sequence && s.Time.Equal(t.Time) }

// IsZero reports whether s names no message.
func (s Stamp) IsZero() bool { return s.Sequence == 0 && s.Time.IsZero() }

// OlderThan reports whether s came before t. Both the sequence and the time have to say so: in a
// stream that was made again a new message has a lower sequence, and after a clock was set back an
// earlier time.
func (s Stamp) OlderThan(t Stamp) bool { return s.Sequence < t.Sequence && !s.Time.After(t.Time) }

// Lease is a promise of a holder (a gateway, a session) to use a server until an instant.
type Lease struct {
	Holder string
	Since  time.Time // when it was begun or last renewed
	Until  time.Time
}

// Use is what is known of the use of one server. The zero Use is that of a server without any.
type Use struct {
	Last       Stamp     // of the last ping
	LeaseSince time.Time // when the lease that ends last was begun or renewed; says nothing once all have ended
	LeaseUntil time.Time // the latest end of a lease, in the past once all have ended
}

// Leased reports whether a lease is live at now.
func (u Use) Leased(now time.Time) bool { return u.LeaseUntil.After(now) }

// Tracker knows when each server was last used, as far as the activity log says. All its instants are
// by the Clock of the log. All methods may be called concurrently.
type Tracker struct {
	settle time.Duration

	mu       sync.RWMutex
	uses     map[ID]*use
	coverage coverage
	tidied   time.Time // when uses were last looked through for those that are long over
}

type use struct {
	last   Stamp
	leases map[string]Lease // by holder: the live ones, and at most as many, or fewLeases, that have ended
	drop   int              // how many messages about leases may come before those that have ended are dropped
}

// fewLeases are not worth looking for those that have ended.
const fewLeases = 16

// NewTracker returns a Tracker that is blind until it has caught up with the log. For settle after
// that silence still proves nothing: publishers need it to reconnect and send what they kept.
func NewTracker(settle time.Duration) *Tracker {
	return &Tracker{
		settle: settle, uses: make(map[ID]*use), coverage: coverage{why: "the activity log has not been read yet"},
	}
}

// Ping records that the server was used. An older ping than the one known changes nothing.
func (t *Tracker) Ping(id ID, at Stamp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.use(id); !at.OlderThan(u.last) {
		u.last = at
	}
}

// Lease records that the holder will use the server for ttl, counted from since. A ttl of 0 ends it.
// The newest message of a holder counts, also when it shortens the lease.
func (t *Tracker) Lease(id ID, holder string, since time.Time, ttl time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.use(id)
	if since.Before(u.leases[holder].Since) {
		return
	}
	if u.leases == nil {
		u.leases = make(map[string]Lease)
	}
	u.leases[holder] = Lease{Holder: holder, Since: since, Until: since.Add(max(0, ttl))}
	if u.drop--; u.drop <= 0 {
		u.dropEnded(since)
	}
}

// dropEnded forgets the leases that ended before now: holders come and go for as long as the daemon
// runs. The rest gets a new map, because one that was large once takes long to look through.
func (u *use) dropEnded(now time.Time) {
	live := make(map[string]Lease)
	for holder, l := range u.leases {
		if l.Until.Before(now) {
			continue // nothing misses its end: the newest lease ends later
		}
		live[holder] = l
	}
	u.leases, u.drop = live, len(live)+fewLeases
}

func (t *Tracker) use(id ID) *use {
	u := t.uses[id]
	if u == nil {
		u = &use{}
		t.uses[id] = u
	}
	return u
}

// longOver is after how much silence a use is forgotten: a day later than the log forgets it, so that
// it does not come again, and later than any decision depends on it. A forgotten use is never demand.
const longOver = 33 * 24 * time.Hour

// tidy forgets, once a day, the uses that are long over: servers come and go for as long as the daemon runs.
func (t *Tracker) tidy(now time.Time) {
	if since := now.Sub(t.tidied); since >= 0 && since < 24*time.Hour {
		return
	}
	t.tidied = now
	past := t.coverage.at(now)
	for id, u := range t.uses {
		last := u.last.Time
		for _, l := range u.leases {
			last = latest(last, l.Until)
		}
		if now.Sub(last) >= longOver && past.Idle(last, now) >= longOver { // the first is cheap, and mostly false
			delete(t.uses, id)
		}
	}
}

// Of returns what is known of the use of a server.
func (t *Tracker) Of(id ID) Use {
	t.mu.RLock()
	defer t.mu.RUnlock()
	u := t.uses[id]
	if u == nil {
		return Use{}
	}
	use := Use{Last: u.last}
	for _, l := range u.leases {
		if l.Until.After(use.LeaseUntil) || l.Until.Equal(use.LeaseUntil) && l.Since.Before(use.LeaseSince) {
			use.LeaseSince, use.LeaseUntil = l.Since, l.Until
		}
	}
	return use
}

// Leases returns the leases on a server that are live at now, in no order.
func (t *Tracker) Leases(id ID, now time.Time) []Lease {
	t.mu.RLock()
	defer t.mu.RUnlock()
	u := t.uses[id]
	if u == nil {
		return nil
	}
	var live []Lease
	for _, l := range u.leases {
		if l.Until.After(now) {
			live = append(live, l)
		}
	}
	return live
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
