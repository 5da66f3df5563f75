package scaler

import (
	"hash/maphash"
	"slices"
	"time"
)

// Ledger keeps of many events the little that a report is made from: some 90 bytes of each that matters.
type Ledger struct {
	seed     maphash.Seed
	accounts map[ID][]entry
}

// entry is an event in a ledger.
type entry struct {
	id        uint64 // a hash: the same event told twice has the same
	kind      EventType
	at        time.Time
	idle      time.Duration
	took      time.Duration
	asleep    time.Duration
	replicas  int  // that run before a sleep, or after a wake
	automatic bool // of a sleep: nobody ordered it
	demand    bool // of a wake: somebody wants to use the server
}

// NewLedger returns an empty Ledger.
func NewLedger() *Ledger {
	return &Ledger{seed: maphash.MakeSeed(), accounts: make(map[ID][]entry)}
}

// LedgerTypes are the types of the events that a ledger keeps something of.
var LedgerTypes = []EventType{Slept, Woken, Ready, WouldSleep, WouldWake, Unchanged}

// Add keeps what matters of an event. The order of events does not matter, nor does it that one is added twice.
func (l *Ledger) Add(e Event) {
	i := slices.Index(LedgerTypes, e.Type)
	if i < 0 || e.Type == Unchanged && e.Asleep == 0 {
		return
	}
	entry := entry{id: maphash.String(l.seed, e.ID), kind: LedgerTypes[i], at: e.At, idle: e.Idle, took: e.Took, asleep: e.Asleep}
	switch entry.kind {
	case Slept, WouldSleep:
		entry.replicas = e.From
		entry.automatic = e.Automatic()
	case Woken, WouldWake:
		entry.replicas = e.To
		entry.demand = e.Demand()
	}
	l.accounts[e.Server] = append(l.accounts[e.Server], entry)
}

// account is what a ledger says of one server, between two instants.
type account struct {
	row      ReportRow
	server   *Server // nil when it is gone
	from, to time.Time

	wouldBeAsleep time.Time // since when; zero: it would not be now
	took          []time.Duration
}

// settle makes the row of what happened.
func (a *account) settle(entries []entry) {
	slices.SortStableFunc(entries, func(a, b entry) int { return a.at.Compare(b.at) })
	seen := make(map[uint64]bool, len(entries))
	entries = slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
		again := seen[e.id]
		seen[e.id] = true
		return again
	})
	open, last := a.sleeps(entries, Slept, Woken, &a.row.Sleeps, &a.row.Wakes, &a.row.Asleep)
	switch {
	case open != nil:
		a.rest(&a.row.Asleep, open.at, a.ended(*open), open.replicas)
	case a.server != nil && a.server.Replicas == 0 && a.server.Ours && a.server.Mark.Asleep.After(last):
		a.rest(&a.row.Asleep, latest(a.server.Mark.Asleep, a.server.Created), a.to, a.server.restored()) // since before the first event, or it is not told yet
	}
	var wouldWake int
	open, last = a.sleeps(entries, WouldSleep, WouldWake, &a.row.WouldSleeps, &wouldWake, &a.row.WouldBeAsleep)
	switch {
	case open != nil && a.still(*open) && a.server.Settings.DryRun:
		a.rest(&a.row.WouldBeAsleep, open.at, a.to, open.replicas)
	case a.server != nil && a.wouldBeAsleep.After(last):
		a.rest(&a.row.WouldBeAsleep, a.wouldBeAsleep, a.to, a.server.Replicas)
	}
	woken := false
	for _, e := range entries {
		switch {
		case e.kind == Slept || e.kind == Woken:
			woken = e.kind == Woken
		case e.kind == Ready:
			if woken && a.within(e) { // else somebody waited for one that was awake
				a.took = append(a.took, e.took)
			}
			woken = false
		}
	}
	slices.Sort(a.took)
	a.row.WakeP50, a.row.WakeP95 = percentile(a.took, 50), percentile(a.took, 95)
}

// sleeps counts sleeps and wakes of one kind, and what they come to. It returns the sleep that has no end yet, and when the last sleep
// or wake was.
func (a *account) sleeps(entries []entry, sleep, wake EventType, sleeps, wakes *int, rest *Rest) (open *entry, last time.Time) {
	for i, e := range entries {
		if open != nil && a.server != nil && a.server.Created.After(open.at) && !a.server.Created.After(e.at) {
			open = nil // it was of a Deployment that is gone since nobody knows when
		}
		switch {
		case e.kind == sleep:
			if open != nil { // its end was not told: it was when the idle clock of this one started, at the latest
				a.rest(rest, open.at, latest(open.at, e.at.Add(-e.idle)), open.replicas)
			}
			open, last = &entries[i], e.at
			if a.within(e) {
				*sleeps++
				if e.automatic {
					a.row.Automatic++
				}
			}
		case e.kind == wake:
			if open != nil {
				a.rest(rest, open.at, e.at, open.replicas)
				if a.within(*open) && open.automatic && MisSleep(open.at, e.at, e.demand) {
					a.row.MisSleeps++
				}
			} else { // it slept since before the first event
				a.rest(rest, latest(last, e.at.Add(-e.asleep)), e.at, e.replicas)
			}
			open, last = nil, e.at
			if a.within(e) {
				*wakes++
			}
		case e.kind == Unchanged && sleep == Slept && open == nil: // it slept since before the first event, and goes on by an order
			replicas := 0
			if a.server != nil {
				replicas = a.server.AwakeReplicas()
			}
			a.rest(rest, latest(last, e.at.Add(-e.asleep)), e.at, replicas)
		case e.kind == Slept && open != nil: // it is put to sleep for good
			a.rest(rest, open.at, e.at, open.replicas)
			open = nil
		}
	}
	return open, last
}

// within reports whether an event is to be counted.
func (a *account) within(e entry) bool { return !e.at.Before(a.from) && e.at.Before(a.to) }

// rest adds a time at zero, as far as it is between the two instants.
func (a *account) rest(to *Rest, from, until time.Time, replicas int) {
	from = latest(from, a.from)
	if until.After(a.to) {
		until = a.to
	}
	if !until.After(from) {
		return
	}
	var requests Resources
	if a.server != nil {
		requests = a.server.Requests
	}
	to.add(until.Unix()-from.Unix(), replicas, requests)
}

// still reports whether the server is the one that the sleep was of.
func (a *account) still(sleep entry) bool {
	return a.server != nil && !a.server.Created.After(sleep.at)
}

// ended returns when a sleep ended of whose end there is no event. What is not known does not count: a server may have been deleted
// right after it fell asleep.
func (a *account) ended(sleep entry) time.Time {
	switch {
	case !a.still(sleep):
		return sleep.at
	case a.server.Replicas == 0 || !a.server.Mark.Asleep.IsZero(): // or it is just being noticed that somebody has woken it
		return a.to
	case a.server.Mark.Awake.After(sleep.at):
		return a.server.Mark.Awake
	}
	return latest(sleep.at, a.server.ReadySince)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
