package scaler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// lookUp is find for requests. At most Config.MaxInFlight of them read from the API server at once,
// because anybody may ask for servers that do not exist.
func (s *Scaler) lookUp(ctx context.Context, id ID) (*Server, error) {
	if server, ok := s.cache.Get(id); ok {
		return server, nil
	}
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
		return s.find(ctx, id)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many requests to the API server are under way: try again in a moment", ErrUnsure)
	}
}

// find returns the server from memory, or asks the API server why it is not there.
func (s *Scaler) find(ctx context.Context, id ID) (*Server, error) {
	if server, ok := s.cache.Get(id); ok {
		return server, nil
	}
	if !s.cache.Synced() {
		return nil, errReading
	}
	return s.fresh(ctx, id)
}

// fresh reads the server from the API server.
func (s *Scaler) fresh(ctx context.Context, id ID) (*Server, error) {
	server, err := s.cluster.Fresh(ctx, id)
	if errors.Is(err, ErrUnknown) {
		if names := s.near(id); len(names) > 0 {
			err = fmt.Errorf("%w; near it are: %s", err, strings.Join(names, ", "))
		}
	}
	return server, err
}

const (
	maxNear  = 3 // how many names are suggested
	maxTypos = 3 // how many letters of a suggested name may differ
)

// near returns the names that the sender may have meant, nearest first. They are of the same
// namespace: whoever may ask about one namespace must not learn what others contain.
func (s *Scaler) near(id ID) (names []string) {
	typos := func(name string) int { return levenshtein.ComputeDistance(id.Name, name) }
	for server := range s.cache.All {
		if server.ID.Namespace == id.Namespace && typos(server.ID.Name) <= maxTypos {
			names = append(names, server.ID.Name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(typos(a)-typos(b), strings.Compare(a, b))
	})
	return names[:min(len(names), maxNear)]
}
