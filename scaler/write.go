package scaler

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"idle-scaler/activity"
)

// MaxDecisionAge is how old a decision may be when it is sent, and the proof of silence when it is decided.
// After that the world is another one than they were made for.
const MaxDecisionAge = time.Second

// Change is what is to be written on one server. The zero Change writes nothing: the server is as it should be.
type Change struct {
	Replicas int
	Mark     Mark
	Event    Event // without its ID and server, which write fills in
}

// write writes a change: the one function through which every Deployment is written. The event is in the
// same patch, as the mark's last transition, so that it can't get lost between the patch and its publication.
func (t *term) write(server *Server, c Change, decided time.Time) (*Server, Event, error) {
	e := c.Event
	e.ID, e.Server = eventID(server), server.ID
	if err := stillHolds("the decision", decided, t.s.local()); err != nil {
		return nil, e, err
	}
	c.Mark.Last = e
	if t.ctx.Err() != nil || !t.leads() {
		return nil, e, errNotLeader
	}
	if !t.lastIsPublished(server) { // another leader wrote it at this moment
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

// stillHolds returns an error if what was proven or decided at an instant is too old.
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

// tries are those to make one change. The answer to a write may get lost, so the next try looks whether one
// of the writes before was done.
type tries struct {
	began  time.Time
	sent   bool    // something was written, or tried to
	unsure []Event // what may have been written: the newest, at most maxUnsure
}

// maxUnsure is far more than may still be on their way: each try reads the server first.
const maxUnsure = 16

// try plans a change on what is known of a server, and writes it. It returns the server as written and what
// happened; or as it is and no event, if plan wants nothing. The first try reads from memory, so that a wake
// that meets no conflict reads nothing; later ones read from the API server.
func (t *term) try(id ID, tr *tries, plan func(*Server) (Change, error)) (*Server, Event, error) {
	read := t.s.fresh
	if tr.began.IsZero() {
		tr.began, read = t.s.now(), t.s.find
	}
	server, err := read(t.ctx, id)
	if err != nil {
		return nil, Event{}, err
	}
	if last := server.Mark.Last; tr.wrote(last) {
		return server, last, nil // the answer to our write got lost, the write did not
	}
	decided := t.s.local()
	c, err := plan(server)
	if err != nil || c.Event.Type == "" {
		return server, Event{}, err
	}
	written, e, err := t.write(server, c, decided)
	tr.sent = true
	if err == nil || errors.Is(err, ErrUnsure) {
		tr.unsure = append(tr.unsure[max(0, len(tr.unsure)+1-maxUnsure):], e)
	}
	return written, e, err
}

// wrote reports whether the last change of a server is one of those that were tried. All three must be the
// same: another leader's write to the same version has the same ID, and is not ours.
func (tr *tries) wrote(last Event) bool {
	return slices.ContainsFunc(tr.unsure, func(e Event) bool {
		return e.ID == last.ID && e.Type == last.Type && e.At.Equal(last.At)
	})
}

// over reports whether a change was tried for too long.
func (tr *tries) over(now time.Time, retryFor time.Duration) bool {
	return !tr.began.IsZero() && now.Sub(tr.began) >= retryFor
}

// eventID names the transition from this version of the server, of which there is at most one.
func eventID(server *Server) string { return server.UID + "-" + server.Version }

// noticeID names something that was noticed about this generation of the server, and said in these words.
func noticeID(server *Server, kind EventType, text string) string {
	hash := fnv.New64a()
	hash.Write([]byte(text))
	return fmt.Sprintf("%s%s-%x", noticePrefix(server), kind, hash.Sum64())
}

func noticePrefix(server *Server) string { return fmt.Sprintf("%s-%d-", server.UID, server.Generation) }

// IsAbout reports whether an event that was noticed, like Progress, is about a server as it is wanted now, and not about
// what was wanted of it before. ID is that of the event.
func (s *Server) IsAbout(id string) bool { return strings.HasPrefix(id, noticePrefix(s)) }

// find returns the server from memory, or asks the API server why it is not there.
func (s *Scaler) find(ctx context.Context, id ID) (*Server, error) {
	if server, ok := s.cache.Get(id); ok {
		return server, nil
	}
	if !s.cache.Synced() {
		return nil, fmt.Errorf("%w: this replica is still reading the Deployments: try again in a moment", ErrNotSynced)
	}
	return s.fresh(ctx, id)
}

// fresh reads the server from the API server.
func (s *Scaler) fresh(ctx context.Context, id ID) (*Server, error) {
	server, err := s.cluster.Fresh(ctx, id)
	if err != nil {
		return nil, s.suggest(id, err)
	}
	return server, nil
}

// passing reports whether a try that failed with this error may succeed later.
func passing(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrUnsure) || errors.Is(err, ErrNotSynced) || errors.Is(err, errNotLeader)
}
