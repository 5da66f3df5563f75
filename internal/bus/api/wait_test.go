package api

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/command"
	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// placed returns a server that has replicas, with the place to wait from.
func placed(id scaler.ID) *scaler.Server {
	return &scaler.Server{ID: id, UID: "u", Version: "17", Replicas: 1}
}

var woken = scaler.Event{Type: scaler.Woken, To: 1}

// send sends a request whose answer comes later.
func send(w *natstest.Server, subject, payload string) <-chan *nats.Msg {
	w.T.Helper()
	nc := w.Connect()
	inbox, answers := nc.NewInbox(), make(chan *nats.Msg, 10)
	_, err := nc.ChanSubscribe(inbox, answers)
	natstest.Check(w.T, err)
	natstest.Check(w.T, nc.PublishRequest(subject, inbox, []byte(payload)))
	return answers
}

// A request waits at the replica that took it, not at the leader. It is answered as soon as the
// server is ready, also if the leader has changed. If a leader ends before it has applied the
// command, its successor applies it.
func TestWaitsOutliveLeaders(t *testing.T) {
	w := natstest.NewWithStreams(t)
	ready := make(chan struct{})
	api, _ := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}, ready: ready})
	first, stop := leader.Lead(w, w.Connect())
	start := send(w, "cortex.mcp.api.start.team-a.web", "")
	scale := send(w, "cortex.mcp.api.scale.team-a.web", `{"replicas":2,"wait":"1m"}`)
	written := send(w, "cortex.mcp.api.start.team-a.web", `{"wait":"0s"}`)
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
		complete := body.Event != nil && body.Command != nil
		if got.Header.Get(micro.ErrorCodeHeader) != "" || body.Server.ReadyReplicas != row.want || !complete {
			t.Errorf("%s: got %v %s", what, got.Header, got.Data)
		}
	}
	wait.Until(t, "the end of the waits", func() bool { return api.waits.Taken() == 0 })
}

// The answer to a request that waited in vain has the last published reason, and what the command
// did.
func TestWaitInVain(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	api, _ := serveReplica(w, nc, &replica{servers: []*scaler.Server{{ID: web}}, ready: make(chan struct{})})
	d, _ := leader.Lead(w, w.Connect())
	events, err := event.NewPublisher(nc, w.Subjects, "here", w.Ensure)
	natstest.Check(t, err)
	publish := func(id, text string) {
		t.Helper()
		e := scaler.Event{ID: id, Type: scaler.Progress, Server: web, At: time.Now(), Text: text}
		natstest.Check(t, events.Publish(context.Background(), e))
	}
	publish("u-5-pulls", "its image is pulled")
	publish("u-5-room", "no node has room")
	answers := send(w, "cortex.mcp.api.start.team-a.web", `{"wait":"100ms"}`)
	wait.For(t, "the command", d.Given).Finish(scaler.Outcome{Server: placed(web), Event: woken})
	got := wait.For(t, "the answer", answers)
	if !refused(got, "504", "no node has room") {
		t.Errorf("got %v", got.Header)
	}
	var body wire.Answer
	natstest.Check(t, json.Unmarshal(got.Data, &body))
	if body.Event == nil || body.Event.Type != "woken" || body.Server == nil || body.Command == nil {
		t.Errorf("got %s", got.Data)
	}
	server := &scaler.Server{ID: web, UID: "u", Generation: 5}
	for what, change := range map[string]func(){
		"a reason of an older order": func() { publish("u-4-room", "no node had room") },
		"a reason of a namesake":     func() { publish("v-5-room", "no node had room") },
		"a message that is no event of ours": func() {
			subject := w.Subjects.Event(wire.EventProgress, web)
			_, err := w.JetStream().Publish(context.Background(), subject, []byte(`{"id":"u-5-x"`))
			natstest.Check(t, err)
		},
	} {
		change()
		if text := api.progress(server); text != "" {
			t.Errorf("%s is the reason: %q", what, text)
		}
	}
	publish("u-5-last", "its last word")
	if text := api.progress(server); text != "its last word" {
		t.Errorf("got %q", text)
	}
	natstest.Check(t, w.JetStream().DeleteStream(context.Background(), stream.Events.Name(w.Subjects)))
	if text := api.progress(server); text != "" {
		t.Errorf("without a stream: got %q", text)
	}
}

// A replica that ends answers the requests that wait: the server goes on starting, or the command
// is stored, and where to ask.
func TestWaitsEndWithTheirReplica(t *testing.T) {
	w := natstest.NewWithStreams(t)
	_, stop := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}, ready: make(chan struct{})})
	d, _ := leader.Lead(w, w.Connect())
	starts := send(w, "cortex.mcp.api.start.team-a.web", `{"wait":"1h"}`)
	wait.For(t, "the command", d.Given).Finish(scaler.Outcome{Server: placed(web), Event: woken})
	wait.Until(t, "the end of it", func() bool { return unfinished(w) == 0 })
	unanswered := send(w, "cortex.mcp.api.stop.team-a.web", "")
	wait.For(t, "the command that is not applied", d.Given)
	stop()
	for what, row := range map[string]struct {
		answers <-chan *nats.Msg
		want    string
	}{"start": {starts, "goes on starting"}, "stop": {unanswered, "may be applied or rejected"}} {
		got := wait.For(t, "the answer to "+what, row.answers)
		if !refused(got, "503", row.want) {
			t.Errorf("%s: got %v", what, got.Header)
		}
	}
}

// While no leader answers, a request waits as long as its command may be applied, and a moment
// more. Then the mark on the Deployment says whether it was. Otherwise nobody knows.
func TestNoLeaderSaysAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := placed(web)
		server.Mark.Done.Stamp.Sequence, server.Mark.Last = 7, woken
		api := &API{config: Config{Servers: &replica{servers: []*scaler.Server{server}}}, ends: context.Background()}
		for _, wanted := range []time.Duration{0, 2 * time.Minute} {
			began := time.Now()
			_, err := api.outcome(&waiting{Command: scaler.Command{Server: web, Wait: wanted}, sequence: 8})
			took, want := time.Since(began), max(wanted, wire.AppliedWithin)+appliedMargin
			if !errors.Is(err, scaler.ErrUnsure) || took != want {
				t.Errorf("a wait of %s took %s: %v", wanted, took, err)
			}
		}
		got, err := api.outcome(&waiting{Command: scaler.Command{Server: web}, sequence: 7})
		if err != nil || got.Event == nil || got.Event.Type != string(woken.Type) || got.Command.Sequence != 7 {
			t.Errorf("its mark is on the Deployment: got %+v, %v", got, err)
		}
	})
}

// A replica that ends waits a moment longer for the leader, and passes its answer on.
func TestTheLeaderAnswersWhileTheReplicaEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, end := context.WithCancel(t.Context())
		end()
		api := &API{ends: ended}
		said := make(chan command.Result, 1)
		time.AfterFunc(endsWithin/2, func() { said <- command.Result{Version: "7"} })
		if got, err := api.applied(&waiting{result: said}); err != nil || got.Version != "7" {
			t.Errorf("got %+v, %v", got, err)
		}
		began := time.Now()
		_, err := api.applied(&waiting{result: said})
		if !errors.Is(err, scaler.ErrUnsure) || time.Since(began) != endsWithin {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// A wait beyond the limit is refused. Its command is stored all the same.
func TestTooManyWait(t *testing.T) {
	w := natstest.NewWithStreams(t)
	api, _ := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}})
	d, _ := leader.Lead(w, w.Connect())
	for api.waits.Take("team-a") { // as if so many waited
	}
	got := ask(t, w.Connect(), "cortex.mcp.api.start.team-a.web", "")
	if !refused(got, "503", "is stored") {
		t.Errorf("got %v", got.Header)
	}
	wait.For(t, "the command", d.Given)
}
