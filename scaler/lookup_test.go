package scaler

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// unmanaged is an API server on which no Deployment carries the label.
type unmanaged struct{ Cluster }

func (unmanaged) Fresh(context.Context, ID) (*Server, error) { return nil, ErrUnmanaged }

// Suggested names are of the namespace that was asked about: whoever may ask about one learns
// nothing of others. Nothing is suggested for a Deployment that exists.
func TestSuggestionsStayInTheNamespace(t *testing.T) {
	lead(t, func(w *world) {
		for id, want := range map[ID]string{
			{Namespace: "team-a", Name: "alpah"}:  "unknown; near it are: alpha",
			{Namespace: "team-a", Name: "search"}: "unknown", // it is in team-b
			{Namespace: "team-b", Name: "alpha"}:  "unknown",
			{Namespace: "team-b", Name: "serach"}: "unknown; near it are: search",
		} {
			if _, err := w.Status(w.t.Context(), id); !errors.Is(err, ErrUnknown) || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: %v, want %s", id, err, want)
			}
		}
		w.Scaler.cluster = unmanaged{}
		_, err := w.Status(w.t.Context(), ID{Namespace: "team-a", Name: "alpah"})
		if !errors.Is(err, ErrUnmanaged) || strings.Contains(err.Error(), "near") {
			t.Errorf("a Deployment that exists: %v", err)
		}
	}, running(2), with(running(2), func(s *Server) { s.ID = ID{Namespace: "team-b", Name: "search"} }))
}
