package activitylog

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
)

// Counts are figures of a Log, for metrics.
type Counts struct {
	Pings, Leases, Malformed uint64
	Skew                     time.Duration // how far the log's clock is behind that of this process
	Replayed                 bool          // everything was read once
}

// handlePing takes a message of the stream of pings.
func (l *Log) handlePing(m *nats.Msg, at stream.Metadata) error {
	id, err := l.config.Subjects.ParseActivity(m.Subject)
	if err != nil {
		return err
	}
	l.config.Tracker.Ping(id, at.Stamp())
	l.pinged.Add(1)
	l.OnActivity(id)
	return nil
}

// handleLease takes a message of the stream of leases. An unreadable one counts as the longest
// lease that there can be: it has replaced in the stream the message before it, which may still be
// in force, and a daemon that starts later can't know for how long.
func (l *Log) handleLease(m *nats.Msg, at stream.Metadata) error {
	holder, id, err := l.config.Subjects.ParseLease(m.Subject)
	if err != nil {
		return err
	}
	ttl, err := wire.ReadLease(m.Data)
	if err != nil {
		err = fmt.Errorf("%w; the lease counts as %s, until its holder sends another", err, wire.MaxTTL)
		ttl = wire.MaxTTL
	} else {
		l.leased.Add(1)
	}
	l.config.Tracker.Lease(id, holder, at.Time.Add(l.leases.clockShift()), ttl)
	l.OnActivity(id)
	return err
}

// handleOrder takes a message of the stream of pauses. An unreadable one is no order, and has
// replaced none. An order that is older than the last one of its scope changes nothing: otherwise
// an old resume would end a pause while the stream is read again from its start.
func (l *Log) handleOrder(m *nats.Msg, at stream.Metadata) error {
	scope, err := l.config.Subjects.ParsePause(m.Subject)
	if err != nil {
		return err
	}
	order, err := wire.ReadPauseOrder(m.Data)
	if err != nil {
		return err
	}
	l.mu.Lock() // held for Set too: the last message of one feed and the first of the next may come at once
	defer l.mu.Unlock()
	if at.Stamp().OlderThan(l.orders[scope]) {
		return nil
	}
	l.orders[scope] = at.Stamp()
	pause := policy.Pause{} // without a scope: resumed
	if order.Paused {
		pause = policy.Pause{Scope: wire.ScopeWords(scope), Since: order.Since, Actor: order.Actor, Reason: order.Reason}
	}
	l.config.Pauses.Set(scope, pause)
	return nil
}

// countMalformed counts a message that can't be read, and logs one a minute. There may be many, and
// their senders do not listen.
func (l *Log) countMalformed(m *nats.Msg, err error) {
	l.malformed.Add(1)
	now, last := time.Now().UnixNano(), l.logged.Load()
	if now-last > int64(time.Minute) && l.logged.CompareAndSwap(last, now) {
		l.config.Logger.Warn("a message makes no sense: correct its sender", "subject", wire.Shorten(m.Subject), "err", err)
	}
}

// Counts returns the figures so far.
func (l *Log) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{
		Pings: l.pinged.Load(), Leases: l.leased.Load(), Malformed: l.malformed.Load(),
		Skew: l.config.Clock.Skew(), Replayed: l.replayed,
	}
}
