package answer

import (
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
	"idle-scaler/scaler"
)

// Status returns everything that is known about a server.
func Status(v scaler.View) wire.ServerStatus {
	server, mark := v.Server, v.Server.Mark
	s := wire.ServerStatus{
		ServerSummary:     Summary(v),
		AvailableReplicas: server.Available,
		UpdatedReplicas:   server.Updated,
		Created:           server.Created.UTC(),
		Decision:          decision(v),
		Marks: wire.Marks{
			Restore: mark.Restore, AsleepSince: mark.Asleep.UTC(), AsleepBecause: string(mark.Because),
			AwakeSince: mark.Awake.UTC(), Failed: mark.Failed,
			CommandID: mark.Done.ID, CommandSequence: mark.Done.Stamp.Sequence,
		},
		Requests: wire.Requests{CPUMillicores: server.Requests.MilliCPU, MemoryBytes: server.Requests.Memory},
		Hold:     hold(v),
		Paused:   pause(v.Facts.Paused),
		Group:    group(v),
		Reverts:  reverts(v),
		Rival:    server.Rival,
		Labels:   server.Labels,
	}
	s.Settings, s.Sources = settings(server)
	if server.Bad != nil {
		s.SettingsError = server.Bad.Error()
	}
	if last := mark.Last; last.ID != "" {
		s.Marks.Last = &wire.LastTransition{
			ID: last.ID, Transition: *transition(last), At: last.At.UTC(), Cause: string(last.Cause),
			Actor: last.Actor, Reason: last.Reason,
		}
	}
	for _, c := range server.Conditions {
		s.Conditions = append(s.Conditions, wire.Condition{
			Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message, Since: c.Since.UTC(),
		})
	}
	for _, l := range v.Leases {
		s.Leases = append(s.Leases, wire.Lease{Holder: l.Holder, Since: l.Since.UTC(), Until: l.Until.UTC()})
	}
	return s
}

// Explain returns why a server is awake or asleep.
func Explain(v scaler.View) wire.Explanation {
	return wire.Explanation{Server: Summary(v), Decision: decision(v), Text: v.Page()}
}

func decision(v scaler.View) wire.Decision {
	return wire.Decision{
		Action: string(v.Decision.Action), Reason: string(v.Decision.Reason),
		Text: v.Why(), NextChange: v.Decision.Next.UTC(),
	}
}

func hold(v scaler.View) *wire.Hold {
	h := v.Facts.Hold
	if !h.Holds(v.At) {
		return nil
	}
	return &wire.Hold{Asleep: h.Asleep, Since: h.Since.UTC(), Until: h.Until.UTC(), Actor: h.Actor, Reason: h.Reason}
}

func pause(p policy.Pause) *wire.Pause {
	if p.Scope == "" {
		return nil
	}
	return &wire.Pause{Scope: p.Scope, Since: p.Since.UTC(), Actor: p.Actor, Reason: p.Reason}
}

func group(v scaler.View) *wire.Group {
	g := v.Facts.Group
	if v.Server.Settings.Group == "" {
		return nil
	}
	answer := &wire.Group{
		Name: v.Server.Settings.Group, Wanted: g.Wanted, Why: string(g.Why),
		Before: g.Before, Waiting: g.Waiting, Error: g.Bad,
	}
	for _, mate := range v.Mates {
		answer.Mates = append(answer.Mates, mate.ID.Name)
	}
	return answer
}

func reverts(v scaler.View) *wire.Reverts {
	r := v.Server.Mark.Reverts
	if r.Count == 0 {
		return nil
	}
	return &wire.Reverts{
		Count: r.Count, Writer: r.Writer, Since: r.Since.UTC(),
		Contended: v.Decision.Reason == policy.Contended, Advice: explain.Advice(r.Writer),
	}
}
