package kube

import (
	"encoding/json"
	"errors"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// What is written as JSON into an annotation. The domain's own types have no such form: what stands on Deployments must stay readable
// whatever becomes of them.

// hold is policy.Hold as it is written.
type hold struct {
	Asleep bool   `json:"asleep,omitempty"`
	Since  string `json:"since"`
	Until  string `json:"until"`
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func formatHold(h policy.Hold) string {
	return form(hold{h.Asleep, formatTime(h.Since), formatTime(h.Until), cut(h.Actor, maxID), cut(h.Reason, maxText)})
}

func parseHold(text string) (policy.Hold, error) {
	var h hold
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return policy.Hold{}, err
	}
	since, err := parseTime(h.Since)
	if err != nil {
		return policy.Hold{}, err
	}
	until, err := parseTime(h.Until)
	if err != nil {
		return policy.Hold{}, err
	}
	return policy.Hold{Asleep: h.Asleep, Since: since, Until: until, Actor: h.Actor, Reason: h.Reason}, nil
}

// reverts is policy.Reverts as it is written.
type reverts struct {
	Count  int    `json:"count"`
	Writer string `json:"writer,omitempty"`
	Since  string `json:"since"`
	Digest string `json:"digest,omitempty"`
}

func formatReverts(r policy.Reverts) string {
	return form(reverts{r.Count, cut(r.Writer, maxID), formatTime(r.Since), cut(r.Digest, maxID)})
}

func parseReverts(text string) (policy.Reverts, error) {
	var r reverts
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return policy.Reverts{}, err
	}
	if r.Count < 1 {
		return policy.Reverts{}, errors.New("a count below 1")
	}
	since, err := parseTime(r.Since)
	if err != nil {
		return policy.Reverts{}, err
	}
	return policy.Reverts{Count: r.Count, Writer: r.Writer, Since: since, Digest: r.Digest}, nil
}

// lastEvent is scaler.Event as it is written: its server is the one that it is written on.
type lastEvent struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	At      string `json:"at"`
	From    int    `json:"from"`
	To      int    `json:"to"`
	Cause   string `json:"cause,omitempty"`
	Actor   string `json:"actor,omitempty"`
	Command string `json:"command,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Text    string `json:"text,omitempty"`
	Idle    string `json:"idle,omitempty"`
	Took    string `json:"took,omitempty"`
	Asleep  string `json:"asleep,omitempty"`

	// Marks are the keys that were written with it. A former version of the daemon did not say.
	Marks []string `json:"marks,omitempty"`
}

func formatEvent(e scaler.Event, marks []string) string {
	return form(lastEvent{
		ID: cut(e.ID, maxID), Type: string(e.Type), At: formatTime(e.At), From: e.From, To: e.To, Cause: string(e.Cause),
		Actor: cut(e.Actor, maxID), Command: cut(e.Command, maxID), Reason: cut(e.Reason, maxText), Text: cut(e.Text, maxText),
		Idle: formatDuration(e.Idle), Took: formatDuration(e.Took), Asleep: formatDuration(e.Asleep),
		Marks: marks,
	})
}

func parseEvent(text string, id scaler.ID) (_ scaler.Event, marks []string, _ error) {
	var l lastEvent
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return scaler.Event{}, nil, err
	}
	at, err := parseTime(l.At)
	if err != nil {
		return scaler.Event{}, nil, err
	}
	idle, err := parseDuration(l.Idle)
	if err != nil {
		return scaler.Event{}, nil, err
	}
	took, err := parseDuration(l.Took)
	if err != nil {
		return scaler.Event{}, nil, err
	}
	asleep, err := parseDuration(l.Asleep)
	if err != nil {
		return scaler.Event{}, nil, err
	}
	return scaler.Event{
		ID: l.ID, Type: scaler.EventType(l.Type), Server: id, At: at, From: l.From, To: l.To, Cause: policy.Cause(l.Cause),
		Actor: l.Actor, Command: l.Command, Reason: l.Reason, Text: l.Text, Idle: idle, Took: took, Asleep: asleep,
	}, l.Marks, nil
}

func formatDuration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func parseDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}

// form returns the JSON of one of the above: of strings, numbers and booleans only, and lists of them, so that it can't fail.
func form(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
