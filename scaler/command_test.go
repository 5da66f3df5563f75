package scaler

import (
	"errors"
	"strings"
	"testing"
)

// The names that somebody may have meant are those of the namespace that was asked about: who may ask about one learns nothing of others.
func TestSuggestionsStayInTheNamespace(t *testing.T) {
	lead(t, func(w *world) {
		for id, want := range map[ID]string{
			{Namespace: "team-a", Name: "alpah"}:  "unknown; near it are: alpha",
			{Namespace: "team-a", Name: "search"}: "unknown", // which is one of team-b
			{Namespace: "team-b", Name: "alpha"}:  "unknown",
			{Namespace: "team-b", Name: "serach"}: "unknown; near it are: search",
		} {
			if _, err := w.Status(w.t.Context(), id); !errors.Is(err, ErrUnknown) || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: %v, want %s", id, err, want)
			}
		}
		if err := w.suggest(ID{Namespace: "team-a", Name: "alpah"}, ErrUnmanaged); !errors.Is(err, ErrUnmanaged) || strings.Contains(err.Error(), "near") {
			t.Errorf("of one that is there: %v", err)
		}
	}, running(2), with(running(2), func(s *Server) { s.ID = ID{Namespace: "team-b", Name: "search"} }))
}
