package scaler

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"idle-scaler/activity"
)

// MaxDecisionAge is how old a decision may be when it is sent, and the proof of silence when it is decided. The world that they were made
// for is gone after that.
const MaxDecisionAge = time.Second

// Change is what is to be written on one server. The zero Change writes nothing: the server is as it should be.
type Change struct {
	Replicas int
	Mark     Mark
	Event    Event // but for its ID and server, which change fills in
}

// change writes a change: the one function through which every Deployment is written. The event is in the
// same write, as the mark's last transition, so that it can't be lost between the write and its publication.
func (t *term) change(server *Server, c Change) (*Server, Event, error) {
	e := c.Event
	e.ID, e.Server = eventID(server), server.ID
	if err := holds("the decision", e.At, t.s.now()); err != nil {
		return nil, e, err
	}
	for _, mark := range [...]*time.Time{&c.Mark.Asleep, &c.Mark.Awake} {
		if mark.Equal(e.At) { // not one that is kept: the next leader's clock may differ from ours, and only that of the log is known to both
			*mark = t.s.tracker.Stamp(e.At)
		}
	}
	c.Mark.Last = e
	if t.ctx.Err() != nil || !t.leads() {
		return nil, e, errNotLeader
	}
	if !t.isTold(server.Mark.Last) {
		return nil, e, fmt.Errorf("%w: the event of its last change would be overwritten before it is told", ErrConflict)
	}
	written, err := t.s.cluster.Write(t.ctx, server, c.Replicas, c.Mark)
	return written, e, err
}

// holds says why what was proven or decided at an instant no longer holds, nil when it does.
func holds(what string, at, now time.Time) error {
	age, sure := activity.Age(at, now)
	switch {
	case !sure:
		return fmt.Errorf("%w: the clock was set after %s was made", ErrConflict, what)
	case age > MaxDecisionAge:
		return fmt.Errorf("%w: %s is %s old", ErrConflict, what, age)
	}
	return nil
}

// noticeID names something that was noticed about this generation of the server, and said in these words.
func noticeID(server *Server, kind EventType, text string) string {
	hash := fnv.New64a()
	hash.Write([]byte(text))
	return fmt.Sprintf("%s-%d-%s-%x", server.UID, server.Generation, kind, hash.Sum64())
}

// eventID names the transition from this version of the server, of which there is at most one.
func eventID(server *Server) string { return server.UID + "-" + server.Version }

// apply plans a change on what is known of the server, writes it, and does both again on fresh facts when somebody else was
// faster or the answer got lost, for RetryFor. It returns the server as written and what happened; or as it is and
// no event, when plan wants nothing. A server that is not there is waited for until it appears, or until that instant. The caller is
// in the server's lane.
func (t *term) apply(id ID, appears time.Time, plan func(*Server) (Change, error)) (*Server, Event, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.s.config.RetryFor)
	defer cancel()
	defer context.AfterFunc(t.asked, cancel)()
	read := t.s.find // from memory: a wake that meets no conflict reads nothing
	var tried []Event
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		t.tellLast(id)
		server, event, err := t.attempt(ctx, id, read, &tried, plan)
		switch {
		case err == nil:
			return server, event, nil
		case t.asked.Err() != nil || t.ctx.Err() != nil:
			return nil, Event{}, errNotLeader
		case errors.Is(err, ErrConflict), errors.Is(err, ErrUnsure), errors.Is(err, ErrNotSynced):
		case errors.Is(err, errNotLeader):
			// The lease is late: it is renewed in a moment, or the term ends. To give up would let newer commands overtake this one.
		case errors.Is(err, ErrUnknown) && len(tried) == 0 && t.s.now().Before(appears):
			// Not there yet: its command may have come before it. One that vanished under our hands is not waited for.
		default:
			return nil, Event{}, err
		}
		if errors.Is(err, ErrConflict) {
			pause = min(pause, 200*time.Millisecond) // the API server is there: the next attempt may be between two of the rival's writes
		}
		pause = min(pause, 2*time.Second)
		absent, wait := errors.Is(err, ErrUnknown), pause/2+rand.N(pause/2)
		if absent {
			wait = appears.Sub(t.s.now())
		}
		if !t.s.pause(ctx, id, wait, absent) {
			if t.asked.Err() != nil || t.ctx.Err() != nil {
				return nil, Event{}, errNotLeader
			}
			if server, lookErr := t.lookAgain(t.ctx, id); lookErr == nil && wrote(tried, server.Mark.Last) {
				return server, server.Mark.Last, nil
			}
			return nil, Event{}, fmt.Errorf("%w (tried for %s)", err, t.s.config.RetryFor)
		}
		read = t.s.fresh
	}
}

// attempt is one round of apply. Tried are the events of the writes before, of which it may not be known whether they were done.
func (t *term) attempt(ctx context.Context, id ID, read func(context.Context, ID) (*Server, error), tried *[]Event, plan func(*Server) (Change, error)) (*Server, Event, error) {
	if !acquire(ctx, t.s.inFlight) {
		return nil, Event{}, fmt.Errorf("%w: too many requests to the API server are under way", ErrUnsure)
	}
	defer release(t.s.inFlight)
	server, err := read(ctx, id)
	if err != nil {
		return nil, Event{}, err
	}
	if wrote(*tried, server.Mark.Last) {
		return server, server.Mark.Last, nil // the answer to our write got lost, the write did not
	}
	c, err := plan(server)
	if err != nil || c.Event.Type == "" {
		return server, Event{}, err
	}
	began := t.s.now()
	written, event, err := t.change(server, c)
	*tried = append(*tried, event)
	if err == nil && event.Type == Woken {
		t.s.misSlept(server, event)
		t.s.meter.Wake("patch", t.s.now().Sub(began))
	}
	return written, event, err
}

// wrote reports whether the last change of a server is one of those that were tried.
func wrote(tried []Event, last Event) bool {
	return slices.ContainsFunc(tried, func(e Event) bool {
		return e.ID == last.ID && e.Type == last.Type && e.At.Equal(last.At) // all three: another leader's write to the same version has the same ID, and is not ours
	})
}

// lookAgainFor is how long the API server may take to say how it is.
const lookAgainFor = 10 * time.Second

// lookAgain reads a server once, before it is told that something was not done.
func (t *term) lookAgain(ctx context.Context, id ID) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, lookAgainFor)
	defer cancel()
	if !acquire(ctx, t.s.inFlight) {
		return nil, ctx.Err()
	}
	defer release(t.s.inFlight)
	return t.s.cluster.Fresh(ctx, id)
}

// acquire waits for one of the slots; it reports whether it got one before ctx was done.
func acquire(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func release(slots chan struct{}) { <-slots }

func (s *Scaler) fresh(ctx context.Context, id ID) (*Server, error) {
	server, err := s.cluster.Fresh(ctx, id)
	if err != nil {
		return nil, s.suggest(id, err)
	}
	return server, nil
}

// pause waits before the next attempt: for a server that is not there, not longer than until it appears. It reports whether there may be one.
func (s *Scaler) pause(ctx context.Context, id ID, pause time.Duration, absent bool) bool {
	changed, stop := s.cache.Watch(id)
	defer stop()
	if !absent {
		changed = nil
	} else if _, there := s.cache.Get(id); there {
		return true
	}
	select {
	case <-time.After(pause):
	case <-changed:
	case <-ctx.Done():
		return false
	}
	return true
}

// tell publishes what happened, until the stream has it or the term ends; the next leader publishes it then.
func (t *term) tell(e Event) {
	s := t.s
	if t.isTold(e) {
		return
	}
	s.meter.Event(e)
	s.logEvent(e)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := s.events.Publish(t.ctx, e)
		if err == nil {
			t.markTold(e)
			return
		}
		if t.ctx.Err() != nil {
			return
		}
		s.logger.Warn("cannot publish an event, trying again", "server", e.Server.String(), "type", string(e.Type), "err", err)
		select {
		case <-time.After(pause):
		case <-t.ctx.Done():
			return
		}
	}
}

// tellLast tells the last change of a server unless that was done. It may be one of a former leader, or one of ours to which no
// answer came; and the next change overwrites it.
func (t *term) tellLast(id ID) {
	if server, ok := t.s.cache.Get(id); ok && !t.isTold(server.Mark.Last) {
		t.tell(server.Mark.Last)
	}
}

// untold reports whether the last change of a server, as it is seen now, may still have to be told: no answer came to its write, or a former
// leader wrote it when this one had looked already what was left. The caller tells it if nothing is at work in the server's lane.
func (t *term) untold(server *Server, now time.Time) bool {
	last := &server.Mark.Last
	return last.ID != "" && !t.isTold(*last) && now.Sub(last.At) < republishFor
}

func (t *term) isTold(last Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return last.ID == "" || t.told[last.Server] == last.ID
}

func (t *term) markTold(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Type {
	case Slept, Woken, Scaled, Unchanged, Failed:
		t.told[e.Server] = e.ID
	}
}

// forget drops what is kept about a server that is gone, after what is left to be told of it.
func (t *term) forget(id ID) {
	t.mu.Lock()
	_, told := t.told[id]
	_, shadow := t.shadows[id]
	t.mu.Unlock()
	if !told && !shadow && t.s.noticedAt(id).IsZero() {
		return // as after a ping for a server that never was
	}
	t.run(id, func() {
		if _, back := t.s.cache.Get(id); back {
			return
		}
		t.mu.Lock()
		delete(t.told, id)
		delete(t.shadows, id)
		delete(t.refused, id)
		delete(t.rejected, id)
		t.mu.Unlock()
		t.s.setNoticed(id, time.Time{})
	})
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
	if e.Idle > 0 {
		args = append(args, "idle", e.Idle.Round(time.Second).String()) // JSON would have nanoseconds
	}
	if e.Asleep > 0 {
		args = append(args, "asleep", e.Asleep.Round(time.Second).String())
	}
	if e.Took > 0 {
		args = append(args, "took", e.Took.Round(time.Millisecond).String())
	}
	s.logger.Info(string(e.Type), args...)
}
