package activity

import (
	"sync"
	"time"
)

// ID names one server: a Deployment. It is defined here because this package imports no other.
type ID struct{ Namespace, Name string }

func (id ID) String() string { return id.Namespace + "/" + id.Name }

// Stamp identifies one message of a stream. The sequence alone does not: a stream that was deleted
// and created again counts from 1.
type Stamp struct {
	Sequence uint64
	Time     time.Time // by the clock of the stream
}

// Equal reports whether s and t name the same message.
func (s Stamp) Equal(t Stamp) bool { return s.Sequence == t.Sequence && s.Time.Equal(t.Time) }

// IsZero reports whether s names no message.
func (s Stamp) IsZero() bool { return s.Sequence == 0 && s.Time.IsZero() }

// OlderThan reports whether s came before t. Both the sequence and the time have to say so: a new
// message has a lower sequence in a stream that was created again, and an earlier time after
// somebody set the clock back.
func (s Stamp) OlderThan(t Stamp) bool { return s.Sequence < t.Sequence && !s.Time.After(t.Time) }

// Lease is the promise of a holder (a gateway, a session) to use a server until an instant.
type Lease struct {
	Holder string
	Since  time.Time // when it began or was last renewed
	Until  time.Time
}

// Use says when a server was last used. The zero Use belongs to a server that never was.
type Use struct {
	Last       Stamp     // of the last ping
	LeaseSince time.Time // when the lease that ends last began or was renewed; meaningless once all have ended
	LeaseUntil time.Time // the latest end of a lease, in the past once all have ended
}

// Leased reports whether a lease is live at now.
func (u Use) Leased(now time.Time) bool { return u.LeaseUntil.After(now) }

// Tracker knows when each server was last used, by the activity log. All its instants are by the
// Clock of the log. All methods may be called concurrently.
type Tracker struct {
	settle time.Duration

	mu       sync.RWMutex
	uses     map[ID]*use
	coverage coverage
	forgotAt time.Time // when forgetOld last searched uses
}

type use struct {
	last   Stamp
	leases map[string]Lease // by holder: the live ones, and at most as many or fewLeases that have ended
	drop   int              // how many more messages about leases may come before dropEnded is called
}

// fewLeases is how many messages about leases come between two calls of dropEnded, at least.
const fewLeases = 16

// NewTracker returns a Tracker that is blind until CaughtUp is called, and for settle after that:
// publishers need the time to reconnect and to send the pings that they kept.
func NewTracker(settle time.Duration) *Tracker {
	return &Tracker{
		settle: settle, uses: make(map[ID]*use), coverage: coverage{reason: "the activity log has not been read yet"},
	}
}

// Ping records that the server was used. A ping that is older than the last one changes nothing.
func (t *Tracker) Ping(id ID, at Stamp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.use(id); !at.OlderThan(u.last) {
		u.last = at
	}
}

// Lease records that the holder uses the server for ttl, counted from since. A ttl of 0 ends the
// lease. The newest message of a holder counts, also when it shortens the lease.
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
// runs. The others get a new map, because Go never shrinks one, and to range over it takes long.
func (u *use) dropEnded(now time.Time) {
	live := make(map[string]Lease)
	for holder, l := range u.leases {
		if l.Until.Before(now) {
			continue // LeaseUntil does not change: the newest lease ends later
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

// forgetAfter is how long a server is unused before the Tracker forgets its last use. The log
// forgets it a day earlier, so a replay does not bring it back, and no decision depends on a use
// that old. A forgotten use is never demand.
const forgetAfter = 33 * 24 * time.Hour

// forgetOld forgets old uses, once a day: servers come and go for as long as the daemon runs.
func (t *Tracker) forgetOld(now time.Time) {
	if since := now.Sub(t.forgotAt); since >= 0 && since < 24*time.Hour {
		return
	}
	t.forgotAt = now
	coverage := t.coverage.at(now)
	for id, u := range t.uses {
		last := u.last.Time
		for _, l := range u.leases {
			last = latest(last, l.Until)
		}
		if now.Sub(last) >= forgetAfter && coverage.Idle(last, now) >= forgetAfter { // the first is cheap, and mostly false
			delete(t.uses, id)
		}
	}
}

// Of returns the use of a server.
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

// Leases returns the leases on a server that are live at now, in random order.
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
