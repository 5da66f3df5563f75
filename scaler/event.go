package scaler

import (
	"context"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// EventType is what happened.
type EventType string

// The types of events.
const (
	Slept      EventType = "slept"         // some → 0
	Woken      EventType = "woken"         // 0 → some
	Scaled     EventType = "scaled"        // some → another number
	Unchanged  EventType = "unchanged"     // a command was applied and the replicas stay
	Progress   EventType = "progress"      // a server that was woken, scaled, or started is not as ready yet as was asked; Text says why
	Ready      EventType = "ready"         // such a server has its first ready replica
	Failed     EventType = "failed"        // such a server will not get as ready as was asked; Text says why
	Rejected   EventType = "rejected"      // a command was not applied
	Expired    EventType = "expired"       // a command came too late to be applied
	Unreadable EventType = "unreadable"    // its annotations can't be read, so it is left as it is; Text says why
	Contended  EventType = "contended"     // somebody else keeps raising it, so it is not put to sleep any more; Text says who, and what to change
	SoonAsleep EventType = "sleeping-soon" // it sleeps in a moment unless somebody uses it; Text says when
	WouldSleep EventType = "would-sleep"   // it would have been put to sleep, were it not for dry-run
	WouldWake  EventType = "would-wake"    // it would have been woken after that
	Blinded    EventType = "blinded"       // of the daemon itself: silence proves nothing, so nothing sleeps; Text says why
	Sighted    EventType = "sighted"       // of the daemon itself: silence proves something again
)

// Event is something that happened to a server.
type Event struct {
	ID       string // the same event published twice has the same ID
	Type     EventType
	Server   ID
	At       time.Time
	From, To int // replicas
	Cause    policy.Cause
	Actor    string        // who asked, as it said itself
	Command  string        // the id of the command, as its sender named it
	Reason   string        // why it was asked for, in the words of the actor
	Text     string        // what happened and why, in words
	Idle     time.Duration // how long the server was unused before it slept
	Took     time.Duration // ready: from the patch to the first ready replica; sighted: how long it was blind
	Asleep   time.Duration // woken, would-wake: how long the daemon had it at zero, or would have; also of an order that it sleeps when it does. 0: it did not
}

// Change is what happened, to be said in words.
func (e Event) Change() explain.Change {
	return explain.Change{
		Type: string(e.Type), At: e.At, From: e.From, To: e.To, Cause: e.Cause,
		Actor: e.Actor, Command: e.Command, Reason: e.Reason, Text: e.Text, Took: e.Took,
	}
}

// Events publishes. Implemented by internal/bus/event.Publisher.
type Events interface {
	// Publish returns after the event is kept by the stream. Publishing the same event twice is harmless.
	Publish(ctx context.Context, e Event) error
	// Known returns the IDs of the last event of each server and type that the stream has.
	Known(ctx context.Context) (map[string]bool, error)
}
