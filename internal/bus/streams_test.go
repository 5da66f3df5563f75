package bus

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/scaler"
)

// The streams are made once, and adopted by every later start and every other replica.
func TestEnsureStreams(t *testing.T) {
	w := newWorld(t)
	done := make(chan error)
	for range 3 {
		go func() { done <- w.ensure() }()
	}
	for range 3 {
		check(t, receive(t, "EnsureStreams", done))
	}
	check(t, w.ensure())
	for _, want := range w.options().all() {
		info := w.info(want.Name)
		if info.Config.Metadata[ownerKey] != "here" {
			t.Errorf("%s belongs to %q", want.Name, info.Config.Metadata[ownerKey])
		}
		if async := info.Config.PersistMode == jetstream.AsyncPersistMode; async != (want.Name == "CORTEX_MCP_ACTIVITY" || want.Name == "CORTEX_MCP_LEASES") {
			t.Errorf("%s: asynchronous persistence is %v", want.Name, async)
		}
	}
}

// A stream without an owner is adopted; one that keeps more than is needed too.
func TestStreamsAreAdopted(t *testing.T) {
	w := newWorld(t)
	config := w.options().activity()
	config.Metadata, config.MaxAge, config.MaxMsgs = nil, 0, -1
	_, err := w.jetStream().CreateStream(context.Background(), config)
	check(t, err)
	check(t, w.ensure())
	if got := w.info(config.Name).Config; got.Metadata[ownerKey] != "here" || got.MaxAge != 0 {
		t.Errorf("got %+v", got)
	}
}

// A stream that can't be used is refused: the error names the stream, the field, what it is and what it should be.
func TestStreamsThatAreRefused(t *testing.T) {
	options := func(w *world) (*jetstream.StreamConfig, *jetstream.StreamConfig) {
		commands, activity := w.options().commands(), w.options().activity()
		return &commands, &activity
	}
	for name, row := range map[string]struct {
		change func(commands, activity *jetstream.StreamConfig)
		want   []string
	}{
		"of another owner": {
			func(c, _ *jetstream.StreamConfig) { c.Metadata = map[string]string{ownerKey: "there"} },
			[]string{"CORTEX_MCP_COMMANDS", `"there"`, `"here"`},
		},
		"not a work queue": {
			func(c, _ *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy },
			[]string{"CORTEX_MCP_COMMANDS", "retention", "Limits", "WorkQueue"},
		},
		"in memory": {
			func(c, _ *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
			[]string{"CORTEX_MCP_COMMANDS", "storage", "Memory", "File"},
		},
		"on other subjects": {
			func(c, _ *jetstream.StreamConfig) { c.Subjects = []string{"cortex.mcp.command.start.>"} },
			[]string{"CORTEX_MCP_COMMANDS", "subjects", "cortex.mcp.command.>"},
		},
		"forgetting too early": {
			func(_, a *jetstream.StreamConfig) { a.MaxAge = time.Hour },
			[]string{"CORTEX_MCP_ACTIVITY", "max_age", "1h0m0s", "768h0m0s"},
		},
		"forgetting the oldest when full": {
			func(_, a *jetstream.StreamConfig) { a.Discard = jetstream.DiscardOld },
			[]string{"CORTEX_MCP_ACTIVITY", "discard", "DiscardOld", "DiscardNew"},
		},
		"keeping the first when full": {
			func(_, a *jetstream.StreamConfig) { a.DiscardNewPerSubject = true },
			[]string{"CORTEX_MCP_ACTIVITY", "discard_new_per_subject"},
		},
		"purged by any publisher": {
			func(_, a *jetstream.StreamConfig) { a.AllowRollup = true },
			[]string{"CORTEX_MCP_ACTIVITY", "allow_rollup_hdrs"},
		},
		"answering with nothing": {
			func(c, _ *jetstream.StreamConfig) { c.AllowAtomicPublish = true },
			[]string{"CORTEX_MCP_COMMANDS", "allow_atomic"},
		},
		"answering with nothing to a batch": {
			func(c, _ *jetstream.StreamConfig) { c.AllowBatchPublish = true },
			[]string{"CORTEX_MCP_COMMANDS", "allow_batched"},
		},
		"fed by another": {
			func(_, a *jetstream.StreamConfig) {
				a.Sources = []*jetstream.StreamSource{{Name: "ELSEWHERE"}}
			},
			[]string{"CORTEX_MCP_ACTIVITY", "origin"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			commands, activity := options(w)
			row.change(commands, activity)
			js := w.jetStream()
			for _, c := range []*jetstream.StreamConfig{commands, activity} {
				_, err := js.CreateStream(context.Background(), *c)
				check(t, err)
			}
			err := w.ensure()
			if err == nil {
				t.Fatal("it is adopted")
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// What lets any publisher do more than publish is refused, also where a NATS server takes it only for streams of events.
func TestStreamsThatObeyPublishers(t *testing.T) {
	want := StreamOptions{Owner: "here", Replicas: 1}.events()
	check(t, compatible(want, want))
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"allow_msg_ttl":       func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"allow_msg_schedules": func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true },
		"allow_msg_counter":   func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true },
	} {
		found := want
		change(&found)
		if err := compatible(found, want); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A foreign stream over the subjects of requests would answer them all with its own acknowledgement; one over those of a stream keeps
// it from being made. Both are named.
func TestForeignStreams(t *testing.T) {
	for _, subject := range []string{"cortex.mcp.api.>", "cortex.mcp.api.status.*.*", "cortex.mcp.command.stop.>"} {
		w := newWorld(t)
		js := w.jetStream()
		config := jetstream.StreamConfig{Name: "AUDIT", Subjects: []string{subject}}
		_, err := js.CreateStream(context.Background(), config)
		check(t, err)
		if err := w.ensure(); err == nil || !strings.Contains(err.Error(), "AUDIT") {
			t.Errorf("%s: got %v", subject, err)
		}
		if strings.Contains(subject, ".api.") {
			config.NoAck = true
			_, err = js.UpdateStream(context.Background(), config)
			check(t, err)
			check(t, w.ensure()) // it says nothing
		}
	}
}

// When it can't be known whether there are such streams, that is not taken for that there are none.
func TestForeignStreamsThatCannotBeSeen(t *testing.T) {
	may := &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.NAMES"}}}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "daemon", Password: "secret", Permissions: may}},
	})
	check(t, err)
	go s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(patiently) {
		t.Fatal("no server")
	}
	nc, err := Connect(Options{URLs: []string{s.ClientURL()}, User: "daemon", Password: "secret"}, quiet)
	check(t, err)
	defer nc.Close()
	subjects, err := NewSubjects(DefaultPrefix)
	check(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := EnsureStreams(ctx, nc, StreamOptions{subjects, "here", 1}, quiet); err == nil || !strings.Contains(err.Error(), "look for streams") {
		t.Errorf("got %v", err)
	}
}

// Leases are kept for a week longer than they may last. A stream that the daemon has made when it was only as long is changed, once, and as a
// log it is born then; one of others is not touched.
func TestLeasesAreKeptForLonger(t *testing.T) {
	w := newWorld(t)
	js := w.jetStream()
	ctx := context.Background()
	config := w.options().leases()
	config.MaxAge, config.Metadata = maxTTL, nil
	_, err := js.CreateStream(ctx, config)
	check(t, err)
	if err := w.ensure(); err == nil || !strings.Contains(err.Error(), "max_age is 24h0m0s, wanted is 192h0m0s") {
		t.Errorf("of nobody: got %v", err)
	}
	config.MaxMsgs, config.Metadata = maxSubjects, map[string]string{ownerKey: "here"}
	_, err = js.UpdateStream(ctx, config)
	check(t, err)
	_, err = js.Publish(ctx, w.subjects.Lease("gw", web), []byte(`{"ttl":"1h"}`))
	check(t, err)
	before := time.Now()
	check(t, w.ensure())
	ping(t, js, w.subjects, web)
	changed := w.info(config.Name)
	if c := changed.Config; c.MaxAge != leasesKept || c.MaxMsgs != maxLeases || c.Metadata[ownerKey] != "here" || changed.State.Msgs != 1 || completeSince(changed).Before(before) {
		t.Errorf("got %+v", changed)
	}
	l := listen(w, w.connect())
	l.sees(t)
	if born := l.tracker.Sight(time.Now()).Born; born.Before(before) || !l.tracker.Of(web).Leased(time.Now()) {
		t.Errorf("born %s, want after %s; used %+v", born, before, l.tracker.Of(web))
	}
	check(t, w.ensure())
	if again := w.info(config.Name); !completeSince(again).Equal(completeSince(changed)) {
		t.Errorf("it is changed again: %+v", again.Config)
	}
}

// A server without JetStream can't do: the error says how to enable it.
func TestNoJetStream(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	check(t, err)
	go s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(patiently) {
		t.Fatal("no server")
	}
	nc, err := Connect(Options{URLs: []string{s.ClientURL()}}, quiet)
	check(t, err)
	defer nc.Close()
	subjects, err := NewSubjects(DefaultPrefix)
	check(t, err)
	err = EnsureStreams(context.Background(), nc, StreamOptions{subjects, "here", 1}, quiet)
	if err == nil || !strings.Contains(err.Error(), "-js") {
		t.Errorf("got %v, want how to enable JetStream", err)
	}
}

// A log that is full refuses new subjects, and goes on for those it has: no server that was used looks idle.
func TestFullLogStillUpdates(t *testing.T) {
	w := newWorld(t)
	config := w.options().activity()
	config.MaxMsgs = 3
	js := w.jetStream()
	_, err := js.CreateStream(context.Background(), config)
	check(t, err)
	ping := func(i int) (*jetstream.PubAck, error) {
		id := scaler.ID{Namespace: "team-a", Name: fmt.Sprint("s", i)}
		return js.Publish(context.Background(), w.subjects.Activity(id), nil)
	}
	for i := range 3 {
		_, err := ping(i)
		check(t, err)
	}
	if _, err := ping(3); err == nil {
		t.Error("a full log takes a new subject")
	}
	for i := range 3 {
		if stored, err := ping(i); err != nil || stored.Sequence != uint64(4+i) {
			t.Errorf("a full log refuses a subject that it has: %+v %v", stored, err)
		}
	}
	if state := w.info(config.Name).State; state.Msgs != 3 || state.LastSeq != 6 {
		t.Errorf("got %+v", state)
	}
}

func TestOlder(t *testing.T) {
	for version, want := range map[string]bool{"2.9.25": true, "2.10.22": true, "2.10.23": false, "2.10.23-beta.1": false, "2.12.0": false, "3.0.0": false, "v2.11.1": false} {
		if older(version, 2, 10, 23) != want {
			t.Errorf("%s: got %v", version, !want)
		}
	}
}

// The embedded server keeps what it was given over a restart, and says why it can't start.
func TestEmbedded(t *testing.T) {
	w := newWorldWithStreams(t)
	_, err := w.jetStream().Publish(context.Background(), w.subjects.Activity(web), nil)
	check(t, err)
	w.server.Shutdown()
	w.begin()
	if state := w.info(w.subjects.activityStream()).State; state.Msgs != 1 {
		t.Errorf("got %+v", state)
	}
	if _, err := StartEmbedded("", 0, quiet); err == nil || !strings.Contains(err.Error(), "name one by --embedded-dir") {
		t.Errorf("without a directory: %v", err)
	}
	if _, err := StartEmbedded("/proc/nothing", 0, quiet); err == nil || !strings.Contains(err.Error(), "--embedded-dir") {
		t.Errorf("with a directory that can't be written: %v", err)
	}
	if _, err := StartEmbedded(t.TempDir(), w.port, quiet); err == nil || !strings.Contains(err.Error(), "--embedded-port") {
		t.Errorf("on a port that is taken: %v", err)
	}
}

// Close returns after everything is done: what was published has arrived, and handlers have returned.
func TestClose(t *testing.T) {
	w := newWorld(t)
	listener := w.connect()
	got := make(chan string, 1)
	_, err := listener.Subscribe("x", func(m *nats.Msg) { got <- string(m.Data) })
	check(t, err)
	check(t, listener.Flush())
	nc := w.connect()
	check(t, nc.Publish("x", []byte("last words")))
	check(t, Close(context.Background(), nc))
	if !nc.IsClosed() {
		t.Error("it is not closed")
	}
	check(t, Close(context.Background(), nc))
	receive(t, "what was published", got)
	w.server.Shutdown()
	eventually(t, "the loss of the connection", func() bool { return !listener.IsConnected() })
	check(t, Close(context.Background(), listener))
	if !listener.IsClosed() {
		t.Error("it is not closed")
	}
}

// What can't be right is refused, and no password is shown.
func TestConnectErrors(t *testing.T) {
	for name, o := range map[string]Options{
		"no url":       {},
		"unreadable":   {URLs: []string{"nats://ann:secret@%zz"}},
		"nobody there": {URLs: []string{"nats://ann:secret@127.0.0.1:1"}},
		"half a pair":  {URLs: []string{"nats://127.0.0.1:1"}, CertFile: "x"},
		"no seed":      {URLs: []string{"nats://127.0.0.1:1"}, NKeyFile: "/nowhere"},
		"inbox":        {URLs: []string{"nats://127.0.0.1:1"}, InboxPrefix: "mine"},
	} {
		_, err := Connect(o, quiet)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
