package scaler

import (
	"fmt"
	"strings"
	"time"

	"idle-scaler/policy"
)

// notices are what the leader has told that is not a transition of a server. They are used by one goroutine, after each sweep.
type notices struct {
	blind      time.Time     // since when silence proves nothing; zero while it does
	unreadable map[ID]string // servers whose settings can't be read, by what is wrong
}

// tellSight tells the bus when silence begins to prove nothing, and when it proves something again: meanwhile no server sleeps,
// which whoever pays for the memory should know.
func (n *notices) tellSight(t *term) {
	now := t.s.now()
	sight := t.s.sight(now)
	if (sight.Blind != "") == !n.blind.IsZero() {
		return
	}
	e := Event{Type: Sighted, Server: t.s.config.Self, At: now, Text: "silence proves again that a server is unused"}
	if sight.Blind != "" {
		n.blind = now
		e.Type, e.Text = Blinded, "no server is put to sleep: "+sight.Blind
	} else {
		e.Took = now.Sub(n.blind)
		n.blind = time.Time{}
	}
	e.ID = fmt.Sprintf("%s-%s-%d", e.Server.Name, e.Type, now.UnixNano())
	t.run(e.Server, func() { t.tell(e) }) // NATS may be away: then it is told as soon as it is back
}

// tellUnreadable tells of servers whose settings can't be read, once for each mistake. What is wrong is as the sweep saw it: to look anew at each
// would be a look at its whole group.
func (n *notices) tellUnreadable(t *term, servers map[*Server]string) {
	now := make(map[ID]string, len(servers))
	for server, text := range servers {
		now[server.ID] = text
		if n.unreadable[server.ID] == text {
			continue
		}
		e := Event{
			ID: noticeID(server, Unreadable, text), Type: Unreadable, Server: server.ID, At: t.s.now(), From: server.Replicas, To: server.Replicas,
			Text: "left as it is: " + strings.ReplaceAll(text, "\n", "; "),
		}
		t.run(server.ID, func() { t.tell(e) })
	}
	n.unreadable = now
}

// unreadable says what is wrong with what is written on a server, in itself or beside what is written on others.
func unreadable(f *policy.Facts) string {
	if f.Bad != nil {
		return f.Bad.Error()
	}
	return f.Group.Bad
}
