package bus

import (
	"time"

	"idle-scaler/scaler"
)

// ServerStatus is all there is to say about one server.
type ServerStatus struct {
	ServerSummary
	AvailableReplicas int               `json:"available_replicas"`
	UpdatedReplicas   int               `json:"updated_replicas"`
	Created           time.Time         `json:"created,omitzero"`
	Conditions        []Condition       `json:"conditions,omitempty"`
	Decision          Decision          `json:"decision"`
	Marks             Marks             `json:"marks"`
	Settings          Settings          `json:"settings"`
	Sources           map[string]string `json:"sources"`                  // where each of the settings is written: see policy.Source
	SettingsError     string            `json:"settings_error,omitempty"` // why they can't be read; the server is left as it is
	Requests          Requests          `json:"requests"`
	Leases            []Lease           `json:"leases,omitempty"`
	Hold              *Hold             `json:"hold,omitempty"`
	Paused            *Pause            `json:"paused,omitempty"`
	Group             *Group            `json:"group,omitempty"`
	Reverts           *Reverts          `json:"reverts,omitempty"`
	Rival             string            `json:"rival,omitempty"` // who else decides about its replicas
	Labels            map[string]string `json:"labels,omitempty"`
}

// Condition is one of the conditions of the Deployment.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Decision is what the daemon would do with the server now, and why: see policy.Action and policy.Reason.
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
	AsleepBecause   string          `json:"asleep_because,omitempty"` // see policy.Because
	AwakeSince      time.Time       `json:"awake_since,omitzero"`
	Failed          string          `json:"failed,omitempty"` // why its last wake did not get ready
	CommandID       string          `json:"command_id,omitempty"`
	CommandSequence uint64          `json:"command_sequence,omitempty"`
	Last            *LastTransition `json:"last,omitempty"`
}

// LastTransition is the last thing that the daemon did to the server.
type LastTransition struct {
	ID string `json:"id"`
	Transition
	At     time.Time `json:"at"`
	Cause  string    `json:"cause"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Lease is a live lease.
type Lease struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

func decision(v scaler.View) Decision {
	return Decision{
		Action: string(v.Decision.Action), Reason: string(v.Decision.Reason),
		Text: v.Explain(v.At), NextChange: v.Decision.Next.UTC(),
	}
}

func describe(v scaler.View) ServerStatus {
	server, mark := v.Server, v.Server.Mark
	s := ServerStatus{
		ServerSummary:     summarize(v),
		AvailableReplicas: server.Available,
		UpdatedReplicas:   server.Updated,
		Created:           server.Created.UTC(),
		Decision:          decision(v),
		Marks: Marks{
			Restore: mark.Restore, AsleepSince: mark.Asleep.UTC(), AsleepBecause: string(mark.Because),
			AwakeSince: mark.Awake.UTC(), Failed: mark.Failed, CommandID: mark.Done.ID, CommandSequence: mark.Done.Stamp.Sequence,
		},
		Settings: settings(server.Settings),
		Sources:  sources(server.Sources),
		Requests: Requests{server.Requests.MilliCPU, server.Requests.Memory},
		Hold:     holdOf(v),
		Paused:   pauseOf(v.Facts.Paused),
		Group:    groupOf(v),
		Reverts:  revertsOf(v),
		Rival:    server.Rival,
		Labels:   server.Labels,
	}
	if server.Bad != nil {
		s.SettingsError = server.Bad.Error()
	}
	if last := mark.Last; last.ID != "" {
		s.Marks.Last = &LastTransition{
			ID: last.ID, Transition: *transition(last), At: last.At.UTC(), Cause: string(last.Cause),
			Actor: last.Actor, Reason: last.Reason,
		}
	}
	for _, c := range server.Conditions {
		s.Conditions = append(s.Conditions, Condition{c.Type, c.Status, c.Reason, c.Message, c.Since.UTC()})
	}
	for _, l := range v.Leases {
		s.Leases = append(s.Leases, Lease{l.Holder, l.Since.UTC(), l.Until.UTC()})
	}
	return s
}
