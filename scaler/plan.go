package scaler

import (
	"fmt"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// plan says what a command writes. Each command is one write, also when the replicas stay: the write is what keeps it from
// being applied twice, and says that the server is wanted.
func (t *term) plan(server *Server, c Command) (Change, error) {
	done := server.Mark.Done.Stamp
	if c.Stamp.Equal(done) {
		return Change{}, nil
	}
	if c.Stamp.OlderThan(done) {
		return Change{}, fmt.Errorf("%w: a newer command was applied to %s meanwhile", errOutdated, server.ID)
	}
	if err := checkOrder(c, server); err != nil {
		return Change{}, err
	}
	change, err := t.planOrder(server, c, c.event(t.s.now()))
	change.Mark.Done = Done{c.Stamp, c.ID}
	change.Mark.Reverts = policy.Reverts{} // whoever orders something decides between us and the rival
	return change, err
}

// planOrder says what a command makes of the server. The newest order counts, and says which one it ends.
func (t *term) planOrder(server *Server, c Command, e Event) (Change, error) {
	switch {
	case c.Verb == Hold:
		return t.planHold(server, c, e)
	case c.Verb == Release:
		return t.planRelease(server, e), nil
	case c.sleeps():
		e.Text = explain.EndsHold(server.held(e.At))
		change := t.planSleep(server, policy.BecauseCommand, t.s.tracker.Of(server.ID).Last, e)
		change.Mark.Hold = policy.Hold{}
		return change, nil
	}
	if server.Mark.Hold.Asleep {
		e.Text = explain.EndsHold(server.held(e.At))
	}
	if c.Verb == Scale {
		return t.planStart(server, c.Replicas, e), nil
	}
	return t.planStart(server, server.AwakeReplicas(), e), nil
}

// planStart wakes the server, or scales it; those that it comes after are waited for.
func (t *term) planStart(server *Server, replicas int, e Event) Change {
	change := t.planWake(server, replicas, e)
	if change.Mark.Hold.Asleep {
		change.Mark.Hold = policy.Hold{}
	}
	waiting := t.waitingFor(server)
	if len(waiting) == 0 {
		return change
	}
	change.Replicas, change.Event.To, change.Event.Type, change.Event.Asleep = 0, 0, Unchanged, 0
	change.Event.Text = explain.Joined("; ", e.Text, explain.WaitsFor(waiting))
	change.Mark.Restore, change.Mark.Because, change.Mark.Asleep, change.Mark.Awake = replicas, policy.BecauseAfter, server.Mark.Asleep, time.Time{}
	if change.Mark.Asleep.IsZero() {
		change.Mark.Asleep = e.At
	}
	return change
}

// waits reports whether a command has started the server, and others have to be ready before.
func (s *Server) waits() bool { return s.Replicas == 0 && s.Mark.Because == policy.BecauseAfter }

func (c Command) event(now time.Time) Event {
	return Event{At: now, Cause: policy.CauseCommand, Actor: c.Actor, Command: c.ID, Reason: c.Reason}
}

// AwakeReplicas is how many replicas the server has, or wakes with.
func (s *Server) AwakeReplicas() int {
	if s.Replicas > 0 {
		return s.Replicas
	}
	return s.restored()
}

// restored is how many replicas the server wakes with.
func (s *Server) restored() int {
	if s.Mark.Restore > 0 {
		return s.Mark.Restore
	}
	return max(1, s.Settings.WakeReplicas)
}

// planSleep makes the server zero and remembers what it was. Seen is the last ping known to who decided it.
func (t *term) planSleep(server *Server, because policy.Because, seen activity.Stamp, e Event) Change {
	e.Type, e.From = Slept, server.Replicas
	mark := Mark{Restore: server.Replicas, Because: because, Asleep: e.At, Seen: seen, Done: server.Mark.Done, Hold: server.held(e.At), Reverts: server.Mark.Reverts}
	if server.Replicas == 0 {
		e.Type, e.Asleep = Unchanged, t.s.asleepFor(server, e.At) // which its mark does not say any more
		mark.Restore = server.Mark.Restore
	}
	return Change{Replicas: 0, Mark: mark, Event: e}
}

// planWake gives the server replicas, some or others than it has, and says that it is wanted now.
func (t *term) planWake(server *Server, replicas int, e Event) Change {
	e.From, e.To = server.Replicas, replicas
	switch {
	case server.Replicas == 0:
		e.Type, e.Asleep = Woken, t.s.asleepFor(server, e.At)
	case server.Replicas == replicas:
		e.Type = Unchanged
	default:
		e.Type = Scaled
	}
	return Change{Replicas: replicas, Mark: Mark{Awake: e.At, Done: server.Mark.Done, Hold: server.held(e.At)}, Event: e}
}

// asleepFor is how long the daemon has had the server at zero. Of somebody else's zero, or where the mark is gone, that is nothing; nor does
// the time count before it was made, as from a backup.
func (s *Scaler) asleepFor(server *Server, now time.Time) time.Duration {
	if server.Replicas == 0 && !server.Ours || server.Mark.Asleep.IsZero() {
		return 0
	}
	return max(0, now.Sub(latest(server.Mark.Asleep, server.Created)))
}
