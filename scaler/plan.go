package scaler

import (
	"cmp"
	"fmt"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// planCommand plans what a command writes. Each command writes, also when the replicas stay: the write
// keeps it from being applied twice, and says that the server is wanted.
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

// planOrder plans what a command makes of the server. The newest order counts, and says which one it ends.
func (t *term) planOrder(server *Server, c Command, e Event) (Change, error) {
	if c.Verb == Hold {
		return t.planHold(server, c, e)
	}
	ends := explain.EndsHold(server.held(e.At))
	if c.Verb == Release {
		e.Type, e.From, e.To = Unchanged, server.Replicas, server.Replicas
		e.Text = cmp.Or(ends, "there was no hold")
		change := Change{server.Replicas, server.Mark, e}
		change.Mark.Hold = policy.Hold{}
		return change, nil
	}
	if c.sleeps() {
		e.Text = ends
		change := t.planSleep(server, policy.BecauseCommand, t.s.tracker.Of(server.ID).Last, e)
		change.Mark.Hold = policy.Hold{}
		return change, nil
	}
	if server.Mark.Hold.Asleep {
		e.Text = ends
	}
	if c.Verb == Scale {
		return t.planStart(server, c.Replicas, e), nil
	}
	return t.planStart(server, server.wanted(), e), nil
}

// planHold plans that the server stays awake, or asleep, from now on.
func (t *term) planHold(server *Server, c Command, e Event) (Change, error) {
	until, err := c.until(server, c.Taken)
	if err != nil {
		return Change{}, err
	}
	if !until.After(e.At) {
		return Change{}, fmt.Errorf("%w: the hold was to last until %s: send it again if it is still wanted",
			ErrExpired, explain.Instant(until))
	}
	former := server.held(e.At)
	ends := explain.EndsHold(former)
	if former.Until.IsZero() && server.Replicas == 0 && server.Mark.Because == policy.BecauseCommand {
		ends = explain.EndsStop(server.Mark.Asleep)
	}
	hold := policy.Hold{Asleep: c.Asleep, Since: e.At, Until: until, Actor: c.Actor, Reason: c.Reason}
	e.Text = explain.Joined("; ", explain.Held(hold), ends)
	var change Change
	if c.Asleep {
		change = t.planSleep(server, policy.BecauseHold, t.s.tracker.Of(server.ID).Last, e)
	} else {
		change = t.planStart(server, server.wanted(), e)
	}
	change.Mark.Hold = hold
	return change, nil
}

// planStart plans to wake or scale the server, as soon as the servers before it are ready.
func (t *term) planStart(server *Server, replicas int, e Event) Change {
	change := t.planWake(server, replicas, e)
	if change.Mark.Hold.Asleep {
		change.Mark.Hold = policy.Hold{}
	}
	if len(server.Settings.After) == 0 {
		return change // without the cost of a look at its group
	}
	facts, _ := t.s.decider().decide(server)
	waiting := facts.Group.Waiting
	if len(waiting) == 0 {
		return change
	}
	change.Replicas, change.Event.To, change.Event.Type, change.Event.Asleep = 0, 0, Unchanged, 0
	change.Event.Text = explain.Joined("; ", e.Text, explain.WaitsFor(waiting))
	change.Mark.Restore, change.Mark.Because = replicas, policy.BecauseAfter
	change.Mark.Asleep, change.Mark.Awake = server.Mark.Asleep, time.Time{}
	if change.Mark.Asleep.IsZero() {
		change.Mark.Asleep = e.At
	}
	return change
}

// planSleep plans zero replicas, and remembers how many there were. Seen is the last ping known to the
// decision.
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

// asleepFor returns how long the daemon has had the server at zero. That is 0 for somebody else's zero,
// and where the mark is gone. Time before the Deployment was made does not count: a backup may have
// brought the mark back.
func asleepFor(server *Server, now time.Time) time.Duration {
	if server.Replicas == 0 && !server.Ours || server.Mark.Asleep.IsZero() {
		return 0
	}
	return max(0, now.Sub(latestOf(server.Mark.Asleep, server.Created)))
}
