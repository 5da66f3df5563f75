package answer

import (
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/policy/explain"
	"idle-scaler/scaler"
)

// Summary returns a server as a list has it.
func Summary(v scaler.View) wire.ServerSummary {
	s := wire.ServerSummary{
		Name: v.Server.ID.Name, Namespace: v.Server.ID.Namespace,
		Status: string(v.Status), Failure: v.Failure,
		Replicas: v.Server.Replicas, ReadyReplicas: v.Server.Ready,
		Endpoints:    make([]wire.Endpoint, len(v.Endpoints)),
		LastActivity: v.Facts.Use.Last.Time.UTC(),
		Reason:       string(v.Decision.Reason),
		Next:         explain.Short(v.Decision, &v.Facts, v.At),
		NextChange:   v.Decision.Next.UTC(),
		SleepsAt:     v.Decision.Sleeps.UTC(),
	}
	for i, e := range v.Endpoints {
		s.Endpoints[i] = wire.Endpoint(e)
	}
	if idle := v.Decision.Idle.Truncate(time.Second); idle > 0 {
		s.IdleFor, s.IdleSeconds = idle.String(), int64(idle/time.Second)
	}
	return s
}

// Outcome returns the answer to a command with its place in the stream.
func Outcome(o scaler.Outcome, sequence uint64, view func(*scaler.Server) scaler.View) wire.Answer {
	a := wire.Answer{Event: transition(o.Event), Command: &wire.CommandRef{Sequence: sequence}}
	if o.Server != nil {
		summary := Summary(view(o.Server))
		a.Server = &summary
	}
	if o.Err != nil {
		a.Error = failureOf(o.Err)
	}
	return a
}

func transition(e scaler.Event) *wire.Transition {
	if e.Type == "" {
		return nil
	}
	return &wire.Transition{Type: string(e.Type), From: e.From, To: e.To, Text: e.Text}
}
