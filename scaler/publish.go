package scaler

import (
	"fmt"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// republishFor is how long an event that the stream lacks is published again: a day less than the
// stream keeps events. An older one may have been there and be gone.
const republishFor = 6 * 24 * time.Hour

// publish publishes an event, unless the stream has it. After an error the caller tries again.
func (t *term) publish(st *state, e Event) error {
	s := t.s
	if e.ID == st.published || t.former.events[e.ID] {
		return nil
	}
	if st.logged != e.ID { // once, however often it is tried
		st.logged = e.ID
		s.meter.Event(e)
		s.logEvent(e)
	}
	if err := s.events.Publish(t.ctx, e); err != nil {
		if t.ctx.Err() == nil {
			s.logger.Warn("cannot publish an event, trying again",
				"server", e.Server.String(), "type", string(e.Type), "err", err)
		}
		return err
	}
	switch e.Type {
	case Slept, Woken, Scaled, Unchanged, Failed:
		assign(t, &st.published, e.ID)
	}
	return nil
}

// publishLast publishes the last change of a server unless the stream has it. A former leader may
// have made it, or it is ours and the answer to its write got lost.
func (t *term) publishLast(st *state, server *Server) error {
	last := server.Mark.Last
	if t.isPublished(st, server) {
		return nil
	}
	if last.Type == Woken && last.Cause != policy.CauseExternal && !last.At.Before(t.began) && st.readiness == nil {
		t.trackWake(st, server, last.At)
	}
	return t.publish(st, last)
}

// isPublished reports whether the stream has the last change of a server, or had it. The caller
// holds mu, or is the pass over the server.
func (t *term) isPublished(st *state, server *Server) bool {
	last := &server.Mark.Last
	return last.ID == "" || last.ID == st.published || t.former.events[last.ID] ||
		t.s.now().Sub(last.At) >= republishFor
}

// publishUnreadable publishes that the settings of a server can't be read, once for each mistake.
func (t *term) publishUnreadable(st *state, server *Server, f *policy.Facts) error {
	text := unreadable(f)
	if text == st.unreadable {
		return nil
	}
	if text != "" {
		e := newEvent(Unreadable, server, noticeID(Unreadable, server, text), t.s.now())
		e.Text = explain.LeftAsItIs(text)
		if err := t.publish(st, e); err != nil {
			return err
		}
	}
	assign(t, &st.unreadable, text)
	return nil
}

// unreadable returns what is wrong with the settings of a server, in themselves or beside those of
// its group.
func unreadable(f *policy.Facts) string {
	if f.Bad != nil {
		return f.Bad.Error()
	}
	return f.Group.Bad
}

// publishContended publishes, once, that somebody else keeps waking the server. The event has the
// same ID whichever leader publishes it.
func (t *term) publishContended(st *state, server *Server) error {
	reverts := server.Mark.Reverts
	id := instantID(Contended, server, reverts.Since)
	if !reverts.Contended(server.Settings.Digest) || server.Replicas == 0 || id == st.contended {
		return nil
	}
	e := newEvent(Contended, server, id, t.s.now())
	e.Cause, e.Actor, e.Text = policy.CauseExternal, reverts.Writer, explain.Reverts(reverts)
	if err := t.publish(st, e); err != nil {
		return err
	}
	st.contended = id
	return nil
}

// reconcileSelf publishes when silence begins to prove nothing, and when it proves something again.
// Meanwhile no server sleeps, which whoever pays for the memory should know. If NATS is away, the
// event still says how it was when this was noticed.
func (t *term) reconcileSelf() result {
	self, now := t.s.config.Self, t.s.now()
	if e := &t.blindness; e.ID == "" {
		switch why := t.s.coverage(now).Blind; {
		case why != "" && t.blind.IsZero():
			*e = Event{Type: Blinded, Text: "no server is put to sleep: " + why}
			t.blind = now
		case why == "" && !t.blind.IsZero():
			*e = Event{Type: Sighted, Text: "silence proves again that a server is unused", Took: now.Sub(t.blind)}
			t.blind = time.Time{}
		default:
			return result{}
		}
		e.ID, e.Server, e.At = fmt.Sprintf("%s-%s-%d", self.Name, e.Type, now.UnixNano()), self, now
	}
	if err := t.publish(t.state(self), t.blindness); err != nil {
		return retry(publishBackoff, byChange)
	}
	t.blindness = Event{}
	return requeue(byChange) // it may have changed meanwhile
}

func (s *Scaler) logEvent(e Event) {
	args := []any{"server", e.Server.String()}
	if e.Server != s.config.Self {
		args = append(args, "from", e.From, "to", e.To)
	}
	span := func(d, precision time.Duration) string { // JSON would have nanoseconds
		if d <= 0 {
			return ""
		}
		return d.Round(precision).String()
	}
	for _, a := range []struct{ key, value string }{
		{"cause", string(e.Cause)},
		{"actor", e.Actor},
		{"command", e.Command},
		{"reason", e.Reason},
		{"text", e.Text},
		{"idle", span(e.Idle, time.Second)},
		{"asleep", span(e.Asleep, time.Second)},
		{"took", span(e.Took, time.Millisecond)},
	} {
		if a.value != "" {
			args = append(args, a.key, a.value)
		}
	}
	s.logger.Info(string(e.Type), args...)
}
