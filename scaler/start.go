package scaler

import (
	"context"
	"fmt"
	"time"
)

// start is a server on its way to ready: one that was woken, or that somebody asked for while it was not
// ready. The passes over the server track it.
type start struct {
	woken      bool      // else it was awake already: only of wakes it is measured how long they take
	generation int64     // the counts are about it once they were observed at this generation
	began      time.Time // when it was woken, or began to start
	ready      bool      // that it is ready was published, or is no news
	all        bool      // a scale asked for all of its replicas

	refused time.Time // since when the cluster is seen to make no pods for it
	said    string    // why it is not ready, as published

	// What its pods say. Diagnose is called once, and fills it; guarded by the term's mu.
	diagnosis Diagnosis
	cancel    context.CancelFunc // of Diagnose; nil: it was not called yet
}

// refusalLasts is how long the cluster's refusal to make pods has to be seen to be believed: the status also
// tells of the time before a wake, and counts pods late.
const refusalLasts = time.Second

// startTracking begins to track a server on its way to ready.
func (t *term) startTracking(st *state, server *Server, began time.Time, woken, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	former := st.start
	if !woken && former != nil {
		former.generation, former.all = server.Generation, former.all || all
		return
	}
	if !woken {
		began = t.s.tracker.Unstamp(startingAt(server))
	}
	former.stop() // it was put to zero meanwhile
	st.start = &start{woken: woken, generation: server.Generation, began: began, ready: !woken && server.Ready > 0, all: all}
}

// waits reports whether it is not as ready yet as it was asked to be.
func (s *start) waits() bool { return !s.ready || s.all }

func (t *term) stopTracking(st *state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st.start.stop()
	st.start = nil
}

func (s *start) stop() {
	if s != nil && s.cancel != nil {
		s.cancel()
	}
}

// track publishes that a server on its way is ready, that it will not be, or why it is not yet. It ends when
// all replicas are ready.
func (t *term) track(st *state, id ID) next {
	s := st.start
	if s == nil {
		return next{}
	}
	server, ok := t.s.cache.Get(id)
	if !ok || server.Replicas == 0 {
		if ok && server.Generation <= s.generation {
			return next{} // what is known of it is of before it was woken
		}
		t.stopTracking(st)
		return next{}
	}
	if server.ready(s.generation) && !s.ready {
		e := t.startEvent(s, server, Ready, "")
		if err := t.publish(st, e); err != nil {
			return next{failed: publishRest}
		}
		if s.ready = true; s.woken {
			t.s.meter.Wake("ready", e.Took)
		}
	}
	if server.allReady(s.generation) {
		t.stopTracking(st)
		return next{}
	}
	now := t.s.now()
	deadline, slow := s.began.Add(t.s.config.Rules.StartDeadline), s.began.Add(t.s.config.DiagnoseAfter)
	switch {
	case !now.Before(deadline):
		return t.fail(st, server, fmt.Sprintf("not ready within %s", t.s.config.Rules.StartDeadline))
	case now.Before(slow): // right after a wake a refusal may be of before it, and pods have just been made
		return next{at: slow}
	}
	if refused := server.Refused; refused == nil || !s.ready && server.Total > 0 {
		s.refused = time.Time{}
	} else if s.refused.IsZero() {
		s.refused = now
	} else if !now.Before(s.refused.Add(refusalLasts)) {
		return t.fail(st, server, fmt.Sprintf("%s: %s", refused.Reason, refused.Message))
	}
	d := t.diagnose(st, server)
	text := d.String()
	switch {
	case d.Fatal:
		return t.fail(st, server, text)
	case text != "" && text != s.said && s.waits():
		if err := t.publish(st, t.startEvent(s, server, Progress, text)); err != nil {
			return next{failed: publishRest}
		}
		s.said = text
	}
	if !s.refused.IsZero() {
		return next{at: s.refused.Add(refusalLasts)}
	}
	return next{at: deadline}
}

// diagnose returns why the server is not ready, as its pods said last. From the first call on, each change of
// that asks for a pass.
func (t *term) diagnose(st *state, server *Server) Diagnosis {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := st.start
	if s.cancel != nil {
		return s.diagnosis
	}
	ctx, cancel := context.WithCancel(t.ctx)
	s.cancel = cancel
	diagnoses := t.s.pods.Diagnose(ctx, server)
	t.beside.Go(func() {
		for {
			select {
			case d, ok := <-diagnoses:
				if !ok {
					return
				}
				t.mu.Lock()
				s.diagnosis = d
				t.mu.Unlock()
				t.queue.add(server.ID, byChange)
			case <-ctx.Done():
				return
			}
		}
	})
	return Diagnosis{}
}

// String says it in words; nothing if nothing is known.
func (d Diagnosis) String() string {
	if d == (Diagnosis{}) {
		return ""
	}
	return fmt.Sprintf("%s: %s", d.Reason, d.Text)
}

func (t *term) startEvent(s *start, server *Server, kind EventType, text string) Event {
	last, now := &server.Mark.Last, t.s.now()
	return Event{
		ID: noticeID(server, kind, text), Type: kind, Server: server.ID, At: now,
		From: server.Replicas, To: server.Replicas, Cause: last.Cause, Actor: last.Actor, Command: last.Command,
		Text: text, Took: now.Sub(s.began),
	}
}

// fail writes on the Deployment why it will not get ready, so that every replica can say so, and publishes it.
func (t *term) fail(st *state, server *Server, text string) next {
	s := st.start
	if !s.waits() || server.Mark.Failed == text { // a former leader has found that out
		t.stopTracking(st)
		return next{}
	}
	var tr tries
	_, e, err := t.try(server.ID, &tr, func(now *Server) (Change, error) {
		if now.Replicas == 0 || now.Ready > 0 && !s.all || !now.Mark.Awake.Equal(server.Mark.Awake) {
			return Change{}, nil // that wake is over
		}
		mark := now.Mark
		mark.Failed = text
		e := t.startEvent(s, now, Failed, text)
		return Change{Replicas: now.Replicas, Mark: mark, Event: e}, nil
	})
	switch {
	case err != nil:
		t.s.logger.Warn("cannot write why a server does not get ready, trying again", "server", server.ID.String(), "text", text, "err", err)
		return next{failed: wakeRest}
	case e.ID == "":
		t.stopTracking(st)
		return next{}
	}
	t.stopTracking(st)
	if err := t.publish(st, e); err != nil {
		return next{failed: publishRest}
	}
	return next{}
}

// ready reports whether some replica is ready and the counts are at least as new as the generation.
func (s *Server) ready(generation int64) bool { return s.Observed >= generation && s.Ready > 0 }

func (s *Server) allReady(generation int64) bool {
	return s.Observed >= generation && s.Ready >= s.Replicas && s.Updated >= s.Replicas
}

// startingAt is when the server began what may be a start, by our clock.
func (s *Scaler) startingAt(server *Server) time.Time { return s.tracker.Local(startingAt(server)) }
