package bus

import (
	"fmt"
	"strings"

	"idle-scaler/scaler"
)

// DefaultPrefix is what all subjects start with when nothing else is configured.
const DefaultPrefix = "cortex.mcp"

// verbs are the commands, in the order in which they are listed to people.
var verbs = []scaler.Verb{scaler.Start, scaler.Stop, scaler.Scale, scaler.Hold, scaler.Release}

// Subjects builds and parses the subjects of one prefix. In each the verb or type comes first, then the namespace, then the
// name, which is last because it may contain dots; so that NATS can authorize by namespace: "*.team-a.>".
type Subjects struct {
	prefix, command, activity, lease, pause, api, event string
}

// NewSubjects returns the subjects under a prefix.
func NewSubjects(prefix string) (Subjects, error) {
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return Subjects{}, fmt.Errorf(`subject prefix %q: use letters, digits, "_" and "-", in parts with dots between them, like %q`, prefix, DefaultPrefix)
		}
	}
	if len(prefix) > 100 || strings.HasPrefix(prefix, inboxPrefix) {
		return Subjects{}, fmt.Errorf("subject prefix %q: use at most 100 letters, and not those of the inboxes of NATS (%s)", prefix, inboxPrefix)
	}
	return Subjects{
		prefix: prefix, command: prefix + ".command.", activity: prefix + ".activity.",
		lease: prefix + ".lease.", pause: prefix + ".pause.", api: prefix + ".api.", event: prefix + ".event.",
	}, nil
}

// Command returns the subject of a command.
func (s Subjects) Command(verb scaler.Verb, id scaler.ID) string {
	return s.command + string(verb) + "." + id.Namespace + "." + id.Name
}

// Activity returns the subject of a ping.
func (s Subjects) Activity(id scaler.ID) string {
	return s.activity + id.Namespace + "." + id.Name
}

// Lease returns the subject on which a holder begins, renews and ends its lease.
func (s Subjects) Lease(holder string, id scaler.ID) string {
	return s.lease + holder + "." + id.Namespace + "." + id.Name
}

// Pause returns the subject on which the daemon keeps whether a server, a namespace (an ID without a name), or all (the zero ID) are
// paused. The kind comes first: the names of servers and namespaces are as anybody likes, dots in the former included, and none of them
// can be taken for another kind.
func (s Subjects) Pause(scope scaler.ID) string {
	switch {
	case scope == scaler.ID{}:
		return s.pause + "all"
	case scope.Name == "":
		return s.pause + "namespace." + scope.Namespace
	}
	return s.pause + "server." + scope.Namespace + "." + scope.Name
}

// Request returns the subject of a request. Without a namespace, or a name, it is about all of them.
func (s Subjects) Request(verb string, id scaler.ID) string {
	subject := s.api + verb
	if id.Namespace != "" {
		subject += "." + id.Namespace
	}
	if id.Name != "" {
		subject += "." + id.Name
	}
	return subject
}

// Event returns the subject of an event. A rejected command may have been for a server that can't be: what a subject can't
// hold is replaced, so that its sender is told all the same.
func (s Subjects) Event(kind scaler.EventType, id scaler.ID) string {
	return s.event + string(kind) + "." + speakable(id.Namespace) + "." + speakable(id.Name)
}

// Events returns the subject of all events of a server, of a namespace (an ID without a name), or of all (the zero ID).
func (s Subjects) Events(scope scaler.ID) string {
	switch {
	case scope == scaler.ID{}:
		return s.event + ">"
	case scope.Name == "":
		return s.event + "*." + scope.Namespace + ".>"
	}
	return s.event + "*." + scope.Namespace + "." + scope.Name
}

func speakable(tokens string) string {
	parts := strings.Split(tokens, ".")
	for i, part := range parts {
		if part == "" || strings.ContainsAny(part, "*> \t\r\n") {
			parts[i] = "_"
		}
	}
	return strings.Join(parts, ".")
}

// ParseCommand returns what the subject of a command says. On error it returns as much as could be read, to tell it.
func (s Subjects) ParseCommand(subject string) (scaler.Verb, scaler.ID, error) {
	rest, ok := strings.CutPrefix(subject, s.command)
	if !ok {
		return "", scaler.ID{}, fmt.Errorf("%w: subject %q does not begin with %q", scaler.ErrInvalid, subject, s.command)
	}
	verb, rest, _ := strings.Cut(rest, ".")
	id, err := parseID(rest)
	for _, v := range verbs {
		if string(v) == verb {
			return v, id, err
		}
	}
	return scaler.Verb(shorten(verb)), id, fmt.Errorf("%w: unknown verb %q: use %s", scaler.ErrInvalid, shorten(verb), oneOf(verbs))
}

// ParseActivity returns whom a ping is about. It is called for each ping, and allocates nothing unless it fails.
func (s Subjects) ParseActivity(subject string) (scaler.ID, error) {
	rest, ok := strings.CutPrefix(subject, s.activity)
	if !ok {
		return scaler.ID{}, fmt.Errorf("%w: subject %q does not begin with %q", scaler.ErrInvalid, subject, s.activity)
	}
	return parseID(rest)
}

// ParseLease returns whom a lease is about, and who holds it.
func (s Subjects) ParseLease(subject string) (holder string, id scaler.ID, err error) {
	rest, ok := strings.CutPrefix(subject, s.lease)
	if !ok {
		return "", scaler.ID{}, fmt.Errorf("%w: subject %q does not begin with %q", scaler.ErrInvalid, subject, s.lease)
	}
	holder, rest, _ = strings.Cut(rest, ".")
	if err := CheckHolder(holder); err != nil {
		return "", scaler.ID{}, err
	}
	id, err = parseID(rest)
	return holder, id, err
}

// ParsePause returns whom a pause is about, as Pause takes it.
func (s Subjects) ParsePause(subject string) (scaler.ID, error) {
	rest, ok := strings.CutPrefix(subject, s.pause)
	if !ok {
		return scaler.ID{}, fmt.Errorf("%w: subject %q does not begin with %q", scaler.ErrInvalid, subject, s.pause)
	}
	if rest == "all" {
		return scaler.ID{}, nil
	}
	switch kind, rest, _ := strings.Cut(rest, "."); kind {
	case "namespace":
		return scaler.ID{Namespace: rest}, checkNamespace(rest)
	case "server":
		return parseID(rest)
	}
	return scaler.ID{}, fmt.Errorf("%w: subject %q is about neither all, a namespace nor a server", scaler.ErrInvalid, shorten(subject))
}

// ParseEvent returns the type of an event and whom it is about.
func (s Subjects) ParseEvent(subject string) (scaler.EventType, scaler.ID, error) {
	rest, ok := strings.CutPrefix(subject, s.event)
	if !ok {
		return "", scaler.ID{}, fmt.Errorf("%w: subject %q does not begin with %q", scaler.ErrInvalid, subject, s.event)
	}
	kind, rest, _ := strings.Cut(rest, ".")
	id, err := parseID(rest)
	return scaler.EventType(kind), id, err
}

// split returns the verb of a request and what follows it, unparsed.
func (s Subjects) split(request string) (verb, rest string) {
	verb, rest, _ = strings.Cut(strings.TrimPrefix(request, s.api), ".")
	return verb, rest
}

// oneOf lists words for people: "a, b or c".
func oneOf[T ~string](words []T) string {
	var b strings.Builder
	for i, word := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(word))
	}
	return b.String()
}
