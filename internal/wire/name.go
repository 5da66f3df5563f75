package wire

import "strings"

const (
	maxNamespace = 63  // a DNS label
	maxName      = 253 // a DNS subdomain
	maxHolder    = 128 // the daemon keeps it in memory for as long as the lease lasts
)

// ParseID reads NS.NAME. On error it returns as much as could be read, shortened: it becomes the
// subject of an event, and NATS closes the connection of a client that sends too long a line.
func ParseID(text string) (ID, error) {
	namespace, name, _ := strings.Cut(text, ".")
	id := ID{Namespace: namespace, Name: name}
	if err := CheckID(id); err != nil {
		return ID{Namespace: Shorten(namespace), Name: Shorten(name)}, err
	}
	return id, nil
}

// ParseScope reads what follows the verb of a request: nothing, NS or NS.NAME.
func ParseScope(text string) (ID, error) {
	if strings.Contains(text, ".") {
		return ParseID(text)
	}
	scope := ID{Namespace: text}
	return scope, CheckScope(scope)
}

// CheckScope returns an error if a request can't be about it: about one server, those of a
// namespace (no name), or all (the zero ID).
func CheckScope(scope ID) error {
	switch {
	case scope == ID{}:
		return nil
	case scope.Name == "":
		return checkNamespace(scope.Namespace)
	}
	return CheckID(scope)
}

// CheckID returns an error if no server can have this namespace and name.
func CheckID(id ID) error {
	if err := checkNamespace(id.Namespace); err != nil {
		return err
	}
	if len(id.Name) > maxName || !isSubdomain(id.Name) {
		return invalid(`name %q: write that of a Deployment: lower case letters, digits, "-" and ".", at most %d`,
			Shorten(id.Name), maxName)
	}
	return nil
}

func checkNamespace(namespace string) error {
	if len(namespace) > maxNamespace || !isLabel(namespace) {
		return invalid(`namespace %q: write lower case letters, digits and "-", at most %d`,
			Shorten(namespace), maxNamespace)
	}
	return nil
}

// CheckHolder returns an error if no lease can have this holder.
func CheckHolder(holder string) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(".*>", r) }
	if holder == "" || len(holder) > maxHolder || strings.ContainsFunc(holder, bad) {
		return invalid(`lease holder %q: write visible ASCII without ".", "*" and ">", at most %d`,
			Shorten(holder), maxHolder)
	}
	return nil
}

func isSubdomain(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel reports whether text is a DNS label, of any length.
func isLabel(text string) bool {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	return text != "" && !strings.ContainsFunc(text, bad) && strings.Trim(text, "-") == text
}

// Shorten makes foreign text short enough for an error, which may end up in an annotation, an event
// and a header.
func Shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
