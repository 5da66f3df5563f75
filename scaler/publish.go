package scaler

import (
	"fmt"
	"time"

	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// republishFor is how long an event is published again if the stream lacks it: a day less than the stream
// keeps events. An older one may have been there and be gone.
const republishFor = 6 * 24 * time.Hour

// publish publishes what happened, unless the stream has it. An error means that it does not: the caller tries
// again.
func (t *term) publish(st *state, e Event) error {
	s := t.s
	if t.hasPublished(st, e.ID) {
		return nil
	}
	if st.logged != e.ID { // not once for each try
		st.logged = e.ID
		s.meter.Event(e)
		s.logEvent(e)
	}
	if err := s.events.Publish(t.ctx, e); err != nil {
		if t.ctx.Err() == nil {
			s.logger.Warn("cannot publish an event, trying again", "server", e.Server.String(), "type", string(e.Type), "err", err)
		}
		return err
	}
	switch e.Type {
	case Slept, Woken, Scaled, Unchanged, Failed:
		t.mu.Lock()
		defer t.mu.Unlock()
		st.published = e.ID
	}
	return nil
}

// publishLast publishes the last change of a server unless the stream has it. It may be one of a former
// leader, or one of ours to which no answer came.
func (t *term) publishLast(st *state, id ID) error {
	server, ok := t.s.cache.Get(id)
	if !ok {
		return nil
	}
	last := server.Mark.Last
	if t.lastIsPublished(server) {
		return nil
	}
	if last.Type == Woken && last.Cause != policy.CauseExternal && !last.At.Before(t.began) && st.start == nil {
		t.trackWake(st, server, last.At) // the answer to its write got lost
	}
	return t.publish(st, last)
}

func (t *term) hasPublished(st *state, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return id == st.published || t.left.events[id]
}

func (t *term) lastIsPublished(server *Server) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isPublished(t.states[server.ID], server)
}

// isPublished reports whether the stream has the last change of a server, or had it.
func (t *term) isPublished(st *state, server *Server) bool {
	last := &server.Mark.Last
	return last.ID == "" || st != nil && last.ID == st.published || t.left.events[last.ID] || t.s.now().Sub(last.At) >= republishFor
}

// publishUnreadable publishes that the settings of a server can't be read, once for each mistake.
func (t *term) publishUnreadable(st *state, server *Server, f *policy.Facts) error {
	text := unreadable(f)
	if text == st.unreadable { // only passes write it
		return nil
	}
	e := Event{
		ID: noticeID(server, Unreadable, text), Type: Unreadable, Server: server.ID, At: t.s.now(),
		From: server.Replicas, To: server.Replicas, Text: explain.LeftAsItIs(text),
	}
	if text != "" {
		if err := t.publish(st, e); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st.unreadable = text
	return nil
}

// unreadable says what is wrong with what is written on a server, in itself or beside what is written on others.
func unreadable(f *policy.Facts) string {
	if f.Bad != nil {
		return f.Bad.Error()
	}
	return f.Group.Bad
}

// reconcileSelf publishes when silence begins to prove nothing, and when it proves something again: meanwhile
// no server sleeps, which people who pay for the memory should know. An event says how it was when that was
// noticed, however long NATS does not take it.
func (t *term) reconcileSelf() result {
	st := t.state(t.s.config.Self)
	if t.blindness.ID == "" {
		t.blindness = t.blindnessEvent()
	}
	if t.blindness.ID == "" {
		return result{}
	}
	if err := t.publish(st, t.blindness); err != nil {
		return retry(publishBackoff, byChange)
	}
	t.blindness = Event{}
	return requeue(byChange) // it may have changed meanwhile
}

// blindnessEvent is that silence begins to prove nothing, or something again; without an ID: nothing has changed.
func (t *term) blindnessEvent() Event {
	self, now := t.s.config.Self, t.s.now()
	e := Event{Server: self, At: now}
	switch found := t.s.coverage(now); {
	case found.Blind != "" && t.blind.IsZero():
		e.Type, e.Text = Blinded, "no server is put to sleep: "+found.Blind
		t.blind = now
	case found.Blind == "" && !t.blind.IsZero():
		e.Type, e.Text, e.Took = Sighted, "silence proves again that a server is unused", now.Sub(t.blind)
		t.blind = time.Time{}
	default:
		return Event{}
	}
	e.ID = fmt.Sprintf("%s-%s-%d", self.Name, e.Type, now.UnixNano())
	return e
}

func (s *Scaler) logEvent(e Event) {
	args := []any{"server", e.Server.String()}
	if e.Server != s.config.Self {
		args = append(args, "from", e.From, "to", e.To)
	}
	for _, a := range []struct{ key, value string }{
		{"cause", string(e.Cause)}, {"actor", e.Actor}, {"command", e.Command}, {"reason", e.Reason}, {"text", e.Text},
	} {
		if a.value != "" {
			args = append(args, a.key, a.value)
		}
	}
	for _, d := range []struct {
		key       string
		value     time.Duration
		precision time.Duration
	}{{"idle", e.Idle, time.Second}, {"asleep", e.Asleep, time.Second}, {"took", e.Took, time.Millisecond}} {
		if d.value > 0 {
			args = append(args, d.key, d.value.Round(d.precision).String()) // JSON would have nanoseconds
		}
	}
	s.logger.Info(string(e.Type), args...)
}
