package scaler

import (
	"context"
	"time"

	"idle-scaler/policy/explain"
)

// readiness is how far a server is on its way to ready, after it was woken, or a command started or
// scaled it. The passes over the server track it.
type readiness struct {
	woken      bool      // else the server was awake already; only wakes are measured
	generation int64     // counts are believed once they were observed at this generation
	began      time.Time // when it was woken, or began to start
	all        bool      // a scale asked for all of its replicas
	ready      bool      // that it is ready was published, or is no news
	readyEvent Event     // not published yet; without an ID: it is not ready
	failed     bool      // the Deployment says that it will not get ready; only "ready" may follow

	refused time.Time // since when the cluster makes no pods for it
	reason  string    // why it is not ready, as published

	diagnosis Diagnosis          // of its pods, as sent last; guarded by the term's mu
	cancel    context.CancelFunc // ends Diagnose; nil: it was not called yet
}

// Diagnosis is why a server is not ready.
type Diagnosis struct {
	Reason string // one word, like ImagePullBackOff
	Text   string
	Fatal  bool // waiting will not make it ready
}

// refusalLasts is how long the cluster's refusal to make pods must be seen to be believed: the
// status may still be about the time before a wake, and counts pods late.
const refusalLasts = time.Second

// trackWake begins to track a server that was woken at an instant.
func (t *term) trackWake(st *state, server *Server, at time.Time) {
	st.readiness.stop() // of an earlier wake: somebody put the server to zero meanwhile
	assign(t, &st.readiness, &readiness{woken: true, generation: server.Generation, began: at})
}

// trackOrder tracks a server that a command has started or scaled, also if it was awake before.
func (t *term) trackOrder(st *state, server *Server, all bool) {
	if st.readiness == nil || st.readiness.failed {
		st.readiness.stop()
		assign(t, &st.readiness, &readiness{began: startingAt(server), ready: server.Ready > 0})
	}
	r := st.readiness
	if r.generation != server.Generation {
		r.generation, r.reason = server.Generation, "" // that reason was another start's
	}
	r.all = r.all || all
}

// resumeReadiness returns what a new leader tracks: a start whose end a former leader has not seen.
func (t *term) resumeReadiness(server *Server) *readiness {
	mark, now := &server.Mark, t.s.now()
	failed := mark.Failed != ""
	recent := func(began time.Time) bool { return now.Before(began.Add(t.s.config.Rules.StartDeadline)) }
	switch {
	case server.Replicas == 0:
		return nil
	case server.Ready == 0 && (failed || recent(mark.Awake)):
		return &readiness{woken: true, generation: server.Generation, began: mark.Awake, failed: failed}
	case mark.Last.Type == Scaled && server.Ready < server.Replicas && !failed && recent(mark.Last.At):
		return &readiness{generation: server.Generation, began: mark.Last.At, all: true, ready: server.Ready > 0}
	}
	return nil
}

// stopTracking ends the tracking of a server; the queue needs no pass for it.
func (t *term) stopTracking(st *state) result {
	st.readiness.stop()
	assign(t, &st.readiness, nil)
	return result{}
}

// stop ends the watch of the pods.
func (r *readiness) stop() {
	if r != nil && r.cancel != nil {
		r.cancel()
	}
}

// unfinished reports whether the server is not as ready yet as was asked, and may get so.
func (r *readiness) unfinished() bool { return !r.failed && (!r.ready || r.all) }

// trackReadiness publishes that a started server is ready, that it will not be, or why it is not
// yet. That ends when all replicas are ready.
func (t *term) trackReadiness(st *state, server *Server) result {
	r := st.readiness
	switch {
	case r == nil:
		return result{}
	case server.Replicas == 0 && server.Generation <= r.generation:
		return result{} // the cache is older than the wake
	case server.Replicas == 0:
		return t.stopTracking(st)
	}
	if server.ready(r.generation) && !r.ready && r.readyEvent.ID == "" {
		r.readyEvent = t.startEvent(r, server, Ready, "") // now: how long it took does not depend on NATS
	}
	if r.readyEvent.ID != "" {
		if err := t.publish(st, r.readyEvent); err != nil {
			return retry(publishBackoff, byChange)
		}
		if r.ready = true; r.woken {
			t.s.meter.Wake("ready", r.readyEvent.Took)
		}
		r.readyEvent = Event{}
	}
	now := t.s.now()
	deadline, slow := r.began.Add(t.s.config.Rules.StartDeadline), r.began.Add(t.s.config.DiagnoseAfter)
	switch {
	case server.allReady(r.generation), r.ready && r.failed:
		return t.stopTracking(st)
	case r.failed:
		return result{}
	case !now.Before(deadline):
		return t.fail(st, server, explain.NotReady(r.began, t.s.config.Rules.StartDeadline))
	case now.Before(slow): // the pods have just been made, and a refusal may be of before the wake
		return requeueAt(slow, byChange)
	}
	if refused := server.Refused; refused == nil || !r.ready && server.Total > 0 {
		r.refused = time.Time{}
	} else if r.refused.IsZero() {
		r.refused = now
	} else if !now.Before(r.refused.Add(refusalLasts)) {
		return t.fail(st, server, explain.Joined(": ", refused.Reason, refused.Message))
	}
	d := t.diagnose(r, server)
	switch text := explain.Joined(": ", d.Reason, d.Text); {
	case d.Fatal:
		return t.fail(st, server, text)
	case text != "" && text != r.reason && r.unfinished():
		if err := t.publish(st, t.startEvent(r, server, Progress, text)); err != nil {
			return retry(publishBackoff, byChange)
		}
		r.reason = text
	}
	if !r.refused.IsZero() {
		return requeueAt(r.refused.Add(refusalLasts), byChange)
	}
	return requeueAt(deadline, byChange)
}

// diagnose returns why the server is not ready, as its pods said last. The first call begins to
// watch them; from then on each change asks for a pass.
func (t *term) diagnose(r *readiness, server *Server) Diagnosis {
	if r.cancel == nil {
		ctx, cancel := context.WithCancel(t.ctx)
		r.cancel = cancel
		diagnoses := t.s.pods.Diagnose(ctx, server)
		t.watches.Go(func() {
			for d := range diagnoses {
				assign(t, &r.diagnosis, d)
				t.queue.add(server.ID, byChange)
			}
		})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return r.diagnosis
}

func (t *term) startEvent(r *readiness, server *Server, kind EventType, text string) Event {
	last := &server.Mark.Last
	e := newEvent(kind, server, noticeID(kind, server, text), t.s.now())
	e.Cause, e.Actor, e.Command, e.Text, e.Took = last.Cause, last.Actor, last.Command, text, e.At.Sub(r.began)
	return e
}

// fail writes on the Deployment why the server will not get ready, so that every replica can say
// so, and publishes it.
func (t *term) fail(st *state, server *Server, text string) result {
	r := st.readiness
	if !r.unfinished() {
		return t.stopTracking(st)
	}
	_, e, err := t.try(st, server.ID, &st.tries, func(now *Server) (Change, error) {
		if now.Replicas == 0 || now.Ready > 0 && !r.all || !now.Mark.Awake.Equal(server.Mark.Awake) {
			return Change{}, nil // that wake is over
		}
		mark := now.Mark
		mark.Failed = text
		return Change{now.Replicas, mark, t.startEvent(r, now, Failed, text)}, nil
	})
	if err != nil {
		t.s.logger.Warn("cannot write why a server does not get ready, trying again",
			"server", server.ID.String(), "text", text, "err", err)
		return retry(wakeBackoff, byChange)
	}
	st.tries = tries{}
	if e.ID == "" {
		return t.stopTracking(st)
	}
	r.stop()
	r.failed = true
	if err := t.publish(st, e); err != nil {
		return retry(publishBackoff, byChange)
	}
	return result{}
}
