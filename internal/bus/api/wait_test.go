package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// placed is a server that has replicas, with the place to wait from.
func placed(id scaler.ID) *scaler.Server {
	return &scaler.Server{ID: id, UID: "u", Generation: 5, Version: "17", Replicas: 1}
}

var woken = scaler.Event{Type: scaler.Woken, To: 1}

// request sends a request whose answer comes later.
func request(w *natstest.Server, subject, payload string) <-chan *nats.Msg {
	w.T.Helper()
	nc := w.Connect()
	inbox, answers := nc.NewInbox(), make(chan *nats.Msg, 10)
	_, err := nc.ChanSubscribe(inbox, answers)
	natstest.Check(w.T, err)
	natstest.Check(w.T, nc.PublishRequest(subject, inbox, []byte(payload)))
	return answers
}

// A request waits where it was taken, not at the leader: it is answered as soon as the server is
// ready, whoever leads by then. A leader that is gone before it has applied the command has a
// successor that does.
func TestWaitsOutliveLeaders(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ready := make(chan struct{})
	api, _ := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}, ready: ready})
	first, stop := leader.Lead(w, w.Connect())
	start := request(w, "cortex.mcp.api.start.team-a.web", "")
	scale := request(w, "cortex.mcp.api.scale.team-a.web", `{"replicas":2,"wait":"1m"}`)
	written := request(w, "cortex.mcp.api.start.team-a.web", `{"wait":"0s"}`)
	for range 3 {
		wait.For(t, "a command that is not applied", first.Given)
	}
	stop()
	second, stop := leader.Lead(w, w.Connect())
	for range 3 {
		wait.For(t, "a command of the former leader", second.Given).Finish(scaler.Outcome{Server: placed(web), Event: woken})
	}
	if got := wait.For(t, "the answer when it is written", written); got.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("got %v", got.Header)
	}
	wait.Until(t, "the end of all commands", func() bool { return unfinished(w) == 0 })
	stop()
	if len(start)+len(scale) > 0 {
		t.Fatal("a request is answered before the server is ready")
	}
	close(ready)
	for what, row := range map[string]struct {
		answers <-chan *nats.Msg
		want    int
	}{"start": {start, 1}, "scale": {scale, 2}} {
		got := wait.For(t, "the answer to "+what, row.answers)
		var body wire.Answer
		natstest.Check(t, json.Unmarshal(got.Data, &body))
		if got.Header.Get(micro.ErrorCodeHeader) != "" || body.Server.ReadyReplicas != row.want || body.Event == nil || body.Command == nil {
			t.Errorf("%s: got %v %s", what, got.Header, got.Data)
		}
	}
	wait.Until(t, "the end of the waits", func() bool {
		api.waits.mu.Lock()
		defer api.waits.mu.Unlock()
		return api.waits.all == 0 && len(api.waits.inEach) == 0
	})
}

// Who has waited in vain is told why, as it was published last, and what was done.
func TestWaitInVain(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	api, _ := serveReplica(w, nc, &replica{servers: []*scaler.Server{{ID: web}}, ready: make(chan struct{})})
	d, _ := leader.Lead(w, w.Connect())
	events, err := event.NewPublisher(nc, w.Subjects, "here", w.Ensure)
	natstest.Check(t, err)
	for _, text := range []string{"its image is pulled", "no node has room"} {
		natstest.Check(t, events.Publish(context.Background(), scaler.Event{ID: text, Type: scaler.Progress, Server: web, At: time.Now(), Text: text}))
	}
	answers := request(w, "cortex.mcp.api.start.team-a.web", `{"wait":"100ms"}`)
	wait.For(t, "the command", d.Given).Finish(scaler.Outcome{Server: placed(web), Event: woken})
	got := wait.For(t, "the answer", answers)
	if text := got.Header.Get(micro.ErrorHeader); got.Header.Get(micro.ErrorCodeHeader) != "504" || !strings.Contains(text, "no node has room") {
		t.Errorf("got %v", got.Header)
	}
	var body wire.Answer
	natstest.Check(t, json.Unmarshal(got.Data, &body))
	if body.Event == nil || body.Event.Type != "woken" || body.Server == nil || body.Command == nil {
		t.Errorf("got %s", got.Data)
	}
	if text := api.progress(web, time.Now()); text != "" {
		t.Errorf("%q was published before the start, and is told as its reason", text)
	}
}

// A replica that ends answers those who wait: what the leader says meanwhile, or that the command
// is in force and where to ask.
func TestWaitsEndWithTheirReplica(t *testing.T) {
	w := natstest.NewWithStreams(t)
	_, stop := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}, ready: make(chan struct{})})
	d, _ := leader.Lead(w, w.Connect())
	starts := request(w, "cortex.mcp.api.start.team-a.web", `{"wait":"1h"}`)
	wait.For(t, "the command", d.Given).Finish(scaler.Outcome{Server: placed(web), Event: woken})
	wait.Until(t, "the end of it", func() bool { return unfinished(w) == 0 })
	unheard := request(w, "cortex.mcp.api.stop.team-a.web", "")
	wait.For(t, "the command that is not applied", d.Given)
	stop()
	for what, row := range map[string]struct {
		answers <-chan *nats.Msg
		want    string
	}{"start": {starts, "goes on starting"}, "stop": {unheard, "is in force"}} {
		got := wait.For(t, "the answer to "+what, row.answers)
		if got.Header.Get(micro.ErrorCodeHeader) != "503" || !strings.Contains(got.Header.Get(micro.ErrorHeader), row.want) {
			t.Errorf("%s: got %v", what, got.Header)
		}
	}
}

// While no leader says anything, a request waits as long as its command may be applied, and a
// moment more: then nobody knows what became of it.
func TestNoLeaderSaysAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &API{ends: context.Background()}
		for _, wanted := range []time.Duration{0, 2 * time.Minute} {
			began := time.Now()
			_, err := api.outcome(&waiting{Command: scaler.Command{Wait: wanted}})
			if took := time.Since(began); !errors.Is(err, scaler.ErrUnsure) || took != max(wanted, command.AppliedWithin)+appliedMargin {
				t.Errorf("a wait of %s took %s: %v", wanted, took, err)
			}
		}
	})
}

// Whoever waits keeps nobody else from waiting: a namespace has at most half of the places that
// others leave it, and all together have no more than there are.
func TestWaitsAreBounded(t *testing.T) {
	var w waits
	take := func(namespace string) (taken int) {
		for w.begin(namespace) {
			taken++
		}
		return taken
	}
	if n := take("greedy"); n != maxWaits/2 {
		t.Errorf("one namespace has %d places, want half of %d", n, maxWaits)
	}
	if n := take("other"); n != maxWaits/4 {
		t.Errorf("the next has %d, want half of the rest", n)
	}
	for i := range 20 {
		take(string(rune('a' + i)))
	}
	if w.all > maxWaits {
		t.Errorf("%d wait, want at most %d", w.all, maxWaits)
	}
	for range maxWaits / 2 {
		w.end("greedy")
	}
	if _, there := w.inEach["greedy"]; there {
		t.Error("a namespace without waits is kept")
	}
	if !w.begin("late") {
		t.Error("nobody gets a place that has become free")
	}
}

// Too many waits are refused, not the commands: these are in force.
func TestTooManyWait(t *testing.T) {
	w := natstest.NewWithStreams(t)
	api, _ := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}})
	d, _ := leader.Lead(w, w.Connect())
	for api.waits.begin("team-a") { // as if so many waited
	}
	got := ask(t, w.Connect(), "cortex.mcp.api.start.team-a.web", "")
	if got.Header.Get(micro.ErrorCodeHeader) != "503" || !strings.Contains(got.Header.Get(micro.ErrorHeader), "is in force") {
		t.Errorf("got %v", got.Header)
	}
	wait.For(t, "the command", d.Given)
}
