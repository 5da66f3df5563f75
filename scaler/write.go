package scaler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"idle-scaler/activity"
)

// MaxDecisionAge is how old a decision may be when it is sent, and a proof of silence when it is
// used. A process that stood still must not act on what was true before.
const MaxDecisionAge = time.Second

// Change is what is to be written on one server. The zero Change writes nothing: the server is as
// it should be.
type Change struct {
	Replicas int
	Mark     Mark
	Event    Event // without its ID and server, which write fills in
}

// try plans a change of a server, and writes it. It returns the server as written and the event; if
// plan wants nothing, the server as it is and no event. The first try reads from memory, so that a
// wake without a conflict reads nothing. Later ones read from the API server.
func (t *term) try(st *state, id ID, tr *tries, plan func(*Server) (Change, error)) (*Server, Event, error) {
	read := t.s.fresh
	if tr.began.IsZero() {
		tr.began, read = t.s.now(), t.s.find
	}
	server, err := read(t.ctx, id)
	if err != nil {
		return nil, Event{}, err
	}
	if last := server.Mark.Last; tr.wrote(last) {
		return server, last, nil // the answer to that write got lost
	}
	decided := t.s.local()
	c, err := plan(server)
	if err != nil || c.Event.Type == "" {
		return server, Event{}, err
	}
	written, e, err := t.write(st, server, c, decided)
	tr.sent = true
	if err == nil || errors.Is(err, ErrUnsure) {
		tr.unsure = append(tr.unsure[max(0, len(tr.unsure)+1-maxUnsure):], e)
	}
	return written, e, err
}

// tries are those of one change. The answer to a write may get lost, so the next try looks whether
// one of the writes before took effect.
type tries struct {
	began  time.Time
	sent   bool    // a write was tried
	unsure []Event // of writes that perhaps took effect: the newest, at most maxUnsure
}

// maxUnsure is far more than can be on their way at once: each try reads the server first.
const maxUnsure = 16

// wrote reports whether one of these tries made the last change of a server. The ID alone does not
// say that: another leader's write to the same version has the same ID.
func (tr *tries) wrote(last Event) bool {
	return slices.ContainsFunc(tr.unsure, func(e Event) bool {
		return e.ID == last.ID && e.Type == last.Type && e.At.Equal(last.At)
	})
}

// over reports whether a change was tried for too long.
func (tr *tries) over(now time.Time, retryFor time.Duration) bool {
	return !tr.began.IsZero() && now.Sub(tr.began) >= retryFor
}

// write writes a change. All writes to Deployments go through it. The event is in the same patch,
// as the mark's last change, so that it can't get lost between the patch and its publication.
func (t *term) write(st *state, server *Server, c Change, decided time.Time) (*Server, Event, error) {
	e := c.Event
	e.ID, e.Server = changeID(server), server.ID
	if err := stillHolds("the decision", decided, t.s.local()); err != nil {
		return nil, e, err
	}
	c.Mark.Last = e
	if t.ctx.Err() != nil || !t.leads() {
		return nil, e, errNotLeader
	}
	if !t.isPublished(st, server) { // another leader wrote it at this moment
		return nil, e, fmt.Errorf("%w: the event of its last change would be overwritten before it is published", ErrConflict)
	}
	began := t.s.now()
	written, err := t.s.cluster.Write(t.ctx, server, c.Replicas, c.Mark)
	if err == nil && e.Type == Woken {
		t.s.misSlept(server, e)
		t.s.meter.Wake("patch", t.s.now().Sub(began))
	}
	return written, e, err
}

// stillHolds returns ErrConflict if what was proven or decided at an instant is too old.
func stillHolds(what string, at, now time.Time) error {
	age, sure := activity.Age(at, now)
	switch {
	case !sure:
		return fmt.Errorf("%w: the clock was set after %s was made", ErrConflict, what)
	case age > MaxDecisionAge:
		return fmt.Errorf("%w: %s is %s old", ErrConflict, what, age)
	}
	return nil
}
