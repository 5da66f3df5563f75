package scaler

import (
	"slices"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// decider decides about servers at one instant. It works out each group once: if each of its
// servers did that, a group of a thousand would take a thousand times as long.
type decider struct {
	s      *Scaler
	now    time.Time
	groups map[ID]*group // by namespace and the name of the group
}

func (s *Scaler) decider() *decider {
	return &decider{s: s, now: s.now(), groups: make(map[ID]*group)}
}

// decide returns what to do with a server, and the facts behind that.
func (d *decider) decide(server *Server) (policy.Facts, policy.Decision) {
	f := d.s.factsAlone(server, d.now)
	if name := server.Settings.Group; name != "" {
		id := ID{Namespace: server.ID.Namespace, Name: name}
		if d.groups[id] == nil {
			d.groups[id] = d.s.group(id, d.now)
		}
		f.Group = d.groups[id].of(server)
	}
	return f, d.s.config.Rules.Decide(&f, d.now)
}

// factsAlone returns the facts about a server without those about its group.
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

// coverage says how far silence proves that a server is unused. It proves nothing while other
// resources that a sleep depends on have not been read.
func (s *Scaler) coverage(now time.Time) activity.Coverage {
	coverage := s.tracker.Coverage(now)
	if missing := s.cache.Missing(); missing != "" && coverage.Blind == "" {
		coverage.Blind = missing
	}
	return coverage
}

// Blind returns why silence proves nothing now, so that no server is put to sleep; empty when it
// does. The event Blinded says the same.
func (s *Scaler) Blind() string { return s.coverage(s.now()).Blind }

// startingAt returns when the server began what may be a start: the latest of its creation, its
// wake by anybody, and the loss of its last ready replica.
func startingAt(server *Server) time.Time {
	return latestOf(server.Created, server.Mark.Awake, server.UnreadySince)
}

func latestOf(instants ...time.Time) time.Time { return slices.MaxFunc(instants, time.Time.Compare) }
