package scaler

import (
	"fmt"
	"time"

	"idle-scaler/policy"
)

// planWokenByOthers takes note that somebody else gave replicas to a server that the daemon had put to zero. Without any demand
// that is a revert: after policy.MaxReverts of them in a row the server is left alone.
func (t *term) planWokenByOthers(server *Server, now time.Time) Change {
	c := t.planWake(server, server.Replicas, Event{At: now, Cause: CauseExternal, Actor: server.Writer, Text: "somebody else set its replicas while it was asleep"})
	c.Event.Type, c.Event.From = Woken, 0
	facts := t.s.facts(server, now)
	facts.Replicas, facts.Ours = 0, true
	if d := t.s.config.Rules.Decide(&facts, now); d.Action == policy.Wake || d.Reason == policy.Ordered {
		return c // it was about to be woken anyway
	}
	reverts := server.Mark.Reverts
	if reverts.Count == 0 || reverts.Digest != server.Settings.Digest {
		reverts = policy.Reverts{Since: now, Digest: server.Settings.Digest}
	}
	reverts.Count++
	reverts.Writer = server.Writer
	c.Mark.Reverts = reverts
	if reverts.Count < policy.MaxReverts {
		c.Event.Text += fmt.Sprintf(", though nobody had asked for it; after %d times in a row it is not put to sleep any more", policy.MaxReverts)
	}
	return c
}

// contended is the event that somebody else keeps waking the server, an empty one when nobody does. It has the same ID whoever
// tells it, and when.
func (t *term) contended(server *Server) Event {
	r := server.Mark.Reverts
	if r.Count < policy.MaxReverts || r.Digest != server.Settings.Digest || server.Replicas == 0 {
		return Event{}
	}
	return Event{
		ID:   fmt.Sprintf("%s-contended-%d", server.UID, r.Since.UnixNano()),
		Type: Contended, Server: server.ID, At: t.s.now(), From: server.Replicas, To: server.Replicas, Cause: CauseExternal, Actor: r.Writer,
		Text: r.Explain(),
	}
}
