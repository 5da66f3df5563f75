package scaler

import (
	"fmt"
	"time"
)

// blindness is what the leader has told about the activity log: whether anything can be concluded from silence.
type blindness struct {
	since time.Time // zero: it can
	why   string
}

// tellSight tells the bus when silence begins to prove nothing, and when it proves something again: meanwhile no server sleeps,
// which whoever pays for the memory should know. It is called by one goroutine, after each sweep.
func (t *term) tellSight(b *blindness) {
	now := t.s.now()
	sight := t.s.tracker.Sight(now)
	if (sight.Blind != "") == (b.why != "") {
		return
	}
	e := Event{Type: Sighted, Server: t.s.config.Self, At: now, Text: "silence proves again that a server is unused"}
	if sight.Blind != "" {
		*b = blindness{now, sight.Blind}
		e.Type, e.Text = Blinded, "no server is put to sleep: "+sight.Blind
	} else {
		e.Took = now.Sub(b.since)
		*b = blindness{}
	}
	e.ID = fmt.Sprintf("%s-%s-%d", e.Server.Name, e.Type, now.UnixNano())
	t.run(e.Server, func() { t.tell(e) }) // NATS may be away: then it is told as soon as it is back
}
