package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/share"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// Servers are what there is to read about servers. Implemented by scaler.Scaler.
type Servers interface {
	List(f scaler.Filter) ([]*scaler.Server, error)
	Status(ctx context.Context, id scaler.ID) (scaler.View, error)
	View(server *scaler.Server) scaler.View
	WouldBeAsleep(servers []*scaler.Server) map[scaler.ID]time.Time
	Now() time.Time // of the activity log, as events bear it
}

// Orders checks a command before it is stored, and waits for the server after it is applied.
// Implemented by scaler.Scaler.
type Orders interface {
	Check(ctx context.Context, c scaler.Command) (*scaler.Server, error)
	Await(ctx context.Context, at scaler.Applied, why func(*scaler.Server) string) (*scaler.Server, error)
}

// Config is what an API needs to know. All fields must be set.
type Config struct {
	Subjects wire.Subjects
	Servers  Servers
	Orders   Orders
	Selector func(text string) (func(labels map[string]string) bool, error) // reads a label selector
	Cluster  string
	Version  string // semantic
	AtOnce   int    // how many requests may be under way: 1024
	Logger   *slog.Logger
}

// API answers requests, as the NATS micro service "idle-scaler". All replicas do, and each request
// goes to one of them. Reads are answered from memory. An order is checked, so that its sender
// learns at once what is wrong, and put on the command stream. The replica that took it waits and
// answers.
type API struct {
	config Config
	nc     *nats.Conn
	js     jetstream.JetStream
	table  []endpoint

	// One entry for each request under way. Requests that may take seconds have places of their
	// own.
	slots   chan struct{}
	reads   chan struct{} // of events
	reading chan struct{} // of these, the ones that read at this moment
	wakes   chan struct{} // of all servers
	pauses  chan struct{} // and resumes: the emergency switch must work under any load
	waits   share.Places  // for a command, or for its server

	last    atomic.Pointer[lastReport]
	errors  map[string]*atomic.Int64 // answered, by the name of the endpoint; those of help have none
	answers atomic.Bool
	replies *command.Replies // what the leader says of the commands of this replica
	ends    context.Context  // done when Run is asked to end

	mu      sync.Mutex
	ended   bool // no goroutine begins any more
	running sync.WaitGroup
}

const (
	readAtOnce   = 2    // requests that read events: each costs a consumer, and the time to decode
	slowAtOnce   = 64   // requests that wait to read events, and as many that wake all
	pausesAtOnce = 4096 // each takes seconds
	waitsAtOnce  = 4096
)

// New returns an API that answers once Run is called.
func New(nc *nats.Conn, config Config) (*API, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	a := &API{
		config: config, nc: nc, js: js, errors: map[string]*atomic.Int64{"": new(atomic.Int64)},
		slots: make(chan struct{}, config.AtOnce), reads: make(chan struct{}, slowAtOnce),
		reading: make(chan struct{}, readAtOnce), wakes: make(chan struct{}, slowAtOnce),
		pauses: make(chan struct{}, pausesAtOnce), waits: share.Places{Most: waitsAtOnce},
	}
	a.table = a.endpoints()
	for _, e := range a.table {
		a.errors[e.name] = new(atomic.Int64)
	}
	return a, nil
}

// flushRetry is the pause between two tries to reach NATS while it is away.
const flushRetry = 100 * time.Millisecond

// Run answers until ctx is done and all requests under way are answered.
func (a *API) Run(ctx context.Context) error {
	a.ends = ctx
	replies, err := command.NewReplies(a.nc)
	if err != nil {
		return fmt.Errorf("listen to the leader: %w", err)
	}
	defer replies.Close()
	a.replies = replies
	service, err := micro.AddService(a.nc, micro.Config{
		Name:        "idle-scaler",
		Version:     a.config.Version,
		Description: "turns MCP servers off while nobody uses them and on when somebody asks",
		Metadata:    map[string]string{"cluster": a.config.Cluster},
		StatsHandler: func(e *micro.Endpoint) any {
			underWay := len(a.slots) + len(a.reads) + len(a.wakes) + len(a.pauses) + a.waits.Taken()
			return map[string]int64{"errors": a.errors[e.Name].Load(), "under_way": int64(underWay)}
		},
	})
	if err != nil {
		return fmt.Errorf("offer the API on NATS: %w", err)
	}
	group := service.AddGroup(strings.TrimSuffix(a.config.Subjects.AllRequests(), ".>"))
	for _, e := range a.table {
		handler := micro.HandlerFunc(func(r micro.Request) { a.serve(e, r) })
		payload := map[string]string{"payload": e.payload}
		err = errors.Join(err, group.AddEndpoint(
			e.name, handler, micro.WithEndpointSubject(e.subject), micro.WithEndpointMetadata(payload)))
	}
	// Help begins after all endpoints, and ends before them. Otherwise it would swallow requests
	// for endpoints that have not begun yet, or have ended.
	help, failed := a.nc.QueueSubscribe(a.config.Subjects.AllRequests(), helpGroup, a.help)
	err = errors.Join(err, failed)
	if err == nil {
		for ctx.Err() == nil && a.nc.FlushTimeout(stream.RequestTimeout) != nil {
			stream.Sleep(ctx, flushRetry) // NATS is away: the subscriptions reach it when it is back
		}
		a.answers.Store(true)
		<-ctx.Done()
		a.answers.Store(false)
	}
	if help != nil {
		_ = help.Drain() // it fails only when the connection is closed
	}
	err = errors.Join(err, service.Stop())
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.running.Wait()
	return err
}

// Answers reports whether NATS hands requests to this replica. Until then NATS says that nobody
// responds.
func (a *API) Answers() bool { return a.answers.Load() }

// request is one that an endpoint has taken.
type request struct {
	*nats.Msg
	endpoint string
	verb     string
	scope    wire.ID // a server, a namespace (without a name), or all (zero)
}

// serve answers one request. The subscription of the endpoint calls it, and it must not block that.
// It must not answer through micro either, which reads the outcome of a request as soon as serve
// returns.
func (a *API) serve(e endpoint, m micro.Request) {
	r := request{
		Msg:      &nats.Msg{Subject: m.Subject(), Reply: m.Reply(), Data: m.Data(), Header: nats.Header(m.Headers())},
		endpoint: e.name,
	}
	var err error
	if r.verb, r.scope, err = a.config.Subjects.ParseRequest(r.Subject); err != nil {
		a.finish(r, nil, err)
		return
	}
	select {
	case e.places <- struct{}{}:
	default:
		a.finish(r, nil, fmt.Errorf("%w: %d such requests are under way: try again in a moment",
			answer.ErrUnavailable, cap(e.places)))
		return
	}
	work := func() {
		defer func() { <-e.places }()
		ctx, cancel := context.WithTimeout(context.Background(), stream.RequestTimeout)
		defer cancel()
		if err := a.guarded(r, func() error { return e.handle(ctx, r) }); err != nil {
			a.finish(r, nil, err)
		}
	}
	if !a.begin(work) { // the service has stopped, but the connection is closed only after this answer
		work()
	}
}

// begin starts a goroutine, unless the service has stopped. It reports whether it did.
func (a *API) begin(work func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.running.Go(work)
	}
	return !a.ended
}

// guarded turns a panic into an error, so that it does not end the other requests.
func (a *API) guarded(r request, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.config.Logger.Error("panic while answering a request: please report this",
				"subject", wire.Shorten(r.Subject), "panic", p, "stack", string(debug.Stack()))
			err = errors.New("internal error: this is a bug in idle-scaler, and its log has the stack; " +
				"it may be done or not, ask for the server's status")
		}
	}()
	return do()
}

// finish answers a request, counts failures, and logs if that is not possible.
func (a *API) finish(r request, body any, failure error) {
	if failure != nil {
		a.errors[r.endpoint].Add(1)
	}
	if err := a.answer(r, body, failure); err != nil {
		a.config.Logger.Debug("cannot answer a request",
			"subject", wire.Shorten(r.Subject), "failure", failure, "err", err)
	}
}

// answer sends an answer, if the sender has an inbox: see wire.InboxPrefix.
func (a *API) answer(r request, body any, failure error) error {
	inbox := wire.Inbox(r.Reply)
	if inbox == "" {
		return fmt.Errorf("its reply subject %q does not begin with %s, or is longer than %d bytes",
			wire.Shorten(r.Reply), wire.InboxPrefix, wire.MaxInbox)
	}
	return answer.Send(a.nc, inbox, body, failure)
}

// publish stores a message on a stream. Unsure says what to do if nobody knows whether it is
// stored.
func (a *API) publish(
	ctx context.Context, to stream.Kind, m *nats.Msg, unsure string,
) (stored *jetstream.PubAck, err error) {
	name := to.Name(a.config.Subjects)
	stored, err = a.js.PublishMsg(ctx, m)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrDisconnected): // it may have come that far
		err = fmt.Errorf("%w: stream %s does not answer: %s", scaler.ErrUnsure, name, unsure)
	case err != nil:
		err = fmt.Errorf("%w: stream %s takes nothing now, nothing was done: "+
			"try again, or if it is full, raise its max_msgs: %w", answer.ErrUnavailable, name, err)
	}
	return stored, err
}
