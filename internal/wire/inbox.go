package wire

import (
	"fmt"
	"strings"
)

// InboxPrefix begins the subject of every answer. The daemon answers nowhere else: whoever may send
// a request could make it publish on subjects on which the sender may not, and on an activity
// subject anything is a ping.
const InboxPrefix = "_INBOX"

// MaxInbox is the longest subject in bytes that the daemon answers to. Those of the client
// libraries have about 50. NATS closes the connection of a client that sends too long a line (4
// KiB, unless configured), and in a header anybody may write as much as he likes.
const MaxInbox = 256

// Inbox returns where to answer, or nothing if that is no inbox.
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
