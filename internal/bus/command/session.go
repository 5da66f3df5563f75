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

// Applier takes the commands of the stream. Implemented by scaler.Scaler.
type Applier interface {
	// Submit calls finish once, when nothing is left to do for the command, unless ctx is done
	// before.
	Submit(ctx context.Context, c scaler.Command, finish func(scaler.Outcome))
	// Reject tells that a command makes no sense.
	Reject(c scaler.Command, err error, finish func(scaler.Outcome))
	View(server *scaler.Server) scaler.View
}

// Config is what Sessions need to know. All fields must be set.
type Config struct {
	Subjects  wire.Subjects
	Applier   Applier
	Clock     *activity.Clock             // is set before any command of a session: the log may not have been read yet
	Leads     func() bool                 // whether this process leads now, so that Applier takes commands
	Ensure    func(context.Context) error // makes the stream again when it is gone
	AckWait   time.Duration               // longer than a command may wait and be tried: redelivery within a session comes after newer work
	InFlight  int                         // how many commands may be unfinished at once: scaler.MaxInHand
	Heartbeat time.Duration               // how often the server says that it is there: 2s
	Logger    *slog.Logger
}

// Sessions hand the commands of the stream to the domain, one session after the other.
//
// A session is a part of one term of leadership on one unbroken connection, with a consumer of its
// own. When the connection breaks, or the consumer is gone, the session ends and the next one
// begins from the oldest unfinished command; so whatever was left undone comes again, in order, and
// before anything newer. A consumer that lived on would redeliver it when its AckWait is over:
// after newer commands, whose work it would undo. For the same reason nothing is ever negatively
// acknowledged.
type Sessions struct {
	config Config
	nc     *nats.Conn
	js     jetstream.JetStream
}

// New returns Sessions on a connection that is used for nothing else.
func New(nc *nats.Conn, config Config) (*Sessions, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Sessions{config, nc, js}, nil
}

const (
	leadPause  = 100 * time.Millisecond // between two looks whether this process leads
	beginPause = time.Second            // between two sessions, so that two who both think that they lead don't fight at full speed
)

// Run holds sessions until ctx is done. Commands that are not finished by then may still be
// finished, until the connection is closed; the others come to whoever leads next.
func (s *Sessions) Run(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		if !s.config.Leads() || !s.nc.IsConnected() {
			stream.Sleep(ctx, leadPause)
			continue
		}
		began := time.Now()
		err := s.hold(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = errors.Join(err, s.config.Ensure(ctx))
		}
		if err.Error() != said {
			s.config.Logger.Warn("the command session has ended, trying to begin another", "err", err)
			said = err.Error()
		}
		stream.Sleep(ctx, min(beginPause, max(leadPause, beginPause-time.Since(began)))) // at once, nearly, after one that has lasted
	}
	return nil
}

// hold begins a session, and returns why it has ended.
func (s *Sessions) hold(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := stream.Commands.Name(s.config.Subjects)
	if err := s.deleteConsumers(ctx, name); err != nil {
		return err
	}
	if !s.config.Leads() { // that took a moment: whoever leads now must not lose its consumer to us
		return errors.New("leadership was lost")
	}
	shift, err := s.shift(ctx, name)
	if err != nil {
		return err
	}
	session := &session{Sessions: s, ctx: ctx, shift: shift}
	feed, err := stream.Open(ctx, s.nc, s.js, name, jetstream.ConsumerConfig{
		Description:       "idle-scaler applies commands",
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           s.config.AckWait,
		MaxDeliver:        -1,
		MaxAckPending:     s.config.InFlight,
		FlowControl:       true,             // of large messages fewer are under way: NATS cuts off who is 64 MB behind
		InactiveThreshold: s.config.AckWait, // it has to outlive the session, for the last acknowledgements
	}, s.config.Heartbeat, session.take)
	if err != nil {
		return err
	}
	s.config.Logger.Info("a command session has begun", "consumer", feed.Consumer)
	<-feed.Done
	session.end(cancel)
	return feed.Err()
}

// deleteConsumers deletes the consumers of former sessions. Two can't be on a work queue at the
// same time, so it also shows a leader that does not know better yet that it leads no more.
func (s *Sessions) deleteConsumers(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	found, err := s.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	consumers := found.ConsumerNames(ctx)
	for consumer := range consumers.Name() {
		if err := found.DeleteConsumer(ctx, consumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("delete the consumer of a former session: %w", err)
		}
	}
	if err := consumers.Err(); err != nil {
		return fmt.Errorf("list the consumers of former sessions: %w", err)
	}
	return nil
}

// shift finds out how the stamps of the command stream differ from the time of the log.
func (s *Sessions) shift(ctx context.Context, name string) (time.Duration, error) {
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
	return stream.Shift(before, s.config.Clock.Now(), found.CachedInfo().TimeStamp), nil
}

// session is one of them.
type session struct {
	*Sessions
	shift time.Duration   // of the stream's stamps
	ctx   context.Context // done when the session has ended
	mu    sync.Mutex      // held while a command is handed on
	ended bool
}

// end makes sure that no command is handed on any more, and only then tells those that were handed
// on before.
func (s *session) end(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	cancel()
}

// take hands one command on. A later one of the same server is handed on only after it has
// returned.
func (s *session) take(m *nats.Msg, p stream.Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	c, err := Read(s.config.Subjects, m.Subject, m.Data, false)
	c.Stamp, c.Taken = p.Stamp(), p.Time.Add(s.shift)
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

// What is sent to acknowledge a message (ADR-15). A work queue removes it after either.
var (
	ack  = []byte("+ACK")
	term = []byte("+TERM") // poison: the server tells those who watch its advisories
)

// finish returns what ends a command: the answer to the replica that took the request, if one did, then the
// acknowledgement. If that gets lost the command comes again, and is known to be applied; if the answer gets lost, the
// replica looks itself. It holds on to neither
// message nor payload: thousands may be waiting.
func (s *session) finish(c scaler.Command, ackTo, reply string) func(scaler.Outcome) {
	return func(o scaler.Outcome) {
		if reply != "" {
			result := NewResult(o, c.Stamp.Sequence, s.config.Applier.View)
			if err := answer.Send(s.nc, reply, result, nil); err != nil {
				s.config.Logger.Warn("cannot answer a replica", "server", c.Server.String(), "err", err)
			}
		}
		word := ack
		if o.Event.Type == scaler.Rejected || o.Event.Type == scaler.Expired {
			word = term
		}
		if err := natsconn.Unsent(s.nc.Publish(ackTo, word)); err != nil {
			s.config.Logger.Warn("cannot acknowledge a command, it will come again", "server", c.Server.String(), "err", err)
		}
	}
}
