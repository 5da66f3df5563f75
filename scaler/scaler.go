package scaler

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// Cache is what this replica knows of the cluster without a request. internal/kube.Cache implements
// it.
type Cache interface {
	// Synced reports whether all servers have been read once.
	Synced() bool
	// Missing names the other resources that a sleep depends on and that have not been read; empty
	// when all have.
	Missing() string
	Get(id ID) (*Server, bool)
	// All yields every server, in no order.
	All(yield func(*Server) bool)
	// Group returns the servers of a group, in order of name.
	Group(namespace, name string) []*Server
	// Seen returns the server, nil when it is not there, and whether that is at least as new as a
	// version.
	Seen(id ID, version string) (server *Server, reached bool)
	// Watch returns a channel that receives after the server changed, appeared or went, until stop
	// is called.
	Watch(id ID) (changed <-chan struct{}, stop func())
}

// Cluster is the API server. internal/kube.Cluster implements it.
type Cluster interface {
	// Fresh reads one server. Errors: ErrUnknown, ErrUnmanaged, or a transient one.
	Fresh(ctx context.Context, id ID) (*Server, error)
	// Write sets the wanted replicas and the mark in one request, if the Deployment still has the
	// server's version, and returns it as written. Errors: ErrConflict, ErrUnknown when it is gone,
	// ErrRefused, ErrUnsure.
	Write(ctx context.Context, server *Server, replicas int, mark Mark) (*Server, error)
}

// Pods is what only the pods can tell. internal/kube.Pods implements it.
type Pods interface {
	// Diagnose sends why the server is not ready, each time that changes. It closes the channel
	// soon after ctx is done.
	Diagnose(ctx context.Context, server *Server) <-chan Diagnosis
	// Kill ends all pods of the server at once, and no others.
	Kill(ctx context.Context, server *Server) error
}

// Endpoints finds where a server is reached. internal/kube.Services implements it.
type Endpoints interface {
	Endpoints(server *Server) []Endpoint
}

// ActivityLog is the log that fills the tracker. internal/bus/activitylog.Log implements it.
type ActivityLog interface {
	// Prove returns nil when the tracker knows everything that the log held at most a second ago.
	Prove(ctx context.Context) error
}

// Meter counts. Passes call its methods, so they return at once; they may be called concurrently.
// internal/ops.Metrics implements it.
type Meter interface {
	// Event counts an event that is published now.
	Event(e Event)
	// Wake notes how long a phase of a wake took. "queued" is from when a start was sent until it
	// is begun; "patch" is the request to the API server, whoever asked for the wake; "ready" is
	// from that write to the first ready replica. A phase between two clocks may be negative.
	Wake(phase string, took time.Duration)
	// Swept notes what a sweep found.
	Swept(s Sweep)
	// MisSlept counts a server that was wanted less than MisSleepWithin after it went to sleep, or
	// would have.
	MisSlept(dryRun bool)
	// Panic counts a panic that was caught in a pass.
	Panic()
}

// Config holds the numbers of a Scaler. All fields must be set.
type Config struct {
	Rules policy.Rules
	Self  ID // names the daemon in events that are about no server

	MaxInFlight   int           // passes at once; each makes at most one request to the API server at a time
	MaxSleeps     int           // how many of them may be of the sweep, so that sleeps never delay a wake
	CommandMaxAge time.Duration // an older command expires
	RetryFor      time.Duration // how long a command is tried before it is rejected
	MaxWait       time.Duration // the longest wait that a command may ask for
	DiagnoseAfter time.Duration // after this long without a ready replica the pods of a wake are watched
	DrainFor      time.Duration // how long passes may go on when the daemon is asked to end
}

// DefaultConfig returns the numbers that count unless somebody says otherwise.
func DefaultConfig() Config {
	return Config{
		Self:          ID{Namespace: "_", Name: "default"},
		Rules:         policy.Rules{MinAwake: time.Minute, StartDeadline: 10 * time.Minute},
		MaxInFlight:   64,
		MaxSleeps:     16,
		CommandMaxAge: 10 * time.Minute,
		RetryFor:      2 * time.Minute,
		MaxWait:       5 * time.Minute,
		DiagnoseAfter: 3 * time.Second,
		DrainFor:      10 * time.Second,
	}
}

// World is everything outside that a Scaler uses. All fields must be set.
type World struct {
	Cache     Cache
	Cluster   Cluster
	Pods      Pods
	Endpoints Endpoints
	Log       ActivityLog
	Pauses    *Pauses // the reader of the pauses fills it
	Events    Events
	Meter     Meter
	Now       func() time.Time // the time of the activity log: activity.Clock
	Logger    *slog.Logger
}

// Scaler starts, stops, wakes and puts to sleep.
type Scaler struct {
	config    Config
	tracker   *activity.Tracker
	cache     Cache
	cluster   Cluster
	pods      Pods
	endpoints Endpoints
	log       ActivityLog
	pauses    *Pauses
	events    Events
	meter     Meter
	now       func() time.Time // the time of the log
	local     func() time.Time // that of this process: only for the age of a proof or a decision, see activity.Age
	logger    *slog.Logger

	lookups chan struct{}        // one entry for each request that reads a server from the API server
	term    atomic.Pointer[term] // nil while this process does not lead
}

// New returns a Scaler that answers reads, and that writes while Lead runs.
func New(config Config, tracker *activity.Tracker, w World) *Scaler {
	return &Scaler{
		config: config, tracker: tracker,
		cache: w.Cache, cluster: w.Cluster, pods: w.Pods, endpoints: w.Endpoints,
		log: w.Log, pauses: w.Pauses, events: w.Events, meter: w.Meter,
		now: w.Now, logger: w.Logger,
		local:   time.Now, //nolint:forbidigo // the age of a proof is of this process, see activity.Age
		lookups: make(chan struct{}, config.MaxInFlight),
	}
}
