package bus

import (
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// Requests are what the scheduler keeps free for one replica.
type Requests struct {
	CPUMillicores int64 `json:"cpu_millicores"`
	MemoryBytes   int64 `json:"memory_bytes"`
}

// Hold is an order that the server stays awake, or asleep, which is in force.
type Hold struct {
	Asleep bool      `json:"asleep"` // not awake
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

func holdOf(v scaler.View) *Hold {
	h := v.Facts.Hold
	if !h.Holds(v.At) {
		return nil
	}
	return &Hold{h.Asleep, h.Since.UTC(), h.Until.UTC(), h.Actor, h.Reason}
}

// Pause is an order that the server, or more than this one, is not put to sleep.
type Pause struct {
	Scope  string    `json:"scope"` // which servers, in words
	Since  time.Time `json:"since,omitzero"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

func pauseOf(p policy.Pause) *Pause {
	if p.Scope == "" {
		return nil
	}
	return &Pause{p.Scope, p.Since.UTC(), p.Actor, p.Reason}
}

// Group is what the others of its group make of a server.
type Group struct {
	Name    string   `json:"name"`
	Mates   []string `json:"mates,omitempty"`   // the others
	Wanted  string   `json:"wanted,omitempty"`  // one of them that has to be awake, and so wants all others to be
	Why     string   `json:"why,omitempty"`     // of that one: see policy.Reason
	Before  []string `json:"before,omitempty"`  // those that sleep before this one, and are awake
	Waiting []string `json:"waiting,omitempty"` // those that wake before this one, and are not ready yet
	Error   string   `json:"error,omitempty"`   // why the order can't be kept; the server then stays awake
}

func groupOf(v scaler.View) *Group {
	g := v.Facts.Group
	if v.Server.Settings.Group == "" {
		return nil
	}
	answer := &Group{Name: v.Server.Settings.Group, Wanted: g.Wanted, Why: string(g.Why), Before: g.Before, Waiting: g.Waiting, Error: g.Bad}
	for _, mate := range v.Mates {
		answer.Mates = append(answer.Mates, mate.ID.Name)
	}
	return answer
}

// Reverts tell how often in a row somebody else raised the replicas after the server was put to sleep, without any demand.
type Reverts struct {
	Count     int       `json:"count"`
	Writer    string    `json:"writer,omitempty"` // the field manager that did it last
	Since     time.Time `json:"since"`            // of the first
	Contended bool      `json:"contended"`        // so often that the server is not put to sleep any more
	Advice    string    `json:"advice"`           // what to change
}

func revertsOf(v scaler.View) *Reverts {
	r := v.Server.Mark.Reverts
	if r.Count == 0 {
		return nil
	}
	return &Reverts{r.Count, r.Writer, r.Since.UTC(), v.Decision.Reason == policy.Contended, policy.Advice(r.Writer)}
}
