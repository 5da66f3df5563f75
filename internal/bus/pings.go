package bus

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Counts are what an ActivityLog has seen, for metrics.
type Counts struct {
	Pings, Leases, Malformed uint64
	Skew                     time.Duration // how far the log's clock is behind ours
	Replayed                 bool          // everything was read once
}

// ping takes a message of the activity stream.
func (l *ActivityLog) ping(m *nats.Msg, p place) {
	id, err := l.config.Subjects.ParseActivity(m.Subject)
	if err != nil {
		l.complain(m, err)
		return
	}
	l.config.Tracker.Ping(id, p.stamp())
	l.pinged.Add(1)
	l.config.OnActivity(id)
}

// lease takes a message of the lease stream. One that can't be read is counted, and taken for the longest lease there is: it has replaced in
// the stream what its holder said before, which may still be in force, and nobody who starts later can know for how long.
func (l *ActivityLog) lease(m *nats.Msg, p place) {
	holder, id, err := l.config.Subjects.ParseLease(m.Subject)
	if err != nil {
		l.complain(m, err)
		return
	}
	ttl, err := readTTL(m.Data)
	if err != nil {
		l.complain(m, fmt.Errorf("%w; until its holder says something else, the lease counts as one of %s", err, maxTTL))
		ttl = maxTTL
	} else {
		l.leased.Add(1)
	}
	l.config.Tracker.Lease(id, holder, p.at, ttl)
	l.config.OnActivity(id)
}

// complain counts a message that makes no sense, and logs one in a minute: nobody can be told, and there may be many.
func (l *ActivityLog) complain(m *nats.Msg, err error) {
	l.malformed.Add(1)
	now, last := time.Now().UnixNano(), l.complaint.Load()
	if now-last > int64(time.Minute) && l.complaint.CompareAndSwap(last, now) {
		l.config.Logger.Warn("a message makes no sense", "subject", shorten(m.Subject), "err", err)
	}
}

// Counts returns what was seen so far.
func (l *ActivityLog) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{
		Pings: l.pinged.Load(), Leases: l.leased.Load(), Malformed: l.malformed.Load(),
		Skew: l.skew, Replayed: l.replayed,
	}
}
