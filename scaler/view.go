package scaler

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// View is all that is known about one server at one instant.
type View struct {
	At        time.Time
	Server    *Server
	Status    policy.Status
	Failure   string // of a failed server
	Facts     policy.Facts
	Decision  policy.Decision
	Leases    []activity.Lease // in order of holder
	Mates     []*Server        // the others of its group, in order of name
	Endpoints []Endpoint
}

// Filter selects servers.
type Filter struct {
	Namespace string                              // empty: all
	Match     func(labels map[string]string) bool // nil: all
	After     ID                                  // only those that come after this one
}

// List returns the servers that pass the filter, in order of namespace and name. Errors:
// ErrNotSynced.
func (s *Scaler) List(f Filter) ([]*Server, error) {
	if !s.cache.Synced() {
		return nil, errReading
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

// Status returns the View of one server. Errors: ErrUnknown, with names near it; ErrUnmanaged,
// ErrNotSynced, ErrUnsure.
func (s *Scaler) Status(ctx context.Context, id ID) (View, error) {
	server, err := s.lookUp(ctx, id)
	if err != nil {
		return View{}, err
	}
	return s.View(server), nil
}

// View returns the View of a server, from memory.
func (s *Scaler) View(server *Server) View {
	decider := s.decider()
	v := View{
		At:        decider.now,
		Server:    server,
		Leases:    s.tracker.Leases(server.ID, decider.now),
		Mates:     slices.Collect(s.mates(server)),
		Endpoints: s.endpoints.Endpoints(server),
	}
	v.Facts, v.Decision = decider.decide(server)
	v.Status, v.Failure = s.status(server, decider.now)
	slices.SortFunc(v.Leases, func(a, b activity.Lease) int { return strings.Compare(a.Holder, b.Holder) })
	return v
}

// Page says all that is known about the server, a line each.
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
		policy.StatusRunning: 0, policy.StatusStopped: 0, policy.StatusPending: 0,
		policy.StatusScaling: 0, policy.StatusFailed: 0,
	}
	now := s.now()
	for server := range s.cache.All {
		status, _ := s.status(server, now)
		counts[status]++
	}
	return counts
}

// status returns the status of a server, and why it failed.
func (s *Scaler) status(server *Server, now time.Time) (policy.Status, string) {
	deadline, start := s.config.Rules.StartDeadline, startingAt(server)
	switch {
	case server.Replicas == 0:
		return policy.StatusStopped, ""
	case server.Ready >= server.Replicas:
		return policy.StatusRunning, ""
	case server.Ready > 0:
		return policy.StatusScaling, ""
	case server.Refused != nil && server.Total == 0:
		return policy.StatusFailed, explain.Joined(": ", server.Refused.Reason, server.Refused.Message)
	// A wake fails within its deadline. A server that lost its last ready replica later was ready
	// in between.
	case server.Mark.Failed != "" && !server.UnreadySince.After(server.Mark.Awake.Add(deadline)):
		return policy.StatusFailed, server.Mark.Failed
	case !now.Before(start.Add(deadline)):
		return policy.StatusFailed, explain.NotReady(start, deadline)
	}
	return policy.StatusPending, ""
}
