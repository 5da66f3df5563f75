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
	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/share"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// Servers is what there is to ask about servers. Implemented by scaler.Scaler.
type Servers interface {
	List(f scaler.Filter) ([]*scaler.Server, error)
	Status(ctx context.Context, id scaler.ID) (scaler.View, error)
	View(server *scaler.Server) scaler.View
	Check(ctx context.Context, c scaler.Command) (*scaler.Server, error)
	Await(ctx context.Context, at scaler.Applied, why func(*scaler.Server) string) (*scaler.Server, error)
	WouldBeAsleep(servers []*scaler.Server) map[scaler.ID]time.Time
	Now() time.Time // of the activity log, as events bear it
}

// Config is what an API needs to know. All fields must be set.
type Config struct {
	Subjects wire.Subjects
	Servers  Servers
	Selector func(text string) (func(labels map[string]string) bool, error) // reads a label selector
	Cluster  string
	Version  string // semantic
	AtOnce   int    // how many requests may be under way: 1024
	Logger   *slog.Logger
}

// API answers requests, as the NATS micro service "idle-scaler". All replicas do, each request goes
// to one of them. Reads are answered from memory. An order is checked, so that what is wrong is known
// at once, and put on the command stream; the replica that took it waits and answers.
type API struct {
	config Config
	nc     *nats.Conn
	js     jetstream.JetStream
	events *event.Archive
	slots  chan struct{}
	reads  chan struct{} // the places of those that read events, which take long
	read   chan struct{} // of these, the ones that read at this moment
	wakes  chan struct{} // of those that wake all, which may
	pauses chan struct{} // of those that pause and resume: the emergency switch must work whatever else is asked for
	paused chan struct{} // of pauses that are stored and wait to be in force
	waits  waits
	last   lastReport
	table  []endpoint
	errors map[string]*atomic.Int64 // answered, by endpoint

	answers atomic.Bool
	replies *command.Replies // what the leader says of the commands of this replica
	ends    context.Context  // done when Run is asked to end

	mu      sync.Mutex
	ended   bool // no goroutine begins any more
	running sync.WaitGroup
}

const (
	flushPause   = 100 * time.Millisecond // between two tries to reach NATS while it is away
	readAtOnce   = 2                      // how many may read events at once: each costs its consumer, and the time to decode
	slowAtOnce   = 64                     // how many requests of each kind that has places of its own may be under way beside the others
	pausesAtOnce = 4096                   // how many pauses may wait to be in force without holding such a place
)

// New returns an API that answers once Run is called.
func New(nc *nats.Conn, config Config) (*API, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	events, err := event.NewArchive(nc, config.Subjects)
	if err != nil {
		return nil, err
	}
	a := &API{
		config: config, nc: nc, js: js, events: events, errors: make(map[string]*atomic.Int64),
		slots: make(chan struct{}, config.AtOnce), reads: make(chan struct{}, slowAtOnce), wakes: make(chan struct{}, slowAtOnce),
		read: make(chan struct{}, readAtOnce), pauses: make(chan struct{}, slowAtOnce), paused: make(chan struct{}, pausesAtOnce),
		waits: waits{places: share.Places{Most: maxWaits}},
	}
	a.table = a.endpoints()
	for _, e := range a.table {
		a.errors[e.name] = new(atomic.Int64)
	}
	return a, nil
}

// endpoint is one part of the service. Handle sends the answer, or returns why there is none to
// send.
type endpoint struct {
	name, subject string
	describe      map[string]string // shown by "nats micro info"
	handle        func(ctx context.Context, request micro.Request) error
	places        chan struct{} // one entry for each that is under way: those that may take seconds have their own
}

func (a *API) endpoints() []endpoint {
	order := func(verb wire.Verb, payload string) endpoint {
		return endpoint{
			string(verb), string(verb) + ".*.>",
			map[string]string{"payload": payload},
			a.order,
			a.slots,
		}
	}
	by := map[string]string{"payload": `{"actor":"...","reason":"..."}, all optional`}
	wake := map[string]string{"payload": `{"id":"...","actor":"...","reason":"..."}, all optional: what the commands to start say`}
	return []endpoint{
		{"list", "list", map[string]string{"payload": `{"selector":"app=x","limit":100,"after":"..."}, all optional`}, a.list, a.slots},
		{"list-namespace", "list.*", map[string]string{"payload": "as that of list"}, a.list, a.slots},
		{"status", "status.*.>", map[string]string{"payload": "none"}, a.status, a.slots},
		{"explain", "explain.*.>", map[string]string{"payload": "none"}, a.explain, a.slots},
		{"history", "history.*.>", map[string]string{"payload": `{"since":"24h","limit":100}, all optional`}, a.history, a.reads},
		{"report", "report", map[string]string{"payload": `{"over":"24h","to":"2026-01-02T15:04:05Z","limit":100,"after":"..."}, all optional`}, a.report, a.reads},
		{"report-namespace", "report.*", map[string]string{"payload": "as that of report"}, a.report, a.reads},
		order(wire.VerbStart, `{"wait":"60s","id":"...","actor":"...","reason":"..."}, all optional; "0s" answers when it is written`),
		order(wire.VerbStop, `{"force":false,"id":"...","actor":"...","reason":"..."}, all optional`),
		order(wire.VerbScale, `{"replicas":3,"wait":"0s","id":"...","actor":"...","reason":"..."}, all but replicas optional`),
		order(wire.VerbHold, `{"awake_until":"18:00"} or {"asleep_until":"2h"}, and "id", "actor", "reason", optional`),
		order(wire.VerbRelease, `{"id":"...","actor":"...","reason":"..."}, all optional`),
		{"pause", "pause", by, a.pause, a.pauses},
		{"pause-namespace", "pause.*", by, a.pause, a.pauses},
		{"pause-server", "pause.*.>", by, a.pause, a.pauses},
		{"resume", "resume", by, a.resume, a.pauses},
		{"resume-namespace", "resume.*", by, a.resume, a.pauses},
		{"resume-server", "resume.*.>", by, a.resume, a.pauses},
		{"wake", "wake", wake, a.wake, a.wakes},
		{"wake-namespace", "wake.*", wake, a.wake, a.wakes},
	}
}

// Run answers until ctx is done and what is under way has been answered.
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
			return map[string]int64{"errors": a.errors[e.Name].Load(), "under_way": int64(len(a.slots) + len(a.reads) + len(a.wakes) + len(a.pauses) + len(a.paused) + a.waits.taken())}
		},
	})
	if err != nil {
		return fmt.Errorf("offer the API on NATS: %w", err)
	}
	group := service.AddGroup(strings.TrimSuffix(a.config.Subjects.AllRequests(), ".>"))
	for _, e := range a.table {
		handler := micro.HandlerFunc(func(r micro.Request) { a.serve(e, r) })
		err = errors.Join(err, group.AddEndpoint(e.name, handler, micro.WithEndpointSubject(e.subject), micro.WithEndpointMetadata(e.describe)))
	}
	// After all others and, at the end, before them: who would ask meanwhile what they take would
	// get no word from anybody.
	help, failed := a.nc.QueueSubscribe(a.config.Subjects.AllRequests(), strays, a.help)
	err = errors.Join(err, failed)
	if err == nil {
		for ctx.Err() == nil && a.nc.FlushTimeout(stream.RequestTimeout) != nil {
			stream.Sleep(ctx, flushPause) // NATS is away: what was subscribed reaches it when it is back
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

// Answers reports whether NATS hands requests to this replica. Until then NATS tells a sender that nobody is there.
func (a *API) Answers() bool { return a.answers.Load() }

// serve answers one request. It is called within the subscription of the endpoint, which it must
// not block, and it must not answer through micro either, which reads what became of a request as
// soon as serve returns.
func (a *API) serve(e endpoint, r micro.Request) {
	select {
	case e.places <- struct{}{}:
	default:
		a.finish(e, r, fmt.Errorf("%w: %d such requests are under way: try again in a moment", answer.ErrUnavailable, cap(e.places)))
		return
	}
	work := func() {
		defer func() { <-e.places }()
		ctx, cancel := context.WithTimeout(context.Background(), stream.RequestTimeout)
		defer cancel()
		a.finish(e, r, a.guarded(r, func() error { return e.handle(ctx, r) }))
	}
	if !a.begin(work) { // requests that had arrived when the service stopped are answered before the connection is closed
		work()
	}
}

// begin does something beside all else, unless the service has stopped, which it reports.
func (a *API) begin(work func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.running.Go(work)
	}
	return !a.ended
}

// later answers a request after d, without holding its place meanwhile unless there are too many of
// them.
func (a *API) later(d time.Duration, r micro.Request, body any) {
	wait := func() {
		time.Sleep(d)
		if err := a.answer(r, body, nil); err != nil {
			a.config.Logger.Debug("cannot answer a request", "subject", wire.Shorten(r.Subject()), "err", err)
		}
	}
	select {
	case a.paused <- struct{}{}:
		if a.begin(func() { defer func() { <-a.paused }(); wait() }) {
			return
		}
		<-a.paused
	default:
	}
	wait()
}

// guarded does something for a request. A panic must not end the others.
func (a *API) guarded(r micro.Request, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.config.Logger.Error("panic while a request was answered: please report this", "subject", wire.Shorten(r.Subject()), "panic", p, "stack", string(debug.Stack()))
			err = errors.New("internal error: this is a bug in idle-scaler, and its log has the stack; it may have been done or not, ask for the server's status")
		}
	}()
	return do()
}

// finish tells the sender of a request what is wrong with it, if anything is.
func (a *API) finish(e endpoint, r micro.Request, failure error) {
	if failure == nil {
		return
	}
	a.errors[e.name].Add(1)
	if err := a.answer(r, nil, failure); err != nil {
		a.config.Logger.Debug("cannot answer a request", "subject", wire.Shorten(r.Subject()), "failure", failure, "err", err)
	}
}

// answer sends an answer, if it can be answered at all: see wire.InboxPrefix.
func (a *API) answer(r micro.Request, body any, failure error) error {
	to := wire.Inbox(r.Reply())
	if to == "" {
		return fmt.Errorf("its reply subject %q does not begin with %s, or is longer than %d bytes", wire.Shorten(r.Reply()), wire.InboxPrefix, wire.MaxInbox)
	}
	return answer.Send(a.nc, to, body, failure)
}

func (a *API) status(ctx context.Context, r micro.Request) error {
	view, err := a.view(ctx, r)
	if err != nil {
		return err
	}
	return a.answer(r, answer.Status(view), nil)
}

func (a *API) explain(ctx context.Context, r micro.Request) error {
	view, err := a.view(ctx, r)
	if err != nil {
		return err
	}
	return a.answer(r, answer.Explain(view), nil)
}

// namespace is that of a request about many servers; empty when it is about all.
func (a *API) namespace(r micro.Request) (string, error) {
	_, rest := a.config.Subjects.SplitRequest(r.Subject())
	scope, err := wire.ParseScope(rest)
	return scope.Namespace, err
}

// view looks at the server that a request without payload is about.
func (a *API) view(ctx context.Context, r micro.Request) (scaler.View, error) {
	_, rest := a.config.Subjects.SplitRequest(r.Subject())
	id, err := wire.ParseID(rest)
	if err != nil {
		return scaler.View{}, err
	}
	if err := wire.CheckEmpty(r.Data()); err != nil {
		return scaler.View{}, err
	}
	return a.config.Servers.Status(ctx, id)
}
