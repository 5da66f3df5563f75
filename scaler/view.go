package scaler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// View is what there is to say about one server.
type View struct {
	At        time.Time // when it was so
	Server    *Server
	Status    policy.Status
	Failure   string // of a failed server
	Facts     policy.Facts
	Decision  policy.Decision
	Leases    []activity.Lease // in order of holder
	Mates     []*Server        // the others of its group, in order of name
	Endpoints []Endpoint
}

// Filter says which servers to list.
type Filter struct {
	Namespace string                              // empty: all
	Match     func(labels map[string]string) bool // nil: all
	After     ID                                  // only those that come after this one
}

// List returns the servers that pass the filter, in order of namespace and name.
func (s *Scaler) List(f Filter) ([]*Server, error) {
	if !s.cache.Synced() {
		return nil, fmt.Errorf("%w: this replica is still reading the Deployments: try again in a moment", ErrNotSynced)
	}
	var servers []*Server
	for server := range s.cache.All {
		if (f.Namespace == "" || f.Namespace == server.ID.Namespace) &&
			CompareIDs(server.ID, f.After) > 0 &&
			(f.Match == nil || f.Match(server.Labels)) {
			servers = append(servers, server)
		}
	}
	slices.SortFunc(servers, func(a, b *Server) int { return CompareIDs(a.ID, b.ID) })
	return servers, nil
}

// CompareIDs puts servers in order of namespace and name.
func CompareIDs(a, b ID) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// Status returns what there is to say about one server.
func (s *Scaler) Status(ctx context.Context, id ID) (View, error) {
	server, err := s.lookUp(ctx, id)
	if err != nil {
		return View{}, err
	}
	return s.View(server), nil
}

// View says what there is to say about a server, from memory.
func (s *Scaler) View(server *Server) View {
	now := s.now()
	facts := s.facts(server, now)
	v := View{
		At:        now,
		Server:    server,
		Decision:  s.config.Rules.Decide(&facts, now),
		Facts:     facts,
		Leases:    s.tracker.Leases(server.ID, now),
		Endpoints: s.endpoints.Endpoints(server),
	}
	slices.SortFunc(v.Leases, func(a, b activity.Lease) int { return strings.Compare(a.Holder, b.Holder) })
	v.Status, v.Failure = s.status(server, now)
	if group := server.Settings.Group; group != "" {
		for _, mate := range s.cache.Group(server.ID.Namespace, group) {
			if mate.ID != server.ID {
				v.Mates = append(v.Mates, mate)
			}
		}
	}
	return v
}

// Page says all there is to say about the server, a line each.
func (v View) Page() string { return explain.Page(v.server(), v.At) }

// Why says in one sentence why the server is treated as it is, and what comes next.
func (v View) Why() string { return explain.Why(v.server(), v.At) }

func (v View) server() explain.Server {
	s := explain.Server{
		Name: v.Server.ID.String(), Status: v.Status, Failure: v.Failure, Facts: &v.Facts, Decision: v.Decision,
		Writer: v.Server.Writer, Last: v.Server.Mark.Last.Change(), Leases: v.Leases, Sources: v.Server.Sources,
	}
	for _, mate := range v.Mates {
		s.Mates = append(s.Mates, explain.Mate{Name: mate.ID.Name, Awake: mate.Replicas > 0})
	}
	return s
}

// Now returns the time of the activity log, which events and marks bear.
func (s *Scaler) Now() time.Time { return s.now() }

// Count returns how many servers there are of each status.
func (s *Scaler) Count() map[policy.Status]int {
	counts := map[policy.Status]int{
		policy.StatusRunning: 0, policy.StatusStopped: 0, policy.StatusPending: 0, policy.StatusScaling: 0, policy.StatusFailed: 0,
	}
	now := s.now()
	for server := range s.cache.All {
		status, _ := s.status(server, now)
		counts[status]++
	}
	return counts
}

func (s *Scaler) status(server *Server, now time.Time) (policy.Status, string) {
	switch {
	case server.Replicas == 0:
		return policy.StatusStopped, ""
	case server.Ready >= server.Replicas:
		return policy.StatusRunning, ""
	case server.Ready > 0:
		return policy.StatusScaling, ""
	}
	if server.Refused != nil && server.Total == 0 {
		return policy.StatusFailed, fmt.Sprintf("%s: %s", server.Refused.Reason, server.Refused.Message)
	}
	// A wake fails within its deadline: whose last ready replica is lost after that was ready in between.
	if over := server.Mark.Awake.Add(s.config.Rules.StartDeadline); server.Mark.Failed != "" && !server.UnreadySince.After(over) {
		return policy.StatusFailed, server.Mark.Failed
	}
	if start := startingAt(server); !now.Before(start.Add(s.config.Rules.StartDeadline)) {
		return policy.StatusFailed, explain.NotReady(start, s.config.Rules.StartDeadline)
	}
	return policy.StatusPending, ""
}
