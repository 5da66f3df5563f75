package bus

import (
	"fmt"
	"strings"

	"idle-scaler/scaler"
)

const (
	maxNamespace = 63  // a DNS label
	maxName      = 253 // a DNS subdomain
	maxHolder    = 128 // it is kept in memory for as long as its lease is
)

// parseID reads NS.NAME. On error it returns as much as could be read, shortened: it becomes the subject of the event that tells of it, and NATS
// closes the connection of whoever sends it a longer line than it takes.
func parseID(text string) (scaler.ID, error) {
	namespace, name, _ := strings.Cut(text, ".")
	id := scaler.ID{Namespace: namespace, Name: name}
	if err := CheckID(id); err != nil {
		return scaler.ID{Namespace: shorten(namespace), Name: shorten(name)}, err
	}
	return id, nil
}

// CheckID says whether a server can have this namespace and name.
func CheckID(id scaler.ID) error {
	if err := checkNamespace(id.Namespace); err != nil {
		return err
	}
	if !isSubdomain(id.Name) {
		return fmt.Errorf(`%w: name %q: write that of a Deployment: lower case letters, digits, "-" and ".", at most %d`,
			scaler.ErrInvalid, shorten(id.Name), maxName)
	}
	return nil
}

func checkNamespace(namespace string) error {
	if len(namespace) > maxNamespace || !isLabel(namespace) {
		return fmt.Errorf(`%w: namespace %q: write lower case letters, digits and "-", at most %d`,
			scaler.ErrInvalid, shorten(namespace), maxNamespace)
	}
	return nil
}

// CheckHolder says whether a lease can have this holder.
func CheckHolder(holder string) error {
	bad := holder == "" || len(holder) > maxHolder
	for i := 0; i < len(holder) && !bad; i++ {
		c := holder[i]
		bad = c <= ' ' || c > '~' || c == '.' || c == '*' || c == '>'
	}
	if bad {
		return fmt.Errorf(`%w: lease holder %q: write visible ASCII without ".", "*" and ">", at most %d`,
			scaler.ErrInvalid, shorten(holder), maxHolder)
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

// shorten makes foreign text fit to be quoted in an error, which ends up in an annotation, an event and a header.
func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
