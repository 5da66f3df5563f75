package scaler

import (
	"cmp"
	"fmt"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// planCommand plans what a command writes. Each command writes, also when the replicas stay: the
// write keeps it from being applied twice, and says that the server is wanted.
func (t *term) planCommand(server *Server, c Command) (Change, error) {
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
	change.Mark.Reverts = policy.Reverts{} // this order decides between the daemon and a rival
	return change, err
}

// planOrder plans what a command makes of the server. The newest order counts, and says which one
// it ends.
func (t *term) planOrder(server *Server, c Command, e Event) (Change, error) {
	hold, text, err := c.holdAfter(server, e.At)
	if err != nil {
		return Change{}, err
	}
	e.Text = text
	var change Change
	switch {
	case c.Verb == Release:
		e.Type, e.From, e.To = Unchanged, server.Replicas, server.Replicas
		change = Change{server.Replicas, server.Mark, e}
	case c.sleeps():
		because := policy.BecauseCommand
		if c.Verb == Hold {
			because = policy.BecauseHold
		}
		change = t.planSleep(server, because, t.s.tracker.Of(server.ID).Last, e)
	case c.Verb == Scale:
		change = t.planStart(server, c.Replicas, e)
	default:
		change = t.planStart(server, server.AwakeReplicas(), e)
	}
	change.Mark.Hold = hold
	return change, nil
}

// planStart plans to wake or scale the server, as soon as the servers before it are ready.
func (t *term) planStart(server *Server, replicas int, e Event) Change {
	var waiting []string
	if len(server.Settings.After) > 0 { // else a look at its group would cost much for nothing
		facts, _ := t.s.decider().decide(server)
		waiting = facts.Group.Waiting
	}
	if len(waiting) == 0 {
		return t.planWake(server, replicas, e)
	}
	e.Type, e.Text = Unchanged, explain.Joined("; ", e.Text, explain.WaitsFor(waiting))
	return Change{0, Mark{
		Restore: replicas, Because: policy.BecauseAfter, Asleep: cmp.Or(server.Mark.Asleep, e.At),
	}, e}
}

// planSleep plans zero replicas, and remembers how many there were. Seen is the last ping known to
// the decision.
func (t *term) planSleep(server *Server, because policy.Because, seen activity.Stamp, e Event) Change {
	e.Type, e.From = Slept, server.Replicas
	mark := Mark{
		Restore: server.Replicas, Because: because, Asleep: e.At, Seen: seen,
		Done: server.Mark.Done, Hold: server.held(e.At), Reverts: server.Mark.Reverts,
	}
	if server.Replicas == 0 {
		e.Type, e.Asleep = Unchanged, asleepFor(server, e.At) // the new mark forgets when that sleep began
		mark.Restore = server.Mark.Restore
	}
	return Change{0, mark, e}
}

// planWake plans a number of replicas above zero, and says that the server is wanted now.
func (t *term) planWake(server *Server, replicas int, e Event) Change {
	e.From, e.To = server.Replicas, replicas
	switch {
	case server.Replicas == 0:
		e.Type, e.Asleep = Woken, asleepFor(server, e.At)
	case server.Replicas == replicas:
		e.Type = Unchanged
	default:
		e.Type = Scaled
	}
	return Change{replicas, Mark{Awake: e.At, Done: server.Mark.Done, Hold: server.held(e.At)}, e}
}

// asleepFor returns how long the daemon has had the server at zero. That is 0 for somebody else's
// zero, and where the mark is gone. Time before the Deployment was made does not count: a backup
// may have brought the mark back.
func asleepFor(server *Server, now time.Time) time.Duration {
	if server.Replicas == 0 && !server.Ours || server.Mark.Asleep.IsZero() {
		return 0
	}
	return max(0, now.Sub(latestOf(server.Mark.Asleep, server.Created)))
}
