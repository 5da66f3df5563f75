package wire

import (
	"strings"
	"time"
)

// ServerStatus is the answer to a status: everything that is known about one server.
type ServerStatus struct {
	ServerSummary
	AvailableReplicas int               `json:"available_replicas"`
	UpdatedReplicas   int               `json:"updated_replicas"`
	Created           time.Time         `json:"created,omitzero"`
	Conditions        []Condition       `json:"conditions,omitempty"`
	Decision          Decision          `json:"decision"`
	Marks             Marks             `json:"marks"`
	Settings          Settings          `json:"settings"`
	Sources           map[string]string `json:"sources"`                  // where each of the settings is written
	SettingsError     string            `json:"settings_error,omitempty"` // why they can't be read
	Requests          Requests          `json:"requests"`
	Leases            []Lease           `json:"leases,omitempty"`
	Hold              *Hold             `json:"hold,omitempty"`
	Paused            *Pause            `json:"paused,omitempty"`
	Group             *Group            `json:"group,omitempty"`
	Reverts           *Reverts          `json:"reverts,omitempty"`
	Rival             string            `json:"rival,omitempty"` // who else decides about its replicas
	Labels            map[string]string `json:"labels,omitempty"`
}

// Explanation is the answer to an explain: why a server is awake or asleep.
type Explanation struct {
	Server   ServerSummary `json:"server"`
	Decision Decision      `json:"decision"`
	Text     string        `json:"text"` // all of it, in lines, for people
}

// Condition is one of the conditions of the Deployment.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Decision is what the daemon would do with the server now, and why.
type Decision struct {
	Action     string    `json:"action"`
	Reason     string    `json:"reason"`
	Text       string    `json:"text"`
	NextChange time.Time `json:"next_change,omitzero"` // when the decision may change if nothing happens
}

// Marks are what the daemon has written on the Deployment.
type Marks struct {
	Restore         int             `json:"restore,omitempty"` // the replicas to wake with
	AsleepSince     time.Time       `json:"asleep_since,omitzero"`
	AsleepBecause   string          `json:"asleep_because,omitempty"`
	AwakeSince      time.Time       `json:"awake_since,omitzero"`
	Failed          string          `json:"failed,omitempty"` // why its last wake did not get ready
	CommandID       string          `json:"command_id,omitempty"`
	CommandSequence uint64          `json:"command_sequence,omitempty"`
	Last            *LastTransition `json:"last,omitempty"`
}

// LastTransition is the last thing that the daemon did to the server.
type LastTransition struct {
	ID string `json:"id"` // that of its event
	Transition
	At     time.Time `json:"at"`
	Cause  string    `json:"cause"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Settings are those in force for a server, by [Field]. A duration is a text. An empty text or list
// is left out, and so is a zero duration.
type Settings map[string]any

// Field is the name of a setting on the wire, by its key.
func Field(key string) string { return strings.ReplaceAll(key, "-", "_") }

// Requests are what the scheduler keeps free for one replica.
type Requests struct {
	CPUMillicores int64 `json:"cpu_millicores"`
	MemoryBytes   int64 `json:"memory_bytes"`
}

// Lease is a live lease.
type Lease struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Hold is an order in force that keeps the server awake, or asleep.
type Hold struct {
	Asleep bool      `json:"asleep"` // not awake
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Pause is an order that keeps the server, or more than this one, from being put to sleep.
type Pause struct {
	Scope  string    `json:"scope"` // which servers, in words
	Since  time.Time `json:"since,omitzero"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Group is the group of a server, and what the others of it want.
type Group struct {
	Name    string   `json:"name"`
	Mates   []string `json:"mates,omitempty"`   // the others
	Wanted  string   `json:"wanted,omitempty"`  // one of them that has to be awake, which wants all others to be
	Why     string   `json:"why,omitempty"`     // the reason of that one
	Before  []string `json:"before,omitempty"`  // those that sleep before this one, and are awake
	Waiting []string `json:"waiting,omitempty"` // those that wake before this one, and are not ready yet
	Error   string   `json:"error,omitempty"`   // why the order can't be kept; the server then stays awake
}

// Reverts say how often in a row somebody else raised the replicas after the server was put to
// sleep, without any demand.
type Reverts struct {
	Count     int       `json:"count"`
	Writer    string    `json:"writer,omitempty"` // the field manager of the last one
	Since     time.Time `json:"since"`            // of the first
	Contended bool      `json:"contended"`        // so often that the server is not put to sleep any more
	Advice    string    `json:"advice"`           // what to change
}
