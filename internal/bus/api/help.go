package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/wire"
)

// helpGroup is the queue group of the subscription to all requests, for those that no endpoint
// takes. NATS hands a message to one member of each queue group, on any of its subjects: in the
// group of the endpoints, help would take their requests away.
const helpGroup = "help"

// help answers requests that no endpoint takes. It gets all requests. It is no endpoint itself,
// because a service ends its endpoints in the order in which they began; see Run.
func (a *API) help(m *nats.Msg) {
	if failure := a.unknown(m.Subject); failure != nil {
		a.finish(request{Msg: m}, nil, failure)
	}
}

// unknown returns what is wrong with the subject of a request, or nil if an endpoint takes it.
func (a *API) unknown(subject string) error {
	verb, rest := a.config.Subjects.SplitRequest(subject)
	var verbs, takes []string // all there are, and what may follow this one
	for _, e := range a.table {
		known, pattern, _ := strings.Cut(e.subject, ".")
		verbs = append(verbs, known)
		if known == verb {
			takes = append(takes, pattern)
		}
	}
	switch {
	case len(takes) == 0:
		return fmt.Errorf("%w: unknown verb %q: use %s",
			wire.ErrInvalid, wire.Shorten(verb), wire.OneOf(slices.Compact(verbs)))
	case slices.Contains(takes, patternOf(rest)):
		return nil
	case slices.Contains(takes, "*.>"):
		return fmt.Errorf("%w: %s needs a server: send it to %s.NAMESPACE.NAME",
			wire.ErrInvalid, verb, a.config.Subjects.Request(verb, wire.ID{}))
	}
	return fmt.Errorf("%w: %s %q: name one namespace, or none", wire.ErrInvalid, verb, wire.Shorten(rest))
}

// patternOf returns how an endpoint subscribes to what follows the verb of a request: nothing, a
// namespace, or a server.
func patternOf(rest string) string {
	switch {
	case rest == "":
		return ""
	case strings.Contains(rest, "."):
		return "*.>"
	}
	return "*"
}
