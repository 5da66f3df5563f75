package scaler

import (
	"context"
	"fmt"
	"time"

	"idle-scaler/policy/explain"
)

// start is a server on its way to ready: one that was woken, or that a command has started or scaled. The passes
// over the server track it.
type start struct {
	woken      bool      // else it was awake already: only of wakes it is measured how long they take
	generation int64     // the counts are about it once they were observed at this generation
	began      time.Time // when it was woken, or began to start
	all        bool      // a scale asked for all of its replicas
	ready      bool      // that it is ready was published, or is no news
	readyEvent Event     // that it is ready, until it is published; without an ID: it is not
	failed     bool      // that it will not get ready is on the Deployment; all that may follow is that it is ready after all

	refused time.Time // since when the cluster is seen to make no pods for it
	said    string    // why it is not ready, as published

	// What its pods say. Diagnose is called once, and fills it; guarded by the term's mu.
	diagnosis Diagnosis
	cancel    context.CancelFunc // of Diagnose; nil: it was not called yet
}

// refusalLasts is how long the cluster's refusal to make pods has to be seen to be believed: the status also
// tells of the time before a wake, and counts pods late.
const refusalLasts = time.Second

// trackWake begins to track a server that was woken at an instant.
func (t *term) trackWake(st *state, server *Server, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st.start.stop() // it was put to zero meanwhile
	st.start = &start{woken: true, generation: server.Generation, began: at}
}

// trackOrder tracks a server that a command has started or scaled, also if it was awake before.
func (t *term) trackOrder(st *state, server *Server, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st.start == nil || st.start.failed {
		st.start.stop()
		st.start = &start{began: startingAt(server), ready: server.Ready > 0}
	}
	if st.start.generation != server.Generation {
		st.start.generation, st.start.said = server.Generation, "" // the reason is that of another start
	}
	st.start.all = st.start.all || all
}

// resumeTracking returns what a new leader tracks: a server whose start a former leader has begun, and not seen
// the end of.
func (t *term) resumeTracking(server *Server, now time.Time) *start {
	woken := server.Mark.Awake
	last, failed := server.Mark.Last, server.Mark.Failed != ""
	within := func(began time.Time) bool { return now.Before(began.Add(t.s.config.Rules.StartDeadline)) }
	switch {
	case server.Replicas == 0:
		return nil
	case server.Ready == 0 && (failed || within(woken)):
		return &start{woken: true, generation: server.Generation, began: woken, failed: failed}
	case last.Type == Scaled && server.Ready < server.Replicas && !failed && within(last.At):
		return &start{generation: server.Generation, began: last.At, all: true, ready: server.Ready > 0}
	}
	return nil
}

// waits reports whether it is not as ready yet as it was asked to be, and may get so.
func (s *start) waits() bool { return !s.failed && (!s.ready || s.all) }

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
func (t *term) track(st *state, id ID) result {
	s := st.start
	if s == nil {
		return result{}
	}
	server, ok := t.s.cache.Get(id)
	if !ok || server.Replicas == 0 {
		if ok && server.Generation <= s.generation {
			return result{} // what is known of it is of before it was woken
		}
		t.stopTracking(st)
		return result{}
	}
	if server.ready(s.generation) && !s.ready && s.readyEvent.ID == "" {
		s.readyEvent = t.startEvent(s, server, Ready, "") // as it is now: how long it took does not depend on NATS
	}
	if s.readyEvent.ID != "" {
		if err := t.publish(st, s.readyEvent); err != nil {
			return retry(publishBackoff, byChange)
		}
		if s.ready = true; s.woken {
			t.s.meter.Wake("ready", s.readyEvent.Took)
		}
		s.readyEvent = Event{}
	}
	switch {
	case server.allReady(s.generation), s.ready && s.failed:
		t.stopTracking(st)
		return result{}
	case s.failed:
		return result{}
	}
	now := t.s.now()
	deadline, slow := s.began.Add(t.s.config.Rules.StartDeadline), s.began.Add(t.s.config.DiagnoseAfter)
	switch {
	case !now.Before(deadline):
		return t.fail(st, server, explain.NotReady(s.began, t.s.config.Rules.StartDeadline))
	case now.Before(slow): // right after a wake a refusal may be of before it, and pods have just been made
		return requeueAt(slow, byChange)
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
			return retry(publishBackoff, byChange)
		}
		s.said = text
	}
	if !s.refused.IsZero() {
		return requeueAt(s.refused.Add(refusalLasts), byChange)
	}
	return requeueAt(deadline, byChange)
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
func (t *term) fail(st *state, server *Server, text string) result {
	s := st.start
	if !s.waits() {
		t.stopTracking(st)
		return result{}
	}
	_, e, err := t.try(server.ID, &st.tries, func(now *Server) (Change, error) {
		if now.Replicas == 0 || now.Ready > 0 && !s.all || !now.Mark.Awake.Equal(server.Mark.Awake) {
			return Change{}, nil // that wake is over
		}
		mark := now.Mark
		mark.Failed = text
		return Change{Replicas: now.Replicas, Mark: mark, Event: t.startEvent(s, now, Failed, text)}, nil
	})
	if err != nil {
		t.s.logger.Warn("cannot write why a server does not get ready, trying again", "server", server.ID.String(), "text", text, "err", err)
		return retry(wakeBackoff, byChange)
	}
	st.tries = tries{}
	if e.ID == "" {
		t.stopTracking(st)
		return result{}
	}
	t.stopDiagnosis(s)
	s.failed = true
	if err := t.publish(st, e); err != nil {
		return retry(publishBackoff, byChange)
	}
	return result{}
}

// stopDiagnosis ends the watch of the pods.
func (t *term) stopDiagnosis(s *start) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.stop()
}

// ready reports whether some replica is ready and the counts are at least as new as the generation.
func (s *Server) ready(generation int64) bool { return s.Observed >= generation && s.Ready > 0 }

func (s *Server) allReady(generation int64) bool {
	return s.Observed >= generation && s.Ready >= s.Replicas && s.Updated >= s.Replicas
}
