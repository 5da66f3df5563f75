package wire

import (
	"strings"
	"testing"
)

// A reply subject that is no inbox, or too long, gets no answer.
func TestInbox(t *testing.T) {
	long := "_INBOX." + strings.Repeat("a", MaxInbox-len("_INBOX."))
	for _, reply := range []string{"_INBOX.a", "_INBOX_team-a.b.c", long} {
		if got := Inbox(reply); got != reply {
			t.Errorf("%.40s: got %.40q", reply, got)
		}
	}
	for _, reply := range []string{
		"", "elsewhere", "_INBOX.", "_INBOX..a", "_INBOX.*", "_INBOX.>", "_INBOX.a b", "_INBOX.a\r\nPUB", long + "a",
	} {
		if got := Inbox(reply); got != "" {
			t.Errorf("%.40q: got %.40q", reply, got)
		}
	}
}
