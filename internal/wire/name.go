package wire

import (
	"fmt"
	"strings"
)

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
	if text == "" {
		return ID{}, nil
	}
	if !strings.Contains(text, ".") {
		return ID{Namespace: text}, checkNamespace(text)
	}
	return ParseID(text)
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
	if !isSubdomain(id.Name) {
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
	bad := holder == "" || len(holder) > maxHolder
	for i := 0; i < len(holder) && !bad; i++ {
		c := holder[i]
		bad = c <= ' ' || c > '~' || c == '.' || c == '*' || c == '>'
	}
	if bad {
		return invalid(`lease holder %q: write visible ASCII without ".", "*" and ">", at most %d`,
			Shorten(holder), maxHolder)
	}
	return nil
}

func isSubdomain(text string) bool {
	if len(text) > maxName {
		return false
	}
	for {
		label, rest, more := strings.Cut(text, ".")
		if !isLabel(label) {
			return false
		}
		if !more {
			return true
		}
		text = rest
	}
}

// isLabel reports whether text is a DNS label, of any length.
func isLabel(text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		inside := i > 0 && i < len(text)-1
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' && inside) {
			return false
		}
	}
	return text != ""
}

// Shorten makes foreign text fit to be quoted in an error, which may end up in an annotation, an
// event and a header.
func Shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func outOfRange(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOutOfRange, fmt.Sprintf(format, args...))
}
