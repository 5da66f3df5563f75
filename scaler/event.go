package scaler

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// EventType is what happened.
type EventType string

// The types of events. Blinded and Sighted are about the daemon itself.
const (
	Slept      EventType = "slept"         // some → 0
	Woken      EventType = "woken"         // 0 → some
	Scaled     EventType = "scaled"        // some → another number
	Unchanged  EventType = "unchanged"     // a command was applied and the replicas stay
	Progress   EventType = "progress"      // a started server is not as ready yet as was asked; Text says why
	Ready      EventType = "ready"         // a started server has its first ready replica
	Failed     EventType = "failed"        // a started server will not get as ready as was asked; Text says why
	Rejected   EventType = "rejected"      // a command was not applied
	Expired    EventType = "expired"       // a command came too late to be applied
	Unreadable EventType = "unreadable"    // its annotations can't be read, so it is left as it is; Text says why
	Contended  EventType = "contended"     // somebody else keeps raising it, so it sleeps no more; Text says who
	SoonAsleep EventType = "sleeping-soon" // it sleeps in a moment unless somebody uses it; Text says when
	WouldSleep EventType = "would-sleep"   // without dry-run it would have been put to sleep
	WouldWake  EventType = "would-wake"    // without dry-run it would have been woken after that
	Blinded    EventType = "blinded"       // silence proves nothing, so nothing sleeps; Text says why
	Sighted    EventType = "sighted"       // silence proves something again
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

	// Asleep is how long the daemon had the server at zero before a wake or a new order to sleep,
	// or would have had it in a dry run. 0: it had not.
	Asleep time.Duration
}

// Change returns what happened, to be put in words.
func (e Event) Change() explain.Change {
	return explain.Change{
		Type: string(e.Type), At: e.At, From: e.From, To: e.To, Cause: e.Cause,
		Actor: e.Actor, Command: e.Command, Reason: e.Reason, Text: e.Text, Took: e.Took,
	}
}

// Events is the stream of events. internal/bus/event.Publisher implements it.
type Events interface {
	// Publish returns after the stream has the event. It is harmless to publish an event twice.
	Publish(ctx context.Context, e Event) error
	// Known returns the IDs of the last event of each server and type that the stream has.
	Known(ctx context.Context) (map[string]bool, error)
}

// newEvent returns an event that changes no replicas.
func newEvent(kind EventType, server *Server, id string, at time.Time) Event {
	return Event{ID: id, Type: kind, Server: server.ID, At: at, From: server.Replicas, To: server.Replicas}
}

// changeID names the change of this version of the server, of which there is at most one.
func changeID(server *Server) string { return server.UID + "-" + server.Version }

// instantID names the event of a type that belongs to an instant, whoever publishes it and when.
func instantID(kind EventType, server *Server, at time.Time) string {
	return fmt.Sprintf("%s-%s-%d", server.UID, kind, at.UnixNano())
}

// noticeID names something that was noticed about this generation of the server, and said in these
// words.
func noticeID(kind EventType, server *Server, text string) string {
	hash := fnv.New64a()
	hash.Write([]byte(text))
	return fmt.Sprintf("%s%s-%x", noticePrefix(server), kind, hash.Sum64())
}

func noticePrefix(server *Server) string { return fmt.Sprintf("%s-%d-", server.UID, server.Generation) }
