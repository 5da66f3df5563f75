package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/leader"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// A wake of all starts the servers that the daemon has put to sleep by itself, and no others. It
// leaves and names those that sleep by an order.
func TestWake(t *testing.T) {
	now := time.Now()
	until := now.Add(time.Hour)
	server := func(name string, ours bool, because policy.Because, hold policy.Hold) *scaler.Server {
		return &scaler.Server{
			ID: scaler.ID{Namespace: "team-a", Name: name}, Ours: ours, Mark: scaler.Mark{Because: because, Hold: hold},
		}
	}
	awake := server("awake", true, "", policy.Hold{})
	awake.Replicas = 1
	idle := policy.BecauseIdle
	w := natstest.NewWithStreams(t)
	_, _ = serveReplica(w, w.Connect(), &replica{servers: []*scaler.Server{
		awake,
		server("after", false, policy.BecauseAfter, policy.Hold{}), // started, and waits for others
		server("held", true, policy.BecauseHold, policy.Hold{Asleep: true, Until: until}),
		server("held-awake", true, idle, policy.Hold{Until: until}), // about to be woken
		server("held-once", true, policy.BecauseHold, policy.Hold{Asleep: true, Until: now.Add(-time.Second)}),
		server("idle", true, idle, policy.Hold{}),
		server("others", false, policy.BecauseUnknown, policy.Hold{}),
		server("scheduled", true, policy.BecauseSchedule, policy.Hold{}),
		server("stopped", true, policy.BecauseCommand, policy.Hold{}),
		server("unmarked", true, policy.BecauseUnknown, policy.Hold{}),
		{ID: files, Ours: true, Mark: scaler.Mark{Because: idle}},
	}})
	d, _ := leader.Lead(w, w.Connect())
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	started := []string{
		"team-a/after", "team-a/held-awake", "team-a/held-once", "team-a/idle", "team-a/scheduled", "team-a/unmarked",
	}
	left := []string{
		"team-a/held: held asleep until " + until.UTC().Format(time.RFC3339), "team-a/stopped: stopped by a command",
	}
	for _, row := range []struct {
		namespace string
		by        wire.Sender
		want      []string
		reason    string
		left      []string
	}{
		{"team-a", wire.Sender{}, started, "wake --all", left},
		{"team-b", wire.Sender{ID: "7", Actor: "ann", Reason: "tea"}, []string{"team-b/files.v2"}, "tea", nil},
		{"", wire.Sender{Actor: "ann"}, append(slices.Clone(started), "team-b/files.v2"), "wake --all", left},
		{"team-c", wire.Sender{}, nil, "", nil},
	} {
		a, err := c.Wake(context.Background(), row.namespace, row.by)
		natstest.Check(t, err)
		if a.Started != len(row.want) || !slices.Equal(a.Servers, row.want) || !slices.Equal(a.Left, row.left) {
			t.Errorf("%q: got %+v, want %q and %q", row.namespace, a, row.want, row.left)
		}
		var got []string
		for range row.want {
			c := wait.For(t, "a command", d.Given)
			got = append(got, c.Server.String())
			by := wire.Sender{ID: c.ID, Actor: c.Actor, Reason: c.Reason}
			want := wire.Sender{ID: row.by.ID, Actor: row.by.Actor, Reason: row.reason}
			if c.Verb != scaler.Start || c.Wait != 0 || by != want || c.Err != nil {
				t.Errorf("%q: got %+v", row.namespace, c)
			}
			c.Finish(scaler.Outcome{})
		}
		if slices.Sort(got); !slices.Equal(got, row.want) {
			t.Errorf("%q: started are %q, want %q", row.namespace, got, row.want)
		}
	}
	wait.Until(t, "the end of all", func() bool { return unfinished(w) == 0 })
}

// One request starts any number of servers. The answer fits into one message.
func TestWakeOfMany(t *testing.T) {
	w := natstest.NewWithStreams(t)
	var servers []*scaler.Server
	for i := range 2500 {
		id := scaler.ID{Namespace: strings.Repeat("n", 63), Name: fmt.Sprintf("%s%04d", strings.Repeat("x", 253-4), i)}
		s := &scaler.Server{ID: id, Ours: true}
		if s.Mark.Because = policy.BecauseIdle; i%2 == 1 {
			s.Mark.Because = policy.BecauseCommand
		}
		servers = append(servers, s)
	}
	serve(w, w.Connect(), servers...)
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	a, err := c.Wake(context.Background(), "", wire.Sender{})
	natstest.Check(t, err)
	if a.Started != 1250 || len(a.Servers) != mostNamed || len(a.Left) != mostNamed || unfinished(w) != 1250 {
		t.Errorf("started %d, named %d, left %d; on the stream are %d", a.Started, len(a.Servers), len(a.Left), unfinished(w))
	}
	if got := fill([]string{"a", "b", "c"}, 0, 9, asIs); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

// If not all commands can be stored, the error says how many are, and to try again.
func TestWakeOfSome(t *testing.T) {
	w := natstest.NewWithStreams(t)
	var servers []*scaler.Server
	for i := range 5 {
		servers = append(servers, &scaler.Server{ID: scaler.ID{Namespace: "team-a", Name: fmt.Sprint("s", i)}, Ours: true})
	}
	serve(w, w.Connect(), servers...)
	js := w.JetStream()
	config := w.Info(stream.Commands.Name(w.Subjects)).Config
	config.MaxMsgs = 3
	_, err := js.UpdateStream(context.Background(), config)
	natstest.Check(t, err)
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	_, err = c.Wake(context.Background(), "", wire.Sender{})
	if codeOf(err) != 503 || !strings.Contains(err.Error(), "3 of 5 servers: try again") {
		t.Errorf("got %v", err)
	}
}

// A hold and its release are commands like the others.
func TestHoldIsACommand(t *testing.T) {
	w := natstest.NewWithStreams(t)
	serve(w, w.Connect(), &scaler.Server{ID: web})
	d, _ := leader.Lead(w, w.Connect())
	c, err := client.New(w.Connect(), w.Subjects)
	natstest.Check(t, err)
	by := wire.Sender{ID: "7", Actor: "ann", Reason: "tea"}
	ctx := context.Background()
	for _, row := range []struct {
		send func() (wire.Answer, error)
		want scaler.Command
	}{
		{
			func() (wire.Answer, error) { return c.Hold(ctx, web, false, "18:00", by) },
			scaler.Command{Verb: scaler.Hold, Until: "18:00"},
		},
		{
			func() (wire.Answer, error) { return c.Hold(ctx, web, true, "2h", by) },
			scaler.Command{Verb: scaler.Hold, Asleep: true, Until: "2h"},
		},
		{
			func() (wire.Answer, error) { return c.Release(ctx, web, by) },
			scaler.Command{Verb: scaler.Release},
		},
	} {
		done := make(chan error, 1)
		go func() {
			_, err := row.send()
			done <- err
		}()
		got := wait.For(t, "the command", d.Given)
		got.Stamp, got.Taken, got.Deadline = row.want.Stamp, row.want.Taken, row.want.Deadline
		row.want.Server, row.want.ID, row.want.Actor, row.want.Reason = web, by.ID, by.Actor, by.Reason
		if got.Command != row.want {
			t.Errorf("got %+v, want %+v", got.Command, row.want)
		}
		got.Finish(scaler.Outcome{Server: &scaler.Server{ID: web}})
		natstest.Check(t, wait.For(t, "the answer", done))
	}
	_, err = w.JetStream().Publish(ctx, w.Subjects.Command(wire.VerbHold, web), []byte(`{"asleep_until":"2h"}`))
	natstest.Check(t, err)
	if got := wait.For(t, "the one that was published", d.Given); !got.Asleep || got.Until != "2h" || got.Err != nil {
		t.Errorf("got %+v", got)
	}
}
