package scaler

import (
	"fmt"
	"slices"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// planWokenByOthers takes note that somebody else gave replicas to a server that the daemon had put to zero. If nobody has asked for it,
// that is a revert: after policy.MaxReverts of them in a row the server is left alone.
func (t *term) planWokenByOthers(server *Server, now time.Time) Change {
	c := t.planWake(server, server.Replicas, Event{At: now, Cause: policy.CauseExternal, Actor: server.Writer, Text: explain.WokenByOthers(false)})
	c.Event.Type, c.Event.From, c.Event.Asleep = Woken, 0, t.s.asleepFor(server, now)
	facts := t.s.factsOfSleeper(server, now)
	switch d := t.s.config.Rules.Decide(&facts, now); {
	case d.Action == policy.Wake, d.Reason == policy.Ordered:
		return c // it was about to be woken anyway, at once or after others
	case d.Reason == policy.Blind:
		c.Mark.Reverts = server.Mark.Reverts
		return c // whether anybody has asked for it is not known
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

// factsOfSleeper are the facts about a server that somebody else has woken as if it slept still, and as if a ping woke it whatever its
// settings say: who wakes it because it is used is no rival.
func (s *Scaler) factsOfSleeper(server *Server, now time.Time) policy.Facts {
	sleeper := *server
	sleeper.Replicas, sleeper.Ours = 0, true
	facts := s.factsAlone(&sleeper, now)
	facts.Settings.WakeOnActivity = true
	if name := server.Settings.Group; name != "" {
		group := s.group(ID{Namespace: server.ID.Namespace, Name: name}, now)
		group.wanted = slices.DeleteFunc(group.wanted, func(mate wanted) bool {
			return mate.wokenByOthers() || mate.Mark.Reverts.Count > 0 // by the same rival, who would be excused by what it did itself
		})
		facts.Group = group.of(&sleeper)
	}
	return facts
}

// contended is the event that somebody else keeps waking the server, an empty one when nobody does. It has the same ID whoever
// tells it, and when.
func (t *term) contended(server *Server) Event {
	r := server.Mark.Reverts
	if !r.Contended(server.Settings.Digest) || server.Replicas == 0 {
		return Event{}
	}
	return Event{
		ID:   fmt.Sprintf("%s-contended-%d", server.UID, r.Since.UnixNano()),
		Type: Contended, Server: server.ID, At: t.s.now(), From: server.Replicas, To: server.Replicas, Cause: policy.CauseExternal, Actor: r.Writer,
		Text: explain.Reverts(r),
	}
}

// publishContended publishes, once, that somebody else keeps waking the server.
func (t *term) publishContended(st *state, server *Server) error {
	e := t.contended(server)
	if e.ID == "" || e.ID == st.contended {
		return nil
	}
	if err := t.publish(st, e); err != nil {
		return err
	}
	st.contended = e.ID
	return nil
}
