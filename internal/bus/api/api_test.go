package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var web, files = natstest.Web, natstest.Files

// replica is the domain of a daemon that knows some servers.
type replica struct {
	servers []*scaler.Server
	blocked chan struct{} // requests about the first server wait until this is closed
	ready   chan struct{} // servers get ready when this is closed; nil: they are
	ahead   time.Duration // of our clock: that of the log
}

func (r *replica) Await(
	ctx context.Context, at scaler.Applied, why func(*scaler.Server) string,
) (*scaler.Server, error) {
	if at.UID == "" || at.Version == "" || at.Wait == 0 {
		return nil, fmt.Errorf("got %+v, want a place to wait from", at)
	}
	server := &scaler.Server{ID: at.Server, UID: at.UID, Generation: 5, Replicas: 1}
	if server.ID.Name == "broken" {
		panic("a bug")
	}
	if at.All {
		server.Replicas = 2
	}
	if r.ready != nil {
		select {
		case <-ctx.Done():
			return server, fmt.Errorf("%w: %s", scaler.ErrNotInTime, why(server))
		case <-r.ready:
		}
	}
	server.Ready = server.Replicas
	return server, nil
}

func (r *replica) List(f scaler.Filter) (found []*scaler.Server, err error) {
	for _, s := range r.servers { // in order
		inScope := (f.Namespace == "" || f.Namespace == s.ID.Namespace) && s.ID.String() > f.After.String()
		if inScope && (f.Match == nil || f.Match(s.Labels)) {
			found = append(found, s)
		}
	}
	return found, nil
}

func (r *replica) Status(_ context.Context, id scaler.ID) (scaler.View, error) {
	if id.Name == "bug" {
		panic("a bug")
	}
	for i, s := range r.servers {
		if s.ID == id {
			if i == 0 && r.blocked != nil {
				<-r.blocked
			}
			return r.View(s), nil
		}
	}
	return scaler.View{}, fmt.Errorf("%w: there is no Deployment %s", scaler.ErrUnknown, id)
}

func (r *replica) View(s *scaler.Server) scaler.View {
	facts := policy.Facts{Replicas: s.Replicas, Ready: s.Ready, Ours: s.Ours, Because: s.Mark.Because, Hold: s.Mark.Hold}
	return scaler.View{At: time.Now(), Server: s, Status: policy.StatusRunning, Facts: facts}
}

func (r *replica) Now() time.Time { return time.Now().Add(r.ahead) }

// WouldBeAsleep says that each server with dry-run would be asleep for a day.
func (r *replica) WouldBeAsleep(servers []*scaler.Server) map[scaler.ID]time.Time {
	since := make(map[scaler.ID]time.Time)
	for _, s := range servers {
		if s.Settings.DryRun {
			since[s.ID] = time.Now().Add(-24 * time.Hour)
		}
	}
	return since
}

func (r *replica) Check(ctx context.Context, c scaler.Command) (*scaler.Server, error) {
	if c.Wait < 0 || c.Verb == scaler.Scale && c.Replicas == 13 {
		return nil, fmt.Errorf("%w: as the domain says", scaler.ErrInvalid)
	}
	if c.Wait > time.Hour || c.Replicas < 0 {
		return nil, fmt.Errorf("%w: as the domain says", scaler.ErrOutOfRange)
	}
	view, err := r.Status(ctx, c.Server)
	return view.Server, err
}

// serve begins to answer requests, as a replica that knows some servers.
func serve(w *natstest.Server, nc *nats.Conn, servers ...*scaler.Server) (stop func()) {
	w.T.Helper()
	_, stop = serveReplica(w, nc, &replica{servers: servers})
	return stop
}

func serveReplica(w *natstest.Server, nc *nats.Conn, r *replica) (api *API, stop func()) {
	w.T.Helper()
	api, err := New(nc, Config{
		Subjects: w.Subjects, Servers: r, Orders: r, Cluster: "here", Version: "1.2.3", AtOnce: 4, Logger: natstest.Quiet,
		Selector: func(text string) (func(map[string]string) bool, error) {
			key, value, ok := strings.Cut(text, "=")
			if !ok {
				return nil, errors.New("write key=value")
			}
			return func(labels map[string]string) bool { return labels[key] == value }, nil
		},
	})
	natstest.Check(w.T, err)
	stop = wait.Run(w.T, api.Run)
	wait.Until(w.T, "the API", api.Answers)
	return api, stop
}

// A replica that is ready answers: nobody who asks it gets "no responders".
func TestAnswersAsSoonAsItSaysSo(t *testing.T) {
	w := natstest.NewWithStreams(t)
	for range 20 {
		_, stop := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}})
		if m := ask(t, w.Connect(), "cortex.mcp.api.list", ""); m.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Fatalf("%v %s", m.Header, m.Data)
		}
		stop()
	}
}

// While a replica begins and ends, every request gets an answer, or "no responders" at once. None
// is swallowed.
func TestRequestsAtBothEnds(t *testing.T) {
	w := natstest.NewWithStreams(t)
	nc := w.Connect()
	for range 10 {
		ended, results := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				_, err := nc.Request("cortex.mcp.api.status.team-a.web", nil, 5*time.Second)
				if err != nil && !errors.Is(err, nats.ErrNoResponders) {
					results <- err
					return
				}
				select {
				case <-ended:
					results <- nil
					return
				default:
				}
			}
		}()
		serve(w, w.Connect(), &scaler.Server{ID: web})()
		close(ended)
		natstest.Check(t, wait.For(t, "the last answer", results))
	}
}

// A panic in a request is an error to its sender. It ends neither the daemon nor other requests.
func TestPanicInARequest(t *testing.T) {
	w := natstest.NewWithStreams(t)
	broken := scaler.ID{Namespace: "team-a", Name: "broken"}
	serve(w, w.Connect(), &scaler.Server{ID: web}, &scaler.Server{ID: broken})
	d, _ := leader.Lead(w, w.Connect())
	nc := w.Connect()
	waits := send(w, "cortex.mcp.api.start.team-a.broken", "")
	wait.For(t, "the command", d.Given).Finish(scaler.Outcome{Server: placed(broken), Event: woken})
	for _, got := range []*nats.Msg{
		ask(t, nc, "cortex.mcp.api.status.team-a.bug", ""), wait.For(t, "the answer to a wait", waits),
	} {
		if !refused(got, "500", "a bug in idle-scaler") {
			t.Errorf("got %v", got.Header)
		}
	}
	if got := ask(t, nc, "cortex.mcp.api.status.team-a.web", ""); got.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("got %v", got.Header)
	}
}

// Slow requests have places of their own: any number of them keeps no other request from its
// answer, and the emergency switch works.
func TestSlowRequestsKeepNobodyWaiting(t *testing.T) {
	w := natstest.NewWithStreams(t)
	api, _ := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}})
	for range readAtOnce { // so that nobody else can read events
		api.reading <- struct{}{}
	}
	nc := w.Connect()
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, 2*slowAtOnce)
	_, err := nc.ChanSubscribe(inbox, answers)
	natstest.Check(t, err)
	for range 2 * slowAtOnce {
		natstest.Check(t, nc.PublishRequest("cortex.mcp.api.history.team-a.web", inbox, nil))
	}
	if got := wait.For(t, "a refusal", answers); !refused(got, "503", "try again") {
		t.Errorf("got %v", got.Header)
	}
	if n := len(api.slots); n > 0 {
		t.Errorf("%d of them took places of others", n)
	}
	for range slowAtOnce { // as if so many were waking all
		api.wakes <- struct{}{}
	}
	for _, request := range []string{"status.team-a.web", "pause", "resume"} {
		if got := ask(t, nc, "cortex.mcp.api."+request, ""); got.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Errorf("%s: got %v", request, got.Header)
		}
	}
	for range slowAtOnce {
		<-api.wakes
	}
	if got := ask(t, nc, "cortex.mcp.api.wake", ""); got.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("wake: got %v", got.Header)
	}
	for range readAtOnce {
		<-api.reading
	}
}

// A pause takes seconds to be in force. There are places for thousands of them, so those of one
// sender keep nobody else from pausing. All are answered, in time, also when the service ends.
func TestPausesKeepNobodyFromPausing(t *testing.T) {
	w := natstest.NewWithStreams(t)
	api, stop := serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{{ID: web}}})
	nc := w.Connect()
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, 2*slowAtOnce)
	_, err := nc.ChanSubscribe(inbox, answers)
	natstest.Check(t, err)
	began := time.Now()
	const many = slowAtOnce + 10
	for i := range many {
		natstest.Check(t, nc.PublishRequest("cortex.mcp.api.pause.team-a", inbox, nil))
		wait.Until(t, fmt.Sprint(i+1, " pauses that wait"), func() bool {
			return len(api.pauses) == i+1 || time.Since(began) > wire.PauseTakes
		})
	}
	if waited := time.Since(began); waited > wire.PauseTakes {
		t.Skipf("this machine is too slow: %d pauses took %s", many, waited)
	}
	stop()
	if waited := time.Since(began); waited < wire.PauseTakes {
		t.Errorf("the last is answered after %s", waited)
	}
	for range many {
		if got := wait.For(t, "an answer", answers); got.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Errorf("got %v", got.Header)
		}
	}
}

// ask sends a request as "nats req" would.
func ask(t testing.TB, nc *nats.Conn, subject, payload string, header ...string) *nats.Msg {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(payload)
	for i := 0; i < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	answer, err := nc.RequestMsg(m, wait.Patience)
	if err != nil {
		t.Fatalf("%s %.60s: %v", subject, payload, err)
	}
	return answer
}

// Bad input is a clear error with its code, from any replica at once. Nothing else happens.
func TestRequestsThatMakeNoSense(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web})
	nc := w.Connect()
	for _, row := range []struct {
		request, payload, code, want string
	}{
		{"start.team-a.web", `{`, "400", "not valid JSON"},
		{"start.team-a.web", `{"waits":"1s"}`, "400", "unknown field"},
		{"start.team-a.web", `{"reason":"` + strings.Repeat("x", 65<<10) + `"}`, "400", "at most 65536"},
		{"start.team-a.web", "{\"reason\":\"\xff\"}", "400", "UTF-8"},
		{"start.team-a.web", `{"wait":"-1s"}`, "400", "domain"},
		{"start.team-a.web", `{"wait":"10h"}`, "422", "domain"},
		{"start.team-a.web", `{"wait":"1s"} x`, "400", "goes on"},
		{"scale.team-a.web", `{"replicas":-1}`, "422", "domain"},
		{"scale.team-a.web", `{"replicas":1.5}`, "400", "whole number"},
		{"scale.team-a.web", `{"replicas":"3"}`, "400", "whole number"},
		{"scale.team-a.web", ``, "400", "no replicas"},
		{"stop.team-a.web", `{"force":1}`, "400", "true or false"},
		{"hold.team-a.web", ``, "400", `{"asleep_until":"2h"}`},
		{"hold.team-a.web", `{"awake_until":"2h","asleep_until":"2h"}`, "400", "either"},
		{"hold.team-a.web", `{"until":"2h"}`, "400", "use only actor, asleep_until, awake_until, id, reason"},
		{"hold.team-a", `{"awake_until":"2h"}`, "400", "hold.NAMESPACE.NAME"},
		{"release.team-a.web", `{"awake_until":"2h"}`, "400", "unknown field"},
		{"pause.Team", ``, "400", "namespace"},
		{"pause.team-a.Web", ``, "400", "name"},
		{"pause.team-a.gone", ``, "404", "no Deployment"},
		{"resume.team-a.gone", ``, "404", "no Deployment"},
		{"pause", `{"id":"7"}`, "400", "use only actor, reason"},
		{"pause", `{"reason":"` + strings.Repeat("x", 1024+1) + `"}`, "400", "at most 1024"},
		{"resume", `{"paused":false}`, "400", "unknown field"},
		{"wake.team-a.web", ``, "400", "one namespace"},
		{"wake.Team", ``, "400", "namespace"},
		{"wake", `{"wait":"1s"}`, "400", "wake: "},
		{"start.team-a.webb", ``, "404", "no Deployment"},
		{"start.team-a.Web", ``, "400", "name"},
		{"start.team_a.web", ``, "400", "namespace"},
		{"start.team-a", ``, "400", "start.NAMESPACE.NAME"},
		{"start", ``, "400", "start.NAMESPACE.NAME"},
		{"status", ``, "400", "status.NAMESPACE.NAME"},
		{"status.team-a", ``, "400", "status.NAMESPACE.NAME"},
		{"status.team-a.gone", ``, "404", "no Deployment"},
		{"status.team-a.web", `{"x":1}`, "400", "unknown field"},
		{"boot.team-a.web", ``, "400", "use list, status, "},
		{"boot", ``, "400", "use list, status, "},
		{"list.team-a.web", ``, "400", "one namespace"},
		{"list.Team", ``, "400", "namespace"},
		{"list", `{"limit":0}`, "422", "at least 1"},
		{"list", `{"limit":"9"}`, "400", "whole number"},
		{"list", `{"selector":"x"}`, "400", "write key=value"},
		{"list", `{"after":"x"}`, "400", "the page before"},
		{"list", `[]`, "400", "not a JSON object"},
	} {
		answer := ask(t, nc, "cortex.mcp.api."+row.request, row.payload)
		text := answer.Header.Get(micro.ErrorHeader)
		if !refused(answer, row.code, row.want) {
			t.Errorf("%s %.60s: got %.200v, want %s with %q", row.request, row.payload, answer.Header, row.code, row.want)
		}
		var body wire.Answer
		if err := json.Unmarshal(answer.Data, &body); err != nil || body.Error == nil || body.Error.Text != text {
			t.Errorf("%s: the body is %.200s", row.request, answer.Data)
		}
	}
	if n, m := unfinished(w), w.Info(stream.Pauses.Name(w.Subjects)).State.LastSeq; n+m > 0 {
		t.Errorf("%d commands and %d pauses are on the streams", n, m)
	}
}

// One replica answers each request, and only once.
func TestRequestsAreAnsweredOnce(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web})
	serve(w, w.Connect(), &scaler.Server{ID: web})
	nc := w.Connect()
	for _, request := range []string{
		"list", "list.team-a", "status.team-a.web", "status.team-a.gone", "status", "boot.x", "list.a.b", "stop.team-a.X",
	} {
		answers := make(chan *nats.Msg, 10)
		inbox := nc.NewInbox()
		sub, err := nc.ChanSubscribe(inbox, answers)
		natstest.Check(t, err)
		natstest.Check(t, nc.PublishRequest("cortex.mcp.api."+request, inbox, nil))
		wait.For(t, "an answer to "+request, answers)
		// A second answer would come before the answers of both replicas to later requests of the
		// same kind.
		for range 8 {
			ask(t, nc, "cortex.mcp.api."+request, "")
		}
		if len(answers) > 0 {
			t.Errorf("%s is answered twice", request)
		}
		natstest.Check(t, sub.Unsubscribe())
	}
}

// A request that takes long keeps no other waiting. When too many do, the next one is refused. At
// the end all that have begun are answered.
func TestSlowRequests(t *testing.T) {
	w := natstest.NewWithStreams(t)
	blocked := make(chan struct{})
	two := &replica{servers: []*scaler.Server{{ID: web}, {ID: files}}, blocked: blocked}
	api, stop := serveReplica(w, w.Connect(), two)
	nc := w.Connect()
	answers := make(chan *nats.Msg, 10)
	inbox := nc.NewInbox()
	_, err := nc.ChanSubscribe(inbox, answers)
	natstest.Check(t, err)
	underWay := func(n int) {
		t.Helper()
		wait.Until(t, fmt.Sprint(n, " requests under way"), func() bool { return len(api.slots) == n })
	}
	for i := range 3 {
		underWay(i)
		natstest.Check(t, nc.PublishRequest("cortex.mcp.api.status.team-a.web", inbox, nil))
		underWay(i + 1)
		if got := ask(t, nc, "cortex.mcp.api.status.team-b.files.v2", ""); got.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Errorf("got %v", got.Header)
		}
	}
	underWay(3)
	natstest.Check(t, nc.PublishRequest("cortex.mcp.api.status.team-a.web", inbox, nil))
	underWay(4)
	got := ask(t, nc, "cortex.mcp.api.status.team-b.files.v2", "")
	if !refused(got, "503", "try again") {
		t.Errorf("got %v", got.Header)
	}
	go stop()
	wait.Until(t, "the end of the service", func() bool {
		_, err := nc.Request("$SRV.PING.idle-scaler", nil, time.Second)
		return errors.Is(err, nats.ErrNoResponders)
	})
	close(blocked)
	for range 4 {
		if got := wait.For(t, "the answer to a slow request", answers); got.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Errorf("got %v", got.Header)
		}
	}
}

// An order becomes a command with an inbox and a deadline, like any other command. Its answer is
// what the leader says.
func TestWriteIsACommand(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web}, &scaler.Server{ID: files})
	d, _ := leader.Lead(w, w.Connect())
	sender := newClient(w)
	type result struct {
		wire.Answer
		error
	}
	got := make(chan result, 1)
	go func() {
		a, err := sender.Start(context.Background(), files, 5*time.Second, wire.Sender{ID: "7", Actor: "ann", Reason: "tea"})
		got <- result{a, err}
	}()
	c := wait.For(t, "the command", d.Given)
	if c.Verb != scaler.Start || c.Server != files || c.ID != "7" || c.Actor != "ann" || c.Reason != "tea" {
		t.Errorf("got %+v", c.Command)
	}
	if left := time.Until(c.Deadline); left < 20*time.Second || left > wire.AppliedWithin {
		t.Errorf("it may be applied for %s, want %s", left, wire.AppliedWithin)
	}
	ends := scaler.Event{Type: scaler.Woken, To: 1, Text: "this ends a hold"}
	c.Finish(scaler.Outcome{Server: placed(files), Event: ends})
	r := wait.For(t, "the answer", got)
	want := wire.Transition{Type: "woken", To: 1, Text: "this ends a hold"}
	if r.error != nil || r.Server.Name != files.Name || *r.Event != want || r.Command.Sequence != c.Stamp.Sequence {
		t.Errorf("got %+v", r)
	}

	go func() {
		a, err := sender.Scale(context.Background(), web, 2, 90*time.Second, wire.Sender{})
		got <- result{a, err}
	}()
	c = wait.For(t, "the command", d.Given)
	if left := time.Until(c.Deadline); c.Replicas != 2 || left < 80*time.Second {
		t.Errorf("got %+v, to be applied for %s", c.Command, left)
	}
	failed := fmt.Errorf("%w: no image", scaler.ErrFailed)
	c.Finish(scaler.Outcome{Err: failed, Server: &scaler.Server{ID: web}, Event: scaler.Event{Type: scaler.Woken}})
	r = wait.For(t, "the answer", got)
	if codeOf(r.error) != 503 || !strings.Contains(r.error.Error(), "no image") || r.Server == nil {
		t.Errorf("got %+v", r)
	}

	go func() {
		a, err := sender.Stop(context.Background(), web, true, wire.Sender{})
		got <- result{a, err}
	}()
	c = wait.For(t, "the command", d.Given)
	if c.Verb != scaler.Stop || !c.Force {
		t.Errorf("got %+v", c.Command)
	}
	c.Finish(scaler.Outcome{Server: &scaler.Server{ID: web}})
	if r := wait.For(t, "the answer", got); r.error != nil {
		t.Errorf("got %v", r.error)
	}
	wait.Until(t, "the end of all", func() bool { return unfinished(w) == 0 })
}

// A request has a deadline, also if it names no wait. One without an inbox is a command that nobody
// waits for.
func TestDeadline(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web})
	d, _ := leader.Lead(w, w.Connect())
	nc := w.Connect()
	natstest.Check(t, nc.PublishRequest("cortex.mcp.api.start.team-a.web", nc.NewInbox(), nil))
	if c := wait.For(t, "the command", d.Given); c.Deadline.IsZero() {
		t.Errorf("got %+v", c.Command)
	}
	natstest.Check(t, nc.Publish("cortex.mcp.api.start.team-a.web", nil))
	if c := wait.For(t, "the command", d.Given); !c.Deadline.IsZero() {
		t.Errorf("got %+v", c.Command)
	}
}

// A request that is sent again with the same Nats-Msg-Id takes effect once, and gets an answer all
// the same. The same id for another server is another request.
func TestDuplicateRequest(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web}, &scaler.Server{ID: files})
	d, _ := leader.Lead(w, w.Connect())
	nc := w.Connect()
	stop := func(server string) {
		m := &nats.Msg{Subject: "cortex.mcp.api.stop." + server, Reply: nc.NewInbox(), Header: nats.Header{}}
		m.Header.Set(nats.MsgIdHdr, "1")
		natstest.Check(t, nc.PublishMsg(m))
	}
	stop("team-a.web")
	first := wait.For(t, "the command", d.Given)
	var body wire.Answer
	natstest.Check(t, json.Unmarshal(ask(t, nc, "cortex.mcp.api.stop.team-a.web", "", nats.MsgIdHdr, "1").Data, &body))
	again := wire.CommandRef{Sequence: first.Stamp.Sequence, Duplicate: true}
	if body.Command == nil || *body.Command != again || body.Server.Name != "web" {
		t.Errorf("got %+v", body)
	}
	stop("team-b.files.v2")
	if c := wait.For(t, "the other command", d.Given); c.Server != files {
		t.Errorf("got %+v", c.Command)
	}
}

// A command that can't be stored is an error to its sender, not silence.
func TestWriteWithoutStream(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web})
	natstest.Check(t, w.JetStream().DeleteStream(context.Background(), stream.Commands.Name(w.Subjects)))
	answer := ask(t, w.Connect(), "cortex.mcp.api.stop.team-a.web", "")
	if !refused(answer, "503", "nothing was done") {
		t.Errorf("got %v", answer.Header)
	}
}

// A list of any length comes in pages that fit into one message. Together they hold all servers, in
// order.
func TestListIsPaged(t *testing.T) {
	w := natstest.NewWithStreams(t)
	var servers []*scaler.Server
	for i := range 12_000 {
		servers = append(servers, &scaler.Server{
			ID:     scaler.ID{Namespace: fmt.Sprint("team-", i/6000), Name: fmt.Sprintf("server-%05d-%0100d", i, 0)},
			Labels: map[string]string{"app": fmt.Sprint(i % 2)},
		})
	}
	nc := w.Connect()
	serve(w, nc, servers...)
	answer := ask(t, nc, "cortex.mcp.api.list", "")
	var page wire.Page
	natstest.Check(t, json.Unmarshal(answer.Data, &page))
	if int64(len(answer.Data)) > nc.MaxPayload() || page.Next == "" || len(page.Servers) < 1000 {
		t.Errorf("the first page has %d bytes, %d servers, and then %q", len(answer.Data), len(page.Servers), page.Next)
	}
	for _, row := range []struct {
		namespace, selector string
		want                int
	}{{"", "", 12_000}, {"team-1", "", 6000}, {"team-1", "app=1", 3000}, {"team-7", "", 0}} {
		got, err := newClient(w).List(context.Background(), row.namespace, row.selector)
		natstest.Check(t, err)
		sorted := slices.IsSortedFunc(got, func(a, b wire.ServerSummary) int {
			return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
		})
		if len(got) != row.want || !sorted {
			t.Errorf("%q %q: got %d servers, sorted %v; want %d", row.namespace, row.selector, len(got), sorted, row.want)
		}
	}
	answer = ask(t, nc, "cortex.mcp.api.list.team-1", `{"limit":2,"after":"team-1/server-06001-0"}`)
	natstest.Check(t, json.Unmarshal(answer.Data, &page))
	two := page.Servers
	if len(two) != 2 || !strings.HasPrefix(two[0].Name, "server-06001-00") || page.Next != "team-1/"+two[1].Name {
		t.Errorf("got %+v", page)
	}
}

// The service is found by "nats micro ls", with what each endpoint takes.
func TestServiceIsDiscovered(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect())
	nc := w.Connect()
	ask(t, nc, "cortex.mcp.api.status.team-a.gone", "")
	var info micro.Info
	natstest.Check(t, json.Unmarshal(ask(t, nc, "$SRV.INFO.idle-scaler", "").Data, &info))
	if info.Version != "1.2.3" || info.Metadata["cluster"] != "here" || len(info.Endpoints) != len((&API{}).endpoints()) {
		t.Errorf("got %+v", info)
	}
	for _, e := range info.Endpoints {
		if e.Metadata["payload"] == "" {
			t.Errorf("%s does not say what it takes", e.Name)
		}
	}
	stats := ask(t, nc, "$SRV.STATS.idle-scaler", "").Data
	if !strings.Contains(string(stats), `"errors":1`) {
		t.Errorf("got %s", stats)
	}
}

// The end of the API answers all requests that have arrived. After it nobody answers. The client
// can distinguish that from an unreachable NATS.
func TestClientErrors(t *testing.T) {
	w := natstest.NewWithStreams(t)
	stop := serve(w, w.Connect(), &scaler.Server{ID: web})
	nc := w.Connect()
	sender, err := client.New(nc, w.Subjects)
	natstest.Check(t, err)
	ctx := context.Background()
	if s, err := sender.Status(ctx, web); err != nil || s.Name != "web" {
		t.Errorf("got %+v %v", s, err)
	}
	if _, err := sender.Status(ctx, files); codeOf(err) != 404 {
		t.Errorf("got %v", err)
	}
	if _, err := sender.Start(ctx, scaler.ID{Namespace: "a"}, 0, wire.Sender{}); !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := sender.Stop(short, web, false, wire.Sender{}); !errors.Is(err, client.ErrNoAnswer) { // there is no leader
		t.Errorf("got %v, want no answer", err)
	}
	stop()
	wait.Until(t, "that there is no daemon", func() bool {
		_, err := sender.Status(ctx, web)
		return errors.Is(err, client.ErrNoDaemon)
	})
	w.Shutdown()
	wait.Until(t, "the loss of the connection", func() bool { return !nc.IsConnected() })
	if _, err := sender.Status(ctx, web); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("got %v, want unreachable", err)
	}
}
