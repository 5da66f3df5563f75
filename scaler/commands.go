package scaler

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Submit takes a command of the stream: it is applied after those submitted before it for the same server. Finish is called
// once, when nothing is left to do for it, unless ctx or the term of leadership ends before: then the command has to be submitted
// again by whoever leads next, and is not applied twice.
func (s *Scaler) Submit(ctx context.Context, c Command, finish func(Outcome)) {
	t := s.leading()
	if t == nil {
		return
	}
	leave := func() {}
	if _, there := s.cache.Get(c.Server); !there {
		select {
		case t.absent <- struct{}{}:
			leave = func() { <-t.absent }
		default:
			err := fmt.Errorf("%w: there is no Deployment %s, and %d commands wait already for some that are not there: send it again when there is", ErrUnknown, c.Server, maxAbsent)
			t.run(ID{Namespace: c.Server.Namespace, Name: "absent/" + c.Server.Name}, func() { t.reject(c, err, finish) }) // no server has this name
			return
		}
	}
	t.run(c.Server, func() {
		defer leave()
		if t.s.guard(c.Server, func() { t.perform(ctx, c, finish) }) {
			// Not left to come again: newer commands would overtake it meanwhile, and it would panic again.
			t.reject(c, errPanic, finish)
		}
	})
}

// What waits keeps a place among the commands in hand, of which the stream hands out so many and no more. Those that wait for what may
// never come must leave places to the others.
const (
	MaxInHand     = 4096             // how many commands may be in hand: what the stream may hand out before one is finished
	appearsWithin = 30 * time.Second // how long a server that is not there is waited for: its Deployment may come after its command
	maxAbsent     = 512              // how many commands may wait so
	maxWaiting    = 1024             // how many commands of a namespace may wait until their server is ready
	maxAllWaiting = MaxInHand / 2    // and of all namespaces
	maxRejected   = 10_000           // of how many servers it is remembered which command was rejected
)

// perform applies a command and finishes it, in the server's lane.
func (t *term) perform(ctx context.Context, c Command, finish func(Outcome)) {
	if ctx.Err() != nil || t.asked.Err() != nil || t.ctx.Err() != nil {
		return // a newer session has it, and must not find older commands applied after its own
	}
	if t.wasRejected(c) {
		finish(Outcome{Err: errRejected})
		return
	}
	server, event, err := t.execute(c)
	switch {
	case errors.Is(err, errNotLeader):
	case errors.Is(err, errOutdated): // commands are applied in order: it was finished before, and its acknowledgement got lost
		finish(Outcome{Err: err})
	case err != nil && ctx.Err() != nil: // a newer session has it, and would find it rejected here and apply it there
	case err != nil && event.ID != "": // it was applied, which is told: what failed is what was to follow
		t.s.logger.Warn("a command was applied, but not all of it was done", "server", c.Server.String(), "command", c.ID, "err", err)
		finish(Outcome{Err: err, Server: server, Event: event})
	case err != nil:
		t.reject(c, err, finish)
	case c.Wait == 0 || server.Replicas == 0 && !server.waits():
		finish(Outcome{Server: server, Event: event})
	case !t.mayWait(c.Server.Namespace):
		err := fmt.Errorf("%w: %s was told to start, and too many requests wait already, %d for servers of its namespace or %d in all: ask for its status", ErrBusy, c.Server, maxWaiting, maxAllWaiting)
		finish(Outcome{Err: err, Server: server, Event: event})
	default:
		t.beside(c.Server, func() {
			defer t.waited(c.Server.Namespace)
			ready, err := t.await(ctx, server, c)
			if !errors.Is(err, errNotLeader) {
				finish(Outcome{Err: err, Server: ready, Event: event})
			}
		})
	}
}

// mayWait counts one more that waits for a server of the namespace, unless there are too many of that or in all.
func (t *term) mayWait(namespace string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[namespace] == maxWaiting || t.allWaiting == maxAllWaiting {
		return false
	}
	t.waiting[namespace]++
	t.allWaiting++
	return true
}

func (t *term) waited(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.allWaiting--
	if t.waiting[namespace]--; t.waiting[namespace] == 0 {
		delete(t.waiting, namespace)
	}
}

// Reject tells that a command of the stream makes no sense.
func (s *Scaler) Reject(c Command, err error, finish func(Outcome)) {
	if t := s.leading(); t != nil {
		t.run(c.Server, func() { t.reject(c, err, finish) })
	}
}

// execute applies a command, ends the pods if that is asked for, and tells. When the command was applied before, by this
// process or by a former leader, what may be left is done. An error with an event is that of a command that was applied.
func (t *term) execute(c Command) (*Server, Event, error) {
	if err := t.late(c); err != nil {
		return nil, Event{}, err
	}
	if err := t.s.checkValues(c); err != nil {
		return nil, Event{}, err
	}
	if c.Verb == Start {
		t.s.meter.Wake("queued", t.s.age(c))
	}
	appears := t.s.tracker.UnstampCommand(c.Stamp.Time)
	if appears.Before(t.began) { // while nobody led
		appears = t.began
	}
	server, event, err := t.apply(c.Server, appears.Add(appearsWithin), func(server *Server) (Change, error) { return t.plan(server, c) })
	if err != nil {
		return nil, Event{}, err
	}
	if event.ID == "" { // applied before
		event = server.Mark.Last
	}
	if event.Type == Woken {
		t.follow(server, event.At)
	}
	if c.Force && c.Verb == Stop {
		if err := t.kill(server); err != nil {
			t.tell(event)
			return server, event, err
		}
		if now, ok := t.s.cache.Get(server.ID); ok {
			server = now
		}
	}
	t.tell(event)
	return server, event, nil
}

// late says why a command comes too late, nil when it does not, or was applied before. What differs is the clock, perhaps, which was corrected a moment
// ago: when the log is asked, it is measured anew. And what is known of the server may be older than what a former leader has done: it is read
// once in a term, as there may be many that come too late.
func (t *term) late(c Command) error {
	if t.expired(c) == nil {
		return nil
	}
	server, ok := t.s.cache.Get(c.Server)
	if ok && c.appliedTo(server) {
		return nil
	}
	_ = t.s.log.Prove(t.ctx) // if that can't be, what was measured last counts
	late := t.expired(c)
	if late == nil || !ok || t.isRead(c.Server) {
		return late
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.s.config.RetryFor)
	defer cancel()
	defer context.AfterFunc(t.asked, cancel)()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		server, err := t.lookAgain(ctx, c.Server)
		switch {
		case err == nil:
			t.setRead(c.Server)
			if c.appliedTo(server) {
				return nil
			}
			return late
		case errors.Is(err, ErrUnknown), errors.Is(err, ErrUnmanaged):
			return late
		case t.asked.Err() != nil || t.ctx.Err() != nil:
			return errNotLeader
		case !t.s.pause(ctx, c.Server, pause, false):
			return fmt.Errorf("%w; whether it was applied in time can't be found out: %w", late, err)
		}
	}
}

func (t *term) isRead(id ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read[id]
}

func (t *term) setRead(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read[id] = true
}

// age is how long ago the stream took a command, as far as is known now how far its clock is from ours.
func (s *Scaler) age(c Command) time.Duration {
	return s.now().Sub(s.tracker.UnstampCommand(c.Stamp.Time))
}

func (t *term) expired(c Command) error {
	if age := t.s.age(c); age > t.s.config.CommandMaxAge {
		return fmt.Errorf("%w: the command is %s old, the limit is %s: send it again if it is still wanted",
			ErrExpired, age.Round(time.Second), t.s.config.CommandMaxAge)
	}
	if !c.Deadline.IsZero() && t.s.now().After(t.s.tracker.UnstampCommand(c.Deadline)) {
		return fmt.Errorf("%w: its deadline was %s: send it again if it is still wanted", ErrExpired, c.Deadline.UTC().Format(time.RFC3339))
	}
	return nil
}

// appliedTo reports whether the command, or a newer one, was applied before: then it only comes again because its acknowledgement got
// lost, and did not come too late.
func (c Command) appliedTo(server *Server) bool {
	done := server.Mark.Done.Stamp
	return c.Stamp.Equal(done) || c.Stamp.OlderThan(done)
}

// reject tells that a command was not applied, and finishes it. When the term ends before that could be told, the command comes again
// to the next leader: otherwise nobody would ever learn of it.
func (t *term) reject(c Command, err error, finish func(Outcome)) {
	e := c.event(t.s.now())
	e.ID = rejectionID(c)
	e.Type, e.Server, e.Text = Rejected, c.Server, err.Error()
	if errors.Is(err, ErrExpired) {
		e.Type = Expired
	}
	if server, ok := t.s.cache.Get(c.Server); ok {
		e.From, e.To = server.Replicas, server.Replicas
	}
	t.tell(e)
	if t.ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	if len(t.rejected) >= maxRejected { // of servers that never were: nothing else ends that
		clear(t.rejected)
	}
	t.rejected[c.Server] = e.ID
	t.mu.Unlock()
	finish(Outcome{Err: err, Event: e})
}

func rejectionID(c Command) string {
	return fmt.Sprintf("command-%d@%d", c.Stamp.Sequence, c.Stamp.Time.UnixNano())
}

// wasRejected reports whether it was told before that the command was not applied: it comes again because its acknowledgement got lost.
func (t *term) wasRejected(c Command) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := rejectionID(c)
	return t.rejected[c.Server] == id || t.known[id]
}
