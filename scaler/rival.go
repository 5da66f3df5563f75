package scaler

import (
	"slices"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// planWokenByOthers notes that somebody else gave replicas to a server that the daemon had put to
// zero. If nobody asked for it, that is a revert: after policy.MaxReverts of them in a row the
// server is left alone.
func (t *term) planWokenByOthers(server *Server, now time.Time) Change {
	c := t.planWake(server, server.Replicas, Event{
		At: now, Cause: policy.CauseExternal, Actor: server.Writer, Text: explain.WokenByOthers(false),
	})
	c.Event.Type, c.Event.From, c.Event.Asleep = Woken, 0, asleepFor(server, now)
	facts := t.s.factsIfAsleep(server, now)
	switch d := t.s.config.Rules.Decide(&facts, now); {
	case d.Action == policy.Wake, d.Reason == policy.Ordered:
		return c // it was to wake anyway, at once or after others
	case d.Reason == policy.Blind:
		c.Mark.Reverts = server.Mark.Reverts
		return c // nobody knows whether it was asked for
	}
	reverts := server.Mark.Reverts
	if !reverts.Counts(server.Settings.Digest) {
		reverts = policy.Reverts{Since: now, Digest: server.Settings.Digest}
	}
	reverts.Count++
	reverts.Writer = server.Writer
	c.Mark.Reverts = reverts
	if reverts.Count < policy.MaxReverts {
		c.Event.Text = explain.WokenByOthers(true)
	}
	return c
}

// factsIfAsleep returns the facts about a server that somebody else has woken, as if it still
// slept, and as if a ping woke it whatever its settings say: whoever wakes a server that is used is
// no rival.
func (s *Scaler) factsIfAsleep(server *Server, now time.Time) policy.Facts {
	sleeper := *server
	sleeper.Replicas, sleeper.Ours = 0, true
	facts := s.factsAlone(&sleeper, now)
	facts.Settings.WakeOnActivity = true
	if name := server.Settings.Group; name != "" {
		group := s.group(ID{Namespace: server.ID.Namespace, Name: name}, now)
		group.wanted = slices.DeleteFunc(group.wanted, func(mate wanted) bool {
			return mate.wokenByOthers() || mate.Mark.Reverts.Count > 0 // by the same rival, which would excuse itself
		})
		facts.Group = group.of(&sleeper)
	}
	return facts
}
