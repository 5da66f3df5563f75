package scaler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// Cache is what is known of the cluster without asking it. Implemented by internal/kube.Cache.
type Cache interface {
	// Synced reports whether all servers have been read once.
	Synced() bool
	// Missing says what has not been read of what else decides whether a server may sleep, empty when all has.
	Missing() string
	Get(id ID) (*Server, bool)
	// All yields every server, in no order.
	All(yield func(*Server) bool)
	// Group returns the servers of a group, in order of name.
	Group(namespace, name string) []*Server
	// Seen returns the server, nil when it is not there, and whether that is at least as new as a version.
	Seen(id ID, version string) (server *Server, reached bool)
	// Watch returns a channel that has something to receive after the server changed, appeared or went, until stop is called.
	Watch(id ID) (changed <-chan struct{}, stop func())
}

// Cluster is the API server. Implemented by internal/kube.Cluster.
type Cluster interface {
	// Fresh reads one server. Errors: ErrUnknown, ErrUnmanaged, or a passing one.
	Fresh(ctx context.Context, id ID) (*Server, error)
	// Write sets the wanted replicas and the mark in one request, if the Deployment is still at the server's version, and
	// returns it as written. Errors: ErrConflict, ErrUnknown when it is gone, ErrRefused, ErrUnsure.
	Write(ctx context.Context, server *Server, replicas int, mark Mark) (*Server, error)
}

// Pods is what only the pods can tell. Implemented by internal/kube.Pods.
type Pods interface {
	// Diagnose sends why the server is not ready, each time that changes, until ctx is done.
	Diagnose(ctx context.Context, server *Server) <-chan Diagnosis
	// Kill ends all pods of the server at once, and no others.
	Kill(ctx context.Context, server *Server) error
}

// Diagnosis is why a server is not ready.
type Diagnosis struct {
	Reason string // one word, like ImagePullBackOff
	Text   string
	Fatal  bool // it will not get ready by waiting
}

// Endpoints finds where a server is reached. Implemented by internal/kube.Services.
type Endpoints interface {
	Endpoints(server *Server) []Endpoint
}

// ActivityLog is the log that the tracker was filled from. Implemented by internal/bus/activitylog.Log.
type ActivityLog interface {
	// Prove returns nil when the tracker knows everything that the log held a moment ago: not longer than a second.
	Prove(ctx context.Context) error
}

// Meter counts. All methods may be called concurrently, and return at once: they are called within passes. Implemented by
// internal/ops.Metrics.
type Meter interface {
	// Event notes an event that is published now.
	Event(e Event)
	// Wake notes how long a phase of a wake took: "queued", from when a command to start was sent until it is begun; "patch", the request to the
	// API server that wakes, whoever asked for it; "ready", from that write to the first ready replica. One that was measured between two
	// clocks may be negative.
	Wake(phase string, took time.Duration)
	// Swept notes what a sweep found.
	Swept(s Sweep)
	// MisSlept notes that a server was wanted less than MisSleepWithin after it was put to sleep, or would have been.
	MisSlept(dryRun bool)
	// Panic notes a panic that was caught while one server was handled.
	Panic()
}

// Config is what the scaler needs to be told. All fields must be set.
type Config struct {
	Rules policy.Rules
	Self  ID // whom events are about that concern the daemon and no server

	MaxInFlight   int           // passes over servers at once; each makes at most one request to the API server at a time
	MaxSleeps     int           // how many of them may be of the sweep, so that automatic sleeps never delay a wake
	CommandMaxAge time.Duration // an older command is expired, not applied
	RetryFor      time.Duration // how long a command is tried before it is rejected
	MaxWait       time.Duration // the longest wait that a command may ask for
	DiagnoseAfter time.Duration // a wake that is not ready after this long has its pods looked at
	DrainFor      time.Duration // how long what was begun may take when the daemon is asked to end
}

// DefaultConfig holds the numbers that count where nobody has said otherwise.
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

// World is everything outside that the scaler uses.
type World struct {
	Cache     Cache
	Cluster   Cluster
	Pods      Pods
	Endpoints Endpoints
	Log       ActivityLog
	Pauses    *Pauses // filled by whoever reads them
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
	local     func() time.Time // that of this process: only for how old a proof or a decision is, see activity.Age
	logger    *slog.Logger

	lookups chan struct{} // one entry for each server that is looked up at the API server because somebody asks for it

	mu   sync.Mutex
	term *term // nil while this process does not lead
}

// New returns a Scaler that reads, and that writes once Lead is called.
func New(config Config, tracker *activity.Tracker, w World) *Scaler {
	return &Scaler{
		config: config, tracker: tracker,
		cache: w.Cache, cluster: w.Cluster, pods: w.Pods, endpoints: w.Endpoints,
		log: w.Log, pauses: w.Pauses, events: w.Events, meter: w.Meter, now: w.Now, local: time.Now, logger: w.Logger,
		lookups: make(chan struct{}, config.MaxInFlight),
	}
}
