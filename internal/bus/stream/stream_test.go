package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

var web, files = natstest.Web, natstest.Files

// The streams are made once. Every later start and every other replica adopts them.
func TestEnsure(t *testing.T) {
	w := natstest.New(t)
	done := make(chan error)
	for range 3 {
		go func() { done <- w.Ensure(context.Background()) }()
	}
	for range 3 {
		natstest.Check(t, wait.For(t, "Ensure", done))
	}
	natstest.Check(t, w.Ensure(context.Background()))
	for _, kind := range stream.Kinds {
		want := w.Options().Config(kind)
		info := w.Info(want.Name)
		if info.Config.Metadata[stream.OwnerKey] != "here" {
			t.Errorf("%s belongs to %q", want.Name, info.Config.Metadata[stream.OwnerKey])
		}
		wantAsync := want.Name == "CORTEX_MCP_ACTIVITY" || want.Name == "CORTEX_MCP_LEASES"
		if async := info.Config.PersistMode == jetstream.AsyncPersistMode; async != wantAsync {
			t.Errorf("%s: asynchronous persistence is %v", want.Name, async)
		}
	}
}

// A stream without an owner is adopted, also if it keeps more than is needed.
func TestStreamsAreAdopted(t *testing.T) {
	w := natstest.New(t)
	config := w.Options().Config(stream.Activity)
	config.Metadata, config.MaxAge, config.MaxMsgs = nil, 0, -1
	_, err := w.JetStream().CreateStream(context.Background(), config)
	natstest.Check(t, err)
	natstest.Check(t, w.Ensure(context.Background()))
	if got := w.Info(config.Name).Config; got.Metadata[stream.OwnerKey] != "here" || got.MaxAge != 0 {
		t.Errorf("got %+v", got)
	}
}

// A stream that can't be used is refused. The error names the stream, the field, its value and the
// wanted one.
func TestStreamsThatAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(commands, activity *jetstream.StreamConfig)
		want   []string
	}{
		"of another owner": {
			func(c, _ *jetstream.StreamConfig) { c.Metadata = map[string]string{stream.OwnerKey: "there"} },
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
			w := natstest.New(t)
			commands, activity := w.Options().Config(stream.Commands), w.Options().Config(stream.Activity)
			row.change(&commands, &activity)
			js := w.JetStream()
			for _, c := range []jetstream.StreamConfig{commands, activity} {
				_, err := js.CreateStream(context.Background(), c)
				natstest.Check(t, err)
			}
			err := w.Ensure(context.Background())
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

// A setting that lets any publisher do more than publish is refused, also if a NATS server allows
// it for streams of events only.
func TestStreamsThatObeyPublishers(t *testing.T) {
	want := stream.Options{Owner: "here", Replicas: 1}.Config(stream.Events)
	natstest.Check(t, stream.Compatible(want, want))
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"allow_msg_ttl":       func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"allow_msg_schedules": func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true },
		"allow_msg_counter":   func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true },
	} {
		found := want
		change(&found)
		if err := stream.Compatible(found, want); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A foreign stream over the subjects of requests would answer them all with its acknowledgement.
// One over the subjects of a stream keeps that stream from being made. The errors name both.
func TestForeignStreams(t *testing.T) {
	for _, subject := range []string{"cortex.mcp.api.>", "cortex.mcp.api.status.*.*", "cortex.mcp.command.stop.>"} {
		t.Run(subject, func(t *testing.T) {
			w := natstest.New(t)
			js := w.JetStream()
			config := jetstream.StreamConfig{Name: "AUDIT", Subjects: []string{subject}}
			_, err := js.CreateStream(context.Background(), config)
			natstest.Check(t, err)
			if err := w.Ensure(context.Background()); err == nil || !strings.Contains(err.Error(), "AUDIT") {
				t.Errorf("%s: got %v", subject, err)
			}
			if strings.Contains(subject, ".api.") {
				config.NoAck = true
				_, err = js.UpdateStream(context.Background(), config)
				natstest.Check(t, err)
				natstest.Check(t, w.Ensure(context.Background())) // it acknowledges nothing
			}
		})
	}
}

// If the daemon can't look for foreign streams, it does not conclude that there are none.
func TestForeignStreamsThatCannotBeSeen(t *testing.T) {
	may := &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.NAMES"}}}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "daemon", Password: "secret", Permissions: may}},
	})
	natstest.Check(t, err)
	go s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(wait.Patience) {
		t.Fatal("no server")
	}
	user := natsconn.Options{URLs: []string{s.ClientURL()}, User: "daemon", Password: "secret"}
	nc, err := natsconn.Connect(user, natstest.Quiet)
	natstest.Check(t, err)
	defer nc.Close()
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = stream.Ensure(ctx, nc, stream.Options{subjects, "here", 1}, natstest.Quiet)
	if err == nil || !strings.Contains(err.Error(), "look for streams") {
		t.Errorf("got %v", err)
	}
}

// A server without JetStream is refused. The error says how to enable it.
func TestNoJetStream(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	natstest.Check(t, err)
	go s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(wait.Patience) {
		t.Fatal("no server")
	}
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{s.ClientURL()}}, natstest.Quiet)
	natstest.Check(t, err)
	defer nc.Close()
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	err = stream.Ensure(context.Background(), nc, stream.Options{subjects, "here", 1}, natstest.Quiet)
	if err == nil || !strings.Contains(err.Error(), "-js") {
		t.Errorf("got %v, want how to enable JetStream", err)
	}
}

// A full log refuses new subjects, and still takes messages of those that it has. So no server that
// is used looks idle.
func TestFullLogStillUpdates(t *testing.T) {
	w := natstest.New(t)
	config := w.Options().Config(stream.Activity)
	config.MaxMsgs = 3
	js := w.JetStream()
	_, err := js.CreateStream(context.Background(), config)
	natstest.Check(t, err)
	ping := func(i int) (*jetstream.PubAck, error) {
		id := wire.ID{Namespace: "team-a", Name: fmt.Sprint("s", i)}
		return js.Publish(context.Background(), w.Subjects.Activity(id), nil)
	}
	for i := range 3 {
		_, err := ping(i)
		natstest.Check(t, err)
	}
	if _, err := ping(3); err == nil {
		t.Error("a full log takes a new subject")
	}
	for i := range 3 {
		if stored, err := ping(i); err != nil || stored.Sequence != uint64(4+i) {
			t.Errorf("a full log refuses a subject that it has: %+v %v", stored, err)
		}
	}
	if state := w.Info(config.Name).State; state.Msgs != 3 || state.LastSeq != 6 {
		t.Errorf("got %+v", state)
	}
}

func TestOlder(t *testing.T) {
	for version, want := range map[string]bool{
		"2.9.25": true, "2.10.22": true, "2.10.23": false, "2.10.23-beta.1": false,
		"2.12.0": false, "3.0.0": false, "v2.11.1": false,
	} {
		if stream.Older(version, 2, 10, 23) != want {
			t.Errorf("%s: got %v", version, !want)
		}
	}
}

// The streams are named after the prefix.
func TestName(t *testing.T) {
	s, err := wire.NewSubjects("one.Two_3-x")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.Commands.Name(s); got != "ONE_TWO_3-X_COMMANDS" {
		t.Errorf("got %s", got)
	}
}
