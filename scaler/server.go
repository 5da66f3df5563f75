package scaler

import (
	"strings"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// ID names one server.
type ID = activity.ID

// Server is one Deployment as it was seen at one moment. It never changes after it was made.
type Server struct {
	ID         ID
	UID        string // differs between two Deployments of the same name
	Version    string // opaque; a write against another version fails
	Generation int64  // of what is wanted
	Observed   int64  // the generation that the counts below are about

	Replicas  int // wanted
	Total     int // exist and are not ending
	Updated   int // have the newest pod template
	Ready     int
	Available int

	Created      time.Time
	ReadySince   time.Time // since when some replica is ready; zero while none is, or when not known
	UnreadySince time.Time // since when none of the wanted is; zero while some is, or when not known
	Stalled      bool      // a rollout has passed its progress deadline

	Labels     map[string]string
	Writer     string // the field manager that last wrote the wanted replicas
	Ours       bool   // Writer is this daemon
	Conditions []Condition
	Refused    *Refusal // why the cluster makes no pods for it

	Settings policy.Settings
	Sources  map[string]policy.Source // where each setting that is written anywhere comes from, by key
	Bad      error                    // why the settings or the marks can't be read
	Rival    string                   // the nature of whoever else decides about its replicas: KEDA; empty: nobody
	Requests Resources                // of one replica
	Mark     Mark
}

// Resources are what the scheduler keeps free for one replica.
type Resources struct {
	MilliCPU int64
	Memory   int64 // bytes
}

// Condition is one of the conditions of a Deployment.
type Condition struct {
	Type, Status, Reason, Message string
	Since                         time.Time
}

// Refusal says that the cluster makes no pods, and why: a quota, an admission webhook.
type Refusal struct{ Reason, Message string }

// Mark is what the daemon has written on a Deployment. Zero values are not written.
type Mark struct {
	Restore int // the replicas to wake with
	Because policy.Because
	Asleep  time.Time      // when it was put to sleep; zero while it is awake
	Awake   time.Time      // when somebody last woke it, or ordered it awake; zero while it is asleep
	Seen    activity.Stamp // the last ping that the decision to sleep knew
	Failed  string         // why its last wake, or scale, will not get ready; says nothing of a later loss
	Hold    policy.Hold    // the last explicit hold; in force until it ends
	Reverts policy.Reverts // how often somebody else raised it again
	Done    Done
	Last    Event // the last change, kept here before and after the stream has it
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

// RollingOut reports whether a new version is being brought in, or the counts are older than what
// is wanted.
func (s *Server) RollingOut() bool {
	return !s.Stalled && (s.Observed < s.Generation || s.Updated < s.Replicas || s.Total > s.Updated)
}

// Wanted reports whether a server has replicas, or will have once the servers before it are ready.
func (s *Server) Wanted() bool { return s.Replicas > 0 || s.waitsForOthers() }

// waitsForOthers reports whether a command has started the server, and others have to be ready
// before.
func (s *Server) waitsForOthers() bool {
	return s.Replicas == 0 && s.Mark.Because == policy.BecauseAfter
}

// wokenByOthers reports whether somebody else gave replicas to a server that is marked as asleep.
func (s *Server) wokenByOthers() bool { return s.Replicas > 0 && !s.Mark.Asleep.IsZero() }

// ready reports whether some replica is ready, by counts that are at least as new as the
// generation.
func (s *Server) ready(generation int64) bool { return s.Observed >= generation && s.Ready > 0 }

func (s *Server) allReady(generation int64) bool {
	return s.Observed >= generation && s.Ready >= s.Replicas && s.Updated >= s.Replicas
}

// AwakeReplicas returns how many replicas the server has, or wakes with.
func (s *Server) AwakeReplicas() int {
	if s.Replicas > 0 {
		return s.Replicas
	}
	return s.restored()
}

// restored returns how many replicas the server wakes with.
func (s *Server) restored() int {
	if s.Mark.Restore > 0 {
		return s.Mark.Restore
	}
	return max(1, s.Settings.WakeReplicas)
}

// held returns the hold that is in force. One that is over is not written again.
func (s *Server) held(now time.Time) policy.Hold {
	if s.Mark.Hold.Holds(now) {
		return s.Mark.Hold
	}
	return policy.Hold{}
}

// IsAbout reports whether the event with this ID, like Progress, is about the server as it is
// wanted now, and not about what was wanted of it before.
func (s *Server) IsAbout(id string) bool { return strings.HasPrefix(id, noticePrefix(s)) }
