package command

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"idle-scaler/internal/bus/stream"
)

// audience notices that a client who waits for answers is gone, which NATS tells nobody.
//
// The client libraries hear the answers to all their requests by one subscription, _INBOX.CLIENT.*,
// and pass over a token that belongs to no request of theirs. So a message with such a token shows
// whether the client is there: the server says at once when nobody has subscribed to it.
//
// A client with a subscription for each request looks gone from the first, and so is not taken for
// gone: it has to have been found before. Nor is one that is away for a moment, to reconnect.
type audience struct {
	nc    *nats.Conn
	every time.Duration
	came  chan struct{} // has something to receive while there is an inbox that was not looked for yet

	mu      sync.Mutex
	inboxes map[string]*inbox // by name
}

// inbox is the subscription of one client.
type inbox struct {
	name   string // what its subjects begin with
	waits  int    // for so many answers
	asked  bool   // it was looked for
	found  bool   // it was there
	missed int    // how often in a row it was not, since
	left   chan struct{}
}

const (
	probeToken = "idle-scaler-are-you-there" // that of no request: libraries make theirs of letters and digits
	leftAfter  = 3                           // probes in a row that find nobody
)

func newAudience(nc *nats.Conn, every time.Duration) *audience {
	return &audience{nc: nc, every: every, came: make(chan struct{}, 1), inboxes: make(map[string]*inbox)}
}

// enter says that somebody waits for an answer, until leave is called. Left is closed when he is
// gone.
func (a *audience) enter(reply string) (left <-chan struct{}, leave func()) {
	name := reply[:max(0, strings.LastIndexByte(reply, '.'))]
	if !strings.Contains(name, ".") { // an inbox for one answer
		return nil, func() {}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.inboxes[name]
	if in == nil {
		in = &inbox{name: name, left: make(chan struct{})}
		a.inboxes[name] = in
		select {
		case a.came <- struct{}{}:
		default:
		}
	}
	in.waits++
	return in.left, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if in.waits--; in.waits == 0 {
			a.forget(in)
		}
	}
}

func (a *audience) forget(in *inbox) {
	if a.inboxes[in.name] == in {
		delete(a.inboxes, in.name)
	}
}

// run looks for new inboxes at once, so that who leaves early was found before, and for all again
// and again, until ctx is done.
func (a *audience) run(ctx context.Context) {
	tick := time.NewTicker(a.every)
	defer tick.Stop()
	for {
		select {
		case <-a.came:
			a.look(ctx, func(in *inbox) bool { return !in.asked })
		case <-tick.C:
			a.look(ctx, func(*inbox) bool { return true })
		case <-ctx.Done():
			return
		}
	}
}

func (a *audience) look(ctx context.Context, at func(*inbox) bool) {
	var inboxes []*inbox
	a.mu.Lock()
	for _, in := range a.inboxes {
		if at(in) {
			in.asked = true
			inboxes = append(inboxes, in)
		}
	}
	a.mu.Unlock()
	absent, err := a.probe(ctx, inboxes)
	if err != nil { // nothing is known of them
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, in := range inboxes {
		switch {
		case !absent[i]:
			in.found, in.missed = true, 0
		case in.found:
			if in.missed++; in.missed == leftAfter {
				close(in.left)
				a.forget(in)
			}
		}
	}
}

// probe reports which inboxes nobody has.
func (a *audience) probe(ctx context.Context, inboxes []*inbox) (absent []bool, err error) {
	if len(inboxes) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	said := make(chan *nats.Msg, len(inboxes))
	to := a.nc.NewInbox()
	sub, err := a.nc.ChanSubscribe(to+".*", said)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection is closed
	asked := make(map[string]int, len(inboxes))
	for i, in := range inboxes {
		reply := to + "." + nuid.Next() // none can speak for another
		asked[reply] = i
		if err := a.nc.PublishRequest(in.name+"."+probeToken, reply, nil); err != nil {
			return nil, err
		}
	}
	if err := a.nc.FlushWithContext(ctx); err != nil {
		return nil, err
	}
	absent = make([]bool, len(inboxes))
	for len(said) > 0 { // all that the server has to say came before its answer to the flush
		m := <-said
		if i, ok := asked[m.Subject]; ok && m.Header.Get("Status") == "503" {
			absent[i] = true
		}
	}
	return absent, nil
}
