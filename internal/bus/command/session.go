package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// Applier applies the commands of the stream. Implemented by scaler.Scaler.
type Applier interface {
	// Submit applies a command. It calls finish once, when nothing is left to do for the command,
	// unless ctx is done before.
	Submit(ctx context.Context, c scaler.Command, finish func(scaler.Outcome))
	// Reject publishes that a command makes no sense, then calls finish.
	Reject(c scaler.Command, err error, finish func(scaler.Outcome))
	View(server *scaler.Server) scaler.View
}

// Config is what Sessions need. All fields must be set.
type Config struct {
	Subjects      wire.Subjects
	Applier       Applier
	Clock         *activity.Clock             // each session sets it: the log may not have been read yet
	Leads         func() bool                 // whether this process leads
	Ensure        func(context.Context) error // creates the streams that are missing
	AckWait       time.Duration               // longer than a command may wait and be tried
	MaxAckPending int                         // of commands: scaler.MaxInHand
	Heartbeat     time.Duration               // between two heartbeats of the consumer: 2s
	Logger        *slog.Logger
}

// Sessions deliver the commands of the stream to the domain, in one session after the other.
//
// A session lasts for a part of one term of leadership on one unbroken connection, and has its own
// consumer. It ends when the connection breaks or the consumer is gone. The next one begins with
// the oldest command that is not acknowledged, so unfinished commands come again, in order, and
// before anything newer. A consumer that outlived its session would redeliver them when its AckWait
// is over: after newer commands, whose work they would undo. A negative acknowledgement would do
// the same, so there is none.
type Sessions struct {
	config Config
	nc     *nats.Conn
	js     jetstream.JetStream
}

// New returns Sessions on a connection that nothing else uses.
func New(nc *nats.Conn, config Config) (*Sessions, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Sessions{config, nc, js}, nil
}

const (
	leadPause = 100 * time.Millisecond // before it asks again whether this process leads
	// beginPause is the least time between the begins of two sessions, so that two processes that
	// both believe they lead don't fight at full speed.
	beginPause = time.Second
)

// Run runs sessions until ctx is done. A command that is in work then can still be acknowledged
// until the connection is closed. The others go to the next leader.
func (s *Sessions) Run(ctx context.Context) error {
	logged := ""
	for ctx.Err() == nil {
		if !s.config.Leads() || !s.nc.IsConnected() {
			stream.Sleep(ctx, leadPause)
			continue
		}
		began := time.Now()
		err := s.runSession(ctx)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = errors.Join(err, s.config.Ensure(ctx))
		}
		if ctx.Err() == nil && err.Error() != logged {
			s.config.Logger.Warn("the command session has ended, trying to begin another", "err", err)
			logged = err.Error()
		}
		stream.Sleep(ctx, max(leadPause, beginPause-time.Since(began)))
	}
	return nil
}

// runSession runs one session until it ends, and returns why.
func (s *Sessions) runSession(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := stream.Commands.Name(s.config.Subjects)
	shift, err := s.prepare(ctx, name)
	if err != nil {
		return err
	}
	if !s.config.Leads() { // the next leader must not lose its consumer to this process
		return errors.New("leadership was lost")
	}
	session := &session{Sessions: s, ctx: ctx, shift: shift}
	feed, err := stream.Open(ctx, s.nc, s.js, name, jetstream.ConsumerConfig{
		Description:       "idle-scaler applies commands",
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           s.config.AckWait,
		MaxDeliver:        -1,
		MaxAckPending:     s.config.MaxAckPending,
		FlowControl:       true,             // bounds the bytes on their way: NATS cuts off a connection that is 64 MB behind
		InactiveThreshold: s.config.AckWait, // the consumer takes acknowledgements after the session
	}, s.config.Heartbeat, session.take)
	if err != nil {
		return err
	}
	s.config.Logger.Info("a command session has begun", "consumer", feed.Consumer)
	<-feed.Done
	session.end(cancel)
	return feed.Err()
}

// prepare deletes the consumers of former sessions, sets the clock of the log, and returns how far
// the stamps of the command stream differ from it. A work queue allows one consumer at a time, so
// this also ends the session of a former leader that still believes it leads.
func (s *Sessions) prepare(ctx context.Context, name string) (shift time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	if err := stream.Measure(ctx, s.js, s.config.Subjects, s.config.Clock); err != nil {
		return 0, err
	}
	before := s.config.Clock.Now()
	found, err := s.js.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", name, err)
	}
	shift = stream.Shift(before, s.config.Clock.Now(), found.CachedInfo().TimeStamp)
	consumers := found.ConsumerNames(ctx)
	for consumer := range consumers.Name() {
		if err := found.DeleteConsumer(ctx, consumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return 0, fmt.Errorf("delete the consumer of a former session: %w", err)
		}
	}
	if err := consumers.Err(); err != nil {
		return 0, fmt.Errorf("list the consumers of former sessions: %w", err)
	}
	return shift, nil
}

// session is one session.
type session struct {
	*Sessions
	shift time.Duration   // of the stream's stamps to the time of the log
	ctx   context.Context // done when the session has ended
	mu    sync.Mutex      // held while a command is submitted
}

// end cancels the context of the session, so that take submits nothing any more. It does not cancel
// while take submits a command.
func (s *session) end(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cancel()
}

// take submits one command. The feed calls it for one message after the other, which keeps the
// commands of a server in order.
func (s *session) take(m *nats.Msg, at stream.Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	c, err := Read(s.config.Subjects, m.Subject, m.Data, false)
	c.Stamp, c.Taken = at.Stamp(), at.Time.Add(s.shift)
	if err == nil {
		c.Deadline, err = wire.ReadDeadline(m.Header.Get(wire.DeadlineHeader), c.Taken)
	}
	finish := s.finish(c, m.Reply, wire.Inbox(m.Header.Get(replyHeader)))
	if err != nil {
		s.config.Applier.Reject(c, err, finish)
		return
	}
	s.config.Applier.Submit(s.ctx, c, finish)
}

// The acknowledgements of JetStream (ADR-15). A work queue removes the message after either.
var (
	ack  = []byte("+ACK")
	term = []byte("+TERM") // for a command that makes no sense: the server also publishes an advisory
)

// finish returns the function that ends a command. It answers the replica that took the request, if
// there is one, and then acknowledges the command. If the acknowledgement gets lost, the command is
// redelivered, and the domain knows that it is applied. If the answer gets lost, the replica reads
// the mark on the Deployment. The function keeps neither the message nor its payload in memory,
// because thousands may be waiting.
func (s *session) finish(c scaler.Command, ackTo, reply string) func(scaler.Outcome) {
	return func(o scaler.Outcome) {
		if reply != "" {
			result := NewResult(o, c.Stamp.Sequence, s.config.Applier.View)
			if err := answer.Send(s.nc, reply, result, nil); err != nil {
				s.config.Logger.Warn("cannot answer a replica", "server", c.Server.String(), "err", err)
			}
		}
		kind := ack
		if o.Event.Type == scaler.Rejected || o.Event.Type == scaler.Expired {
			kind = term
		}
		if err := natsconn.Unsent(s.nc.Publish(ackTo, kind)); err != nil {
			s.config.Logger.Warn("cannot acknowledge a command, NATS will redeliver it", "server", c.Server.String(), "err", err)
		}
	}
}
