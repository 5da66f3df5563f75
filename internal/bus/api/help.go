package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/wire"
)

// strays is the queue group of the subscription that gets every request, to answer those that no
// endpoint takes. NATS hands a message to one member of each queue group, whatever the subject it
// has subscribed to: in the group of the endpoints it would take their requests away.
const strays = "strays"

// help answers requests that no endpoint takes. All come here. It is no endpoint itself, because
// those of a service end one after the other, in the order in which they began; see Run.
func (a *API) help(m *nats.Msg) {
	failure := a.astray(m.Subject)
	to := wire.Inbox(m.Reply)
	if failure == nil || to == "" {
		return
	}
	if err := answer.Send(a.nc, to, nil, failure); err != nil {
		a.config.Logger.Debug("cannot answer a request", "subject", wire.Shorten(m.Subject), "failure", failure, "err", err)
	}
}

// astray says what is wrong with the subject of a request, nothing when there is an endpoint that
// takes it.
func (a *API) astray(subject string) error {
	verb, rest := a.config.Subjects.SplitRequest(subject)
	var verbs, takes []string // all there are, and what may follow this one
	for _, e := range a.table {
		known, pattern, _ := strings.Cut(e.subject, ".")
		if !slices.Contains(verbs, known) {
			verbs = append(verbs, known)
		}
		if known == verb {
			takes = append(takes, pattern)
		}
	}
	switch {
	case len(takes) == 0:
		return fmt.Errorf("%w: unknown verb %q: use %s", wire.ErrInvalid, wire.Shorten(verb), wire.OneOf(verbs))
	case slices.ContainsFunc(takes, func(pattern string) bool { return matches(pattern, rest) }):
		return nil
	case slices.Contains(takes, "*.>"):
		return fmt.Errorf("%w: %s needs a server: send it to %s.NAMESPACE.NAME", wire.ErrInvalid, verb,
			a.config.Subjects.Request(verb, wire.ID{}))
	}
	return fmt.Errorf("%w: %s %q: name one namespace, or none", wire.ErrInvalid, verb, wire.Shorten(rest))
}

// matches reports whether what follows the verb of a request is as an endpoint takes it: nothing, a
// namespace, or a server.
func matches(pattern, rest string) bool {
	server := strings.Contains(rest, ".")
	switch pattern {
	case "":
		return rest == ""
	case "*":
		return rest != "" && !server
	}
	return server
}
