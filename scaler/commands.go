package scaler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// Submit takes a command of the stream: it is applied after those submitted before it for the same server. Finish is called
// once, when nothing is left to do for it, unless ctx or the term of leadership ends before: then the command has to be submitted
// again by whoever leads next, and is not applied twice.
func (s *Scaler) Submit(ctx context.Context, c Command, finish func(Outcome)) {
	t := s.leading()
	if t == nil {
		return
	}
	t.run(c.Server, func() {
		if t.s.guard(c.Server, func() { t.perform(ctx, c, finish) }) {
			// Not left to come again: newer commands would overtake it meanwhile, and it would panic again.
			finish(t.reject(c, errPanic))
		}
	})
}

// perform applies a command and finishes it, in the server's lane.
func (t *term) perform(ctx context.Context, c Command, finish func(Outcome)) {
	if ctx.Err() != nil || t.ctx.Err() != nil {
		return // a newer session has it, and must not find older commands applied after its own
	}
	server, event, err := t.execute(c)
	switch {
	case errors.Is(err, errNotLeader):
	case errors.Is(err, ErrSuperseded): // commands are applied in order: it was finished before, and its acknowledgement got lost
		finish(Outcome{Err: err})
	case err != nil:
		finish(t.reject(c, err))
	case c.Wait == 0 || server.Replicas == 0:
		finish(Outcome{Server: server, Event: event})
	default:
		t.beside(c.Server, func() {
			ready, err := t.await(ctx, server, c)
			if !errors.Is(err, errNotLeader) {
				finish(Outcome{Err: err, Server: ready, Event: event})
			}
		})
	}
}

// Reject tells that a command of the stream makes no sense.
func (s *Scaler) Reject(c Command, err error, finish func(Outcome)) {
	if t := s.leading(); t != nil {
		t.run(c.Server, func() { finish(t.reject(c, err)) })
	}
}

// execute applies a command, ends the pods if that is asked for, and tells. When the command was applied before, by this
// process or by a former leader, what may be left is done.
func (t *term) execute(c Command) (*Server, Event, error) {
	if err := t.expired(c); err != nil && !t.applied(c) {
		return nil, Event{}, err
	}
	if err := t.s.checkValues(c); err != nil {
		return nil, Event{}, err
	}
	if c.Verb == Start {
		t.s.meter.Wake("queued", t.s.now().Sub(t.s.tracker.Local(c.Stamp.Time)))
	}
	server, event, err := t.apply(c.Server, func(server *Server) (Change, error) { return t.plan(server, c) })
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
			return nil, Event{}, err
		}
		if now, ok := t.s.cache.Get(server.ID); ok {
			server = now
		}
	}
	t.tell(event)
	return server, event, nil
}

func (t *term) expired(c Command) error {
	now := t.s.now()
	if age := now.Sub(t.s.tracker.Local(c.Stamp.Time)); age > t.s.config.CommandMaxAge {
		return fmt.Errorf("%w: the command is %s old, the limit is %s: send it again if it is still wanted",
			ErrExpired, age.Round(time.Second), t.s.config.CommandMaxAge)
	}
	if !c.Deadline.IsZero() && now.After(c.Deadline) {
		return fmt.Errorf("%w: its deadline was %s: send it again if it is still wanted", ErrExpired, c.Deadline.UTC().Format(time.RFC3339))
	}
	return nil
}

// applied reports whether the command, or a newer one, was applied before: then it only comes again because its acknowledgement got
// lost, and did not come too late.
func (t *term) applied(c Command) bool {
	server, ok := t.s.cache.Get(c.Server)
	if !ok {
		return false
	}
	done := server.Mark.Done.Stamp
	return c.Stamp.Equal(done) || c.Stamp.OlderThan(done)
}

// plan says what a command writes. Each command is one write, also when the replicas stay: the write is what keeps it from
// being applied twice, and says that the server is wanted.
func (t *term) plan(server *Server, c Command) (Change, error) {
	done := server.Mark.Done.Stamp
	if c.Stamp.Equal(done) {
		return Change{}, nil
	}
	if c.Stamp.OlderThan(done) {
		return Change{}, fmt.Errorf("%w: a newer command was applied to %s meanwhile", ErrSuperseded, server.ID)
	}
	if err := checkRange(c, server); err != nil {
		return Change{}, err
	}
	now := t.s.now()
	if c.Verb == Stop || c.Verb == Scale && c.Replicas == 0 {
		change := planSleep(server, policy.BecauseCommand, t.s.tracker.Of(server.ID).Last, c.event(now))
		change.Mark.Done = Done{c.Stamp, c.ID}
		return change, nil
	}
	replicas := server.Replicas
	switch {
	case c.Verb == Scale:
		replicas = c.Replicas
	case replicas == 0:
		replicas = server.restored()
	}
	change := planWake(server, replicas, c.event(now))
	change.Mark.Done = Done{c.Stamp, c.ID}
	return change, nil
}

func (c Command) event(now time.Time) Event {
	return Event{At: now, Cause: CauseCommand, Actor: c.Actor, Command: c.ID, Reason: c.Reason}
}

// restored is how many replicas the server wakes with.
func (s *Server) restored() int {
	if s.Mark.Restore > 0 {
		return s.Mark.Restore
	}
	return max(1, s.Settings.WakeReplicas)
}

// planSleep makes the server zero and remembers what it was. Seen is the last ping known to who decided it.
func planSleep(server *Server, because policy.Because, seen activity.Stamp, e Event) Change {
	e.Type, e.From = Slept, server.Replicas
	mark := Mark{Restore: server.Replicas, Because: because, Asleep: e.At, Seen: seen, Done: server.Mark.Done}
	if server.Replicas == 0 {
		e.Type = Unchanged
		mark.Restore = server.Mark.Restore
	}
	return Change{Replicas: 0, Mark: mark, Event: e}
}

// planWake gives the server replicas, some or others than it has, and says that it is wanted now.
func planWake(server *Server, replicas int, e Event) Change {
	e.From, e.To = server.Replicas, replicas
	switch {
	case server.Replicas == 0:
		e.Type = Woken
	case server.Replicas == replicas:
		e.Type = Unchanged
	default:
		e.Type = Scaled
	}
	return Change{Replicas: replicas, Mark: Mark{Awake: e.At, Done: server.Mark.Done}, Event: e}
}

// killAfter is how long the cluster is given to end the pods by itself: until then, to kill a pod is to have it replaced.
const killAfter = 10 * time.Second

// kill ends the pods of a stopped server once the cluster has taken note that none are wanted.
func (t *term) kill(server *Server) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.s.config.RetryFor)
	defer cancel()
	noted, stop := context.WithTimeout(ctx, killAfter)
	_, _ = t.s.watch(noted, server.ID, func(now *Server) bool {
		return now.Replicas > 0 || now.Observed >= server.Generation && now.Total == 0
	})
	stop()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := t.s.pods.Kill(ctx, server)
		switch {
		case err == nil || errors.Is(err, ErrUnknown):
			return nil
		case t.ctx.Err() != nil:
			return errNotLeader
		case errors.Is(err, ErrRefused) || !t.s.pause(ctx, server.ID, pause, false):
			return fmt.Errorf("%s is at zero, but its pods could not be ended at once: %w", server.ID, err)
		}
	}
}

// reject tells that a command was not applied.
func (t *term) reject(c Command, err error) Outcome {
	e := c.event(t.s.now())
	e.ID = fmt.Sprintf("command-%d@%d", c.Stamp.Sequence, c.Stamp.Time.UnixNano())
	e.Type, e.Server, e.Text = Rejected, c.Server, err.Error()
	if errors.Is(err, ErrExpired) {
		e.Type = Expired
	}
	if server, ok := t.s.cache.Get(c.Server); ok {
		e.From, e.To = server.Replicas, server.Replicas
	}
	t.tell(e)
	return Outcome{Err: err, Event: e}
}
