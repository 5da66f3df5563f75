package wire

import (
	"fmt"
	"strings"
)

// InboxPrefix begins the subject of every answer. The daemon answers nowhere else. Otherwise a
// sender could make it publish where the sender may not, and on an activity subject anything is a
// ping.
const InboxPrefix = "_INBOX"

// MaxInbox is the longest subject in bytes that the daemon answers to. Those of the client
// libraries have about 50. NATS closes the connection of a client that sends too long a line (4
// KiB, unless configured), and a header can name an inbox of any length.
const MaxInbox = 256

// Inbox returns the inbox of a reply subject, or nothing if that is none.
func Inbox(reply string) string {
	if len(reply) > MaxInbox || !strings.HasPrefix(reply, InboxPrefix) || strings.ContainsAny(reply, "*> \t\r\n") ||
		strings.Contains(reply, "..") || strings.HasSuffix(reply, ".") {
		return ""
	}
	return reply
}

// CheckInboxPrefix returns an error if the daemon does not answer in inboxes with this prefix. An
// empty one stands for that of NATS itself.
func CheckInboxPrefix(prefix string) error {
	if prefix != "" && !strings.HasPrefix(prefix, InboxPrefix) {
		return fmt.Errorf("begin it with %s: the daemon answers nowhere else", InboxPrefix)
	}
	return nil
}
