package report

import (
	"hash/maphash"
	"slices"
	"time"

	"idle-scaler/scaler"
)

// Types are the types of the events that a report needs.
var Types = []scaler.EventType{
	scaler.Slept, scaler.Woken, scaler.Ready, scaler.WouldSleep, scaler.WouldWake, scaler.Unchanged,
}

// Aggregate holds what a report needs of the events of each server: some 90 bytes of each, so that
// a week of thousands of servers fits into memory.
type Aggregate map[scaler.ID][]event

// event is what a report needs of a scaler.Event.
type event struct {
	id                 uint64 // a hash: an event that was published twice has the same
	kind               scaler.EventType
	at                 time.Time
	idle, took, asleep time.Duration
	replicas           int  // before a sleep, or after a wake
	automatic          bool // a sleep that nobody ordered
	demand             bool // a wake because somebody wants the server
}

// created is an event of our own: the Deployment of today was made.
const created scaler.EventType = "created"

var seed = maphash.MakeSeed()

// Add takes an event. The order does not matter, and an event may come twice.
func (a Aggregate) Add(e scaler.Event) {
	i := slices.Index(Types, e.Type)
	if i < 0 {
		return
	}
	a[e.Server] = append(a[e.Server], event{
		id: maphash.String(seed, e.ID), kind: Types[i], at: e.At, idle: e.Idle, took: e.Took, asleep: e.Asleep,
		replicas: max(e.From, e.To), automatic: e.Automatic(), demand: e.Demand(),
	})
}

// figures are what the sleeps of one server come to: the real ones, or those that a dry run would
// have made.
type figures struct {
	*Report
	open *event    // the sleep that has no end yet
	last time.Time // when the last sleep or wake was

	seconds, replicaSeconds             int64
	sleeps, wakes, automatic, misSleeps int
}

// row makes the row of a server, nil when it is gone.
func (r *Report) row(id scaler.ID, server *scaler.Server, events []event, wouldBeAsleep time.Time) Row {
	row := Row{Server: id, Gone: server == nil}
	if row.Gone {
		server = new(scaler.Server)
	}
	events = slices.Concat([]event{{kind: created, at: server.Created}}, events)
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	asleep, would := figures{Report: r}, figures{Report: r}
	seen, woken := make(map[uint64]bool, len(events)), false
	for _, e := range events {
		if seen[e.id] {
			continue
		}
		seen[e.id] = true
		switch e.kind {
		case created: // whatever slept was another Deployment, and nobody knows until when it did
			asleep.open, would.open = nil, nil
		case scaler.Slept:
			asleep.sleep(e)
			would.end(e.at) // the dry run is over
			woken = false
		case scaler.Woken:
			asleep.wake(e)
			woken = true
		case scaler.Unchanged:
			asleep.since(e, server.AwakeReplicas())
		case scaler.WouldSleep:
			would.sleep(e)
		case scaler.WouldWake:
			would.wake(e)
		case scaler.Ready:
			if woken && r.covers(e.at) { // without a wake somebody waited for an awake server
				row.took = append(row.took, e.took)
			}
			woken = false
		}
	}
	asleep.finish(server, row.Gone)
	switch {
	case would.open != nil && server.Settings.DryRun:
		would.end(r.To)
	case wouldBeAsleep.After(would.last): // the event of its begin is too old, or not published yet
		would.add(wouldBeAsleep, r.To, server.AwakeReplicas())
	}
	row.Asleep = newSleep(asleep.seconds, asleep.replicaSeconds, server.Requests)
	row.WouldBeAsleep = newSleep(would.seconds, would.replicaSeconds, server.Requests)
	row.Sleeps, row.WouldSleeps, row.Wakes = asleep.sleeps, would.sleeps, asleep.wakes
	row.Automatic, row.MisSleeps = asleep.automatic+would.automatic, asleep.misSleeps+would.misSleeps
	row.measure()
	return row
}

func (f *figures) sleep(e event) {
	f.end(e.at.Add(-e.idle)) // if the event of the wake is missing: it was awake while it was idle
	f.open, f.last = &e, e.at
	if f.covers(e.at) {
		f.sleeps++
		if e.automatic {
			f.automatic++
		}
	}
}

func (f *figures) wake(e event) {
	f.since(e, e.replicas)
	if s := f.open; s != nil && s.automatic && f.covers(s.at) && scaler.MisSleep(s.at, e.at, e.demand) {
		f.misSleeps++
	}
	f.end(e.at)
	f.last = e.at
	if f.covers(e.at) {
		f.wakes++
	}
}

// since adds the sleep that an event says has lasted until now. The event of its begin knows
// better, if it is there.
func (f *figures) since(e event, replicas int) {
	if f.open == nil {
		f.add(e.at.Add(-min(e.asleep, e.at.Sub(f.last))), e.at, replicas)
	}
}

// finish adds a sleep that no event has ended. Only known time counts: a server may have been
// deleted right after it fell asleep.
func (f *figures) finish(server *scaler.Server, gone bool) {
	mark := server.Mark
	switch {
	case gone:
	case f.open == nil && server.Replicas == 0 && server.Ours && mark.Asleep.After(f.last):
		// The event of its begin is older than the report, or not published yet.
		f.add(slices.MaxFunc([]time.Time{mark.Asleep, server.Created}, time.Time.Compare), f.To, server.AwakeReplicas())
	case server.Replicas == 0 || !mark.Asleep.IsZero(): // or somebody has just woken it
		f.end(f.To)
	case mark.Awake.After(f.last):
		f.end(mark.Awake)
	default:
		f.end(server.ReadySince)
	}
}

// end ends the sleep that has no end yet.
func (f *figures) end(at time.Time) {
	if f.open != nil {
		f.add(f.open.at, at, f.open.replicas)
		f.open = nil
	}
}

// add adds a time at zero, as far as the report covers it.
func (f *figures) add(from, until time.Time, replicas int) {
	seconds := max(0, min(until.Unix(), f.To.Unix())-max(from.Unix(), f.From.Unix()))
	f.seconds += seconds
	f.replicaSeconds += seconds * int64(replicas)
}

// covers reports whether an event of that time counts.
func (r *Report) covers(at time.Time) bool { return !at.Before(r.From) && at.Before(r.To) }
