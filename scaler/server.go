package scaler

import (
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// ID names one server.
type ID = activity.ID

// Server is one Deployment as it was seen at one moment. It is never changed after it was made.
type Server struct {
	ID         ID
	UID        string // differs between two Deployments of the same name
	Version    string // opaque; a write against another version fails
	Generation int64  // of what is wanted
	Observed   int64  // the generation that the counts below are true for

	Replicas  int // wanted
	Total     int // exist and are not being ended
	Updated   int // of the newest version of the pod template
	Ready     int
	Available int

	Created      time.Time
	ReadySince   time.Time // since when some replica is ready; zero while none is, or when not known
	UnreadySince time.Time // since when none is of those wanted; zero while some is, or when not known
	Stalled      bool      // a rollout has passed its progress deadline

	Labels     map[string]string
	Writer     string // the field manager that last wrote the wanted replicas
	Ours       bool   // Writer is this daemon
	Conditions []Condition
	Refused    *Refusal // why the cluster makes no pods for it

	Settings policy.Settings
	Sources  map[string]policy.Source // where each setting comes from that is written anywhere, by key
	Bad      error                    // why the settings or the marks can't be read
	Rival    string                   // who else decides about its replicas, by its nature: KEDA; empty: nobody
	Requests Resources                // of one replica
	Mark     Mark
}

// Resources are what the scheduler keeps free for the pods of a server.
type Resources struct {
	MilliCPU int64
	Memory   int64 // bytes
}

// Condition is one of the conditions of a Deployment.
type Condition struct {
	Type, Status, Reason, Message string
	Since                         time.Time
}

// Refusal is the cluster's word that it makes no pods: a quota, an admission webhook.
type Refusal struct{ Reason, Message string }

// RollingOut reports whether a new version is being brought in, or the counts are not yet those of what is wanted.
func (s *Server) RollingOut() bool {
	return !s.Stalled && (s.Observed < s.Generation || s.Updated < s.Replicas || s.Total > s.Updated)
}

// Mark is what the daemon has written on a Deployment about it. Zero values are not written.
type Mark struct {
	Restore int // the replicas to wake with
	Because policy.Because
	Asleep  time.Time      // when it was put to sleep; zero while it is awake
	Awake   time.Time      // when it was last woken, or told to be awake; zero while it is asleep
	Seen    activity.Stamp // the last ping that the decision to sleep knew
	Failed  string         // why its last wake, or scale, will not get as ready as was asked; says nothing of a later loss
	Hold    policy.Hold    // the last explicit hold; in force until it ends
	Reverts policy.Reverts // how often somebody else woke it again
	Done    Done
	Last    Event // the last transition, kept here until the bus has it and after
}

// Done is the last command that was applied.
type Done struct {
	Stamp activity.Stamp
	ID    string // as its sender named it, may be empty
}

// Endpoint is one address under which a server can be reached when it is awake.
type Endpoint struct {
	Service string
	Type    string // ClusterIP, NodePort, LoadBalancer, Headless, ExternalName
	Port    string // the name of the port, may be empty
	URL     string
}

// facts are what a decision about one server depends on now.
func (s *Scaler) facts(server *Server, now time.Time) policy.Facts {
	l := look{s: s, now: now}
	return l.facts(server)
}

// factsAlone are the facts but for what the others of its group make of it.
func (s *Scaler) factsAlone(server *Server, now time.Time) policy.Facts {
	f := policy.Facts{
		Settings:    server.Settings,
		Bad:         server.Bad,
		Paused:      s.pauses.Of(server.ID),
		Hold:        server.Mark.Hold,
		Reverts:     server.Mark.Reverts,
		Rival:       server.Rival,
		Replicas:    server.Replicas,
		Ready:       server.Ready,
		RollingOut:  server.RollingOut(),
		ReadySince:  server.ReadySince,
		StartingAt:  startingAt(server),
		Created:     server.Created,
		Ours:        server.Ours,
		Because:     server.Mark.Because,
		AsleepSince: server.Mark.Asleep,
		AwakeSince:  server.Mark.Awake,
		Seen:        server.Mark.Seen,
		Use:         s.tracker.Of(server.ID),
		Coverage:    s.coverage(now),
	}
	if server.Settings.SleepNotice > 0 {
		f.Noticed = s.noticedAt(server.ID)
	}
	return f
}

// sight says how far silence proves anything: nothing either while it is not known what is said of servers elsewhere.
func (s *Scaler) coverage(now time.Time) activity.Coverage {
	found := s.tracker.Coverage(now)
	if missing := s.cache.Missing(); missing != "" && found.Blind == "" {
		found.Blind = missing
	}
	return found
}

// Blind says why silence proves nothing now, so that no server is put to sleep; empty when it does. It is what the event Blinded tells of.
func (s *Scaler) Blind() string { return s.coverage(s.now()).Blind }

// startingAt is when the server began what may be a start: the latest of its creation, its wake (by whomever) and the loss of its last ready replica.
func startingAt(server *Server) time.Time {
	start := server.Created
	for _, t := range [...]time.Time{server.Mark.Awake, server.UnreadySince} {
		if t.After(start) {
			start = t
		}
	}
	return start
}
