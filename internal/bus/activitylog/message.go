package activitylog

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
)

// Counts are what a Log has seen, for metrics.
type Counts struct {
	Pings, Leases, Malformed uint64
	Skew                     time.Duration // how far the log's clock is behind that of this process
	Replayed                 bool          // everything was read once
}

// ping takes a message of the activity stream.
func (l *Log) ping(m *nats.Msg, p stream.Metadata) {
	id, err := l.config.Subjects.ParseActivity(m.Subject)
	if err != nil {
		l.complain(m, err)
		return
	}
	l.config.Tracker.Ping(id, p.Stamp())
	l.pinged.Add(1)
	l.OnActivity(id)
}

// lease takes a message of the lease stream. One that can't be read is counted, and taken for the
// longest lease there is: it has replaced in the stream what its holder said before, which may
// still be in force, and nobody who starts later can know for how long.
func (l *Log) lease(m *nats.Msg, p stream.Metadata) {
	holder, id, err := l.config.Subjects.ParseLease(m.Subject)
	if err != nil {
		l.complain(m, err)
		return
	}
	ttl, err := wire.ReadLease(m.Data)
	if err != nil {
		l.complain(m, fmt.Errorf("%w; until its holder says something else, the lease counts as one of %s", err, wire.MaxTTL))
		ttl = wire.MaxTTL
	} else {
		l.leased.Add(1)
	}
	l.config.Tracker.Lease(id, holder, p.Time.Add(l.leases.shift()), ttl)
	l.OnActivity(id)
}

// order takes a message of the stream of pauses. What makes no sense is no order, and has replaced
// none. An older order than the one known changes nothing: while the stream is read again from its
// start, a pause must not be ended by what was said before it.
func (l *Log) order(m *nats.Msg, p stream.Metadata) {
	scope, err := l.config.Subjects.ParsePause(m.Subject)
	if err != nil {
		l.complain(m, err)
		return
	}
	order, err := wire.ReadPauseOrder(m.Data)
	if err != nil {
		l.complain(m, err)
		return
	}
	l.mu.Lock() // for both: the last message of a feed that has ended and the first of the next may be here at once
	defer l.mu.Unlock()
	if p.Stamp().OlderThan(l.ordered[scope]) {
		return
	}
	l.ordered[scope] = p.Stamp()
	pause := policy.Pause{} // without a scope: resumed
	if order.Paused {
		pause = policy.Pause{Scope: wire.ScopeWords(scope), Since: order.Since, Actor: order.Actor, Reason: order.Reason}
	}
	l.config.Pauses.Set(scope, pause)
}

// complain counts a message that makes no sense, and logs one in a minute: nobody can be told, and
// there may be many.
func (l *Log) complain(m *nats.Msg, err error) {
	l.malformed.Add(1)
	now, last := time.Now().UnixNano(), l.complaint.Load()
	if now-last > int64(time.Minute) && l.complaint.CompareAndSwap(last, now) {
		l.config.Logger.Warn("a message makes no sense", "subject", wire.Shorten(m.Subject), "err", err)
	}
}

// Counts returns what was seen so far.
func (l *Log) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{
		Pings: l.pinged.Load(), Leases: l.leased.Load(), Malformed: l.malformed.Load(),
		Skew: l.config.Clock.Skew(), Replayed: l.replayed,
	}
}
