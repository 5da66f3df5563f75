package wire

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"idle-scaler/activity"
)

// ID names one server: a Deployment.
type ID = activity.ID

// DefaultPrefix begins all subjects if nothing else is configured.
const DefaultPrefix = "cortex.mcp"

// Verb is what a command asks for.
type Verb string

// The verbs.
const (
	VerbStart   Verb = "start"
	VerbStop    Verb = "stop"
	VerbScale   Verb = "scale"
	VerbHold    Verb = "hold"
	VerbRelease Verb = "release"
)

// verbs are all of them, in the order in which people see them.
var verbs = []Verb{VerbStart, VerbStop, VerbScale, VerbHold, VerbRelease}

// Subjects builds and parses the subjects of one prefix. In each of them the verb or type comes
// first, then the namespace, then the name, which may contain dots. So NATS can authorize by
// namespace: "*.team-a.>".
type Subjects struct {
	prefix, command, activity, lease, pause, api, event string
}

// NewSubjects returns the subjects under a prefix.
func NewSubjects(prefix string) (Subjects, error) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || strings.Trim(token, letters) != "" {
			return Subjects{}, fmt.Errorf("subject prefix %q: use letters, digits, %q and %q, "+
				"in parts with dots between them, like %q", prefix, "_", "-", DefaultPrefix)
		}
	}
	if len(prefix) > 100 || strings.HasPrefix(prefix, InboxPrefix) {
		return Subjects{}, fmt.Errorf("subject prefix %q: use at most 100 letters, "+
			"and not those of the inboxes of NATS (%s)", prefix, InboxPrefix)
	}
	return Subjects{
		prefix: prefix, command: prefix + ".command.", activity: prefix + ".activity.",
		lease: prefix + ".lease.", pause: prefix + ".pause.", api: prefix + ".api.", event: prefix + ".event.",
	}, nil
}

// Prefix is the prefix of all subjects.
func (s Subjects) Prefix() string { return s.prefix }

// AllCommands is the wildcard of all commands.
func (s Subjects) AllCommands() string { return s.command + ">" }

// AllActivity is the wildcard of all pings.
func (s Subjects) AllActivity() string { return s.activity + ">" }

// AllLeases is the wildcard of all leases.
func (s Subjects) AllLeases() string { return s.lease + ">" }

// AllPauses is the wildcard of all orders to pause and to resume.
func (s Subjects) AllPauses() string { return s.pause + ">" }

// AllRequests is the wildcard of all requests.
func (s Subjects) AllRequests() string { return s.api + ">" }

// Command returns the subject of a command.
func (s Subjects) Command(verb Verb, id ID) string {
	return s.command + string(verb) + "." + id.Namespace + "." + id.Name
}

// CommandFor returns the subject of the command that a request asks for.
func (s Subjects) CommandFor(request string) string {
	return s.command + strings.TrimPrefix(request, s.api)
}

// Activity returns the subject of a ping.
func (s Subjects) Activity(id ID) string { return s.activity + id.Namespace + "." + id.Name }

// Lease returns the subject on which a holder begins, renews and ends its lease.
func (s Subjects) Lease(holder string, id ID) string {
	return s.lease + holder + "." + id.Namespace + "." + id.Name
}

// Pause returns the subject on which the daemon keeps whether a server, a namespace (an ID without
// a name), or all (the zero ID) are paused. The kind comes first, so that no name of a namespace or
// a server can be taken for another kind.
func (s Subjects) Pause(scope ID) string {
	switch {
	case scope == ID{}:
		return s.pause + "all"
	case scope.Name == "":
		return s.pause + "namespace." + scope.Namespace
	}
	return s.pause + "server." + scope.Namespace + "." + scope.Name
}

// Request returns the subject of a request about a server, a namespace (an ID without a name), or
// all (the zero ID).
func (s Subjects) Request(verb string, id ID) string {
	return s.api + strings.TrimRight(verb+"."+id.Namespace+"."+id.Name, ".")
}

// Event returns the subject of an event. A rejected command may name a server that can't exist. The
// parts that no subject can have are replaced, so that its sender gets the event all the same.
func (s Subjects) Event(kind string, id ID) string {
	return s.event + kind + "." + speakable(id.Namespace) + "." + speakable(id.Name)
}

// Events returns the subject of all events of a server, of a namespace (an ID without a name), or
// of all (the zero ID).
func (s Subjects) Events(scope ID) string {
	if scope == (ID{}) {
		return s.event + ">"
	}
	return s.event + "*." + scope.Namespace + "." + cmp.Or(scope.Name, ">")
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

// ParseCommand returns the verb and the server of a command. On error it returns as much as could
// be read, for the event that rejects it.
func (s Subjects) ParseCommand(subject string) (Verb, ID, error) {
	word, id, err := parseSubject(subject, s.command)
	verb := Verb(Shorten(word))
	if err == nil && !slices.Contains(verbs, verb) {
		err = invalid("unknown verb %q: use %s", verb, OneOf(verbs))
	}
	return verb, id, err
}

// ParseActivity returns the server of a ping. It is called for each ping, and allocates nothing
// unless it fails.
func (s Subjects) ParseActivity(subject string) (ID, error) {
	rest, err := cut(subject, s.activity)
	if err != nil {
		return ID{}, err
	}
	return ParseID(rest)
}

// ParseLease returns the server of a lease, and who holds it.
func (s Subjects) ParseLease(subject string) (holder string, id ID, err error) {
	holder, id, err = parseSubject(subject, s.lease)
	return holder, id, cmp.Or(err, CheckHolder(holder))
}

// ParsePause returns the scope of a pause, as Pause takes it.
func (s Subjects) ParsePause(subject string) (ID, error) {
	_, rest, _ := strings.Cut(strings.TrimPrefix(subject, s.pause), ".")
	scope, err := ParseScope(rest)
	if err == nil && s.Pause(scope) != subject {
		err = invalid("subject %q is about neither all, a namespace nor a server", Shorten(subject))
	}
	return scope, err
}

// ParseEvent returns the type of an event and its server.
func (s Subjects) ParseEvent(subject string) (kind string, id ID, err error) {
	return parseSubject(subject, s.event)
}

// SplitRequest returns the verb of a request and what follows it.
func (s Subjects) SplitRequest(subject string) (verb, rest string) {
	verb, rest, _ = strings.Cut(strings.TrimPrefix(subject, s.api), ".")
	return verb, rest
}

// ParseRequest returns the verb of a request, and what it is about: a server, a namespace (an ID
// without a name), or all (the zero ID).
func (s Subjects) ParseRequest(subject string) (verb string, scope ID, err error) {
	verb, rest := s.SplitRequest(subject)
	scope, err = ParseScope(rest)
	return verb, scope, err
}

// parseSubject reads a subject that begins with a verb, a holder or a type, before the server.
func parseSubject(subject, begin string) (first string, id ID, err error) {
	rest, err := cut(subject, begin)
	if err != nil {
		return "", ID{}, err
	}
	first, rest, _ = strings.Cut(rest, ".")
	id, err = ParseID(rest)
	return first, id, err
}

func cut(subject, begin string) (string, error) {
	rest, ok := strings.CutPrefix(subject, begin)
	if !ok {
		return "", invalid("subject %q does not begin with %q", Shorten(subject), begin)
	}
	return rest, nil
}

// OneOf lists two words or more for people: "a, b or c".
func OneOf[T ~string](words []T) string {
	list := strings.Fields(strings.Trim(fmt.Sprint(words), "[]"))
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}
