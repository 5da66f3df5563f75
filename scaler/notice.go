package scaler

import (
	"fmt"
	"strings"
	"time"
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

// tellUnreadable tells of servers whose settings can't be read, once for each mistake.
func (n *notices) tellUnreadable(t *term, servers []*Server) {
	now := make(map[ID]string, len(servers))
	for _, server := range servers {
		text := t.s.unreadable(server)
		if text == "" {
			continue // its group was put in order meanwhile
		}
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
func (s *Scaler) unreadable(server *Server) string {
	if server.Bad != nil {
		return server.Bad.Error()
	}
	return s.facts(server, s.now()).Group.Bad
}
