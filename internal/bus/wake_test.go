package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// A wake of all starts what sleeps because the daemon has decided so, and nothing else: what somebody has ordered is left, and named.
func TestWake(t *testing.T) {
	now := time.Now()
	until := now.Add(time.Hour)
	server := func(name string, ours bool, because policy.Because, hold policy.Hold) *scaler.Server {
		return &scaler.Server{ID: scaler.ID{Namespace: "team-a", Name: name}, Ours: ours, Mark: scaler.Mark{Because: because, Hold: hold}}
	}
	awake := server("awake", true, "", policy.Hold{})
	awake.Replicas = 1
	idle := policy.BecauseIdle
	w := newWorldWithStreams(t)
	_, _ = serveReplica(w, w.connect(), &replica{servers: []*scaler.Server{
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
	d, _ := lead(w, w.connect())
	c, err := NewClient(w.connect(), w.subjects)
	check(t, err)
	started := []string{"team-a/after", "team-a/held-awake", "team-a/held-once", "team-a/idle", "team-a/scheduled", "team-a/unmarked"}
	left := []string{"team-a/held: held asleep until " + until.UTC().Format(time.RFC3339), "team-a/stopped: stopped by a command"}
	for _, row := range []struct {
		namespace string
		by        Sender
		want      []string
		reason    string
		left      []string
	}{
		{"team-a", Sender{}, started, "wake --all", left},
		{"team-b", Sender{ID: "7", Actor: "ann", Reason: "tea"}, []string{"team-b/files.v2"}, "tea", nil},
		{"", Sender{Actor: "ann"}, append(slices.Clone(started), "team-b/files.v2"), "wake --all", left},
		{"team-c", Sender{}, nil, "", nil},
	} {
		a, err := c.Wake(context.Background(), row.namespace, row.by)
		check(t, err)
		if a.Started != len(row.want) || !slices.Equal(a.Servers, row.want) || !slices.Equal(a.Left, row.left) {
			t.Errorf("%q: got %+v, want %q and %q", row.namespace, a, row.want, row.left)
		}
		var got []string
		for range row.want {
			c := receive(t, "a command", d.given)
			got = append(got, c.Server.String())
			if c.Verb != scaler.Start || c.Wait != 0 || c.ID != row.by.ID || c.Actor != row.by.Actor || c.Reason != row.reason || c.err != nil {
				t.Errorf("%q: got %+v", row.namespace, c)
			}
			c.finish(scaler.Outcome{})
		}
		if slices.Sort(got); !slices.Equal(got, row.want) {
			t.Errorf("%q: started are %q, want %q", row.namespace, got, row.want)
		}
	}
	eventually(t, "the end of all", func() bool { return w.left() == 0 })
}

// Any number of servers is started at once; the answer fits into one message.
func TestWakeOfMany(t *testing.T) {
	w := newWorldWithStreams(t)
	var servers []*scaler.Server
	for i := range 2500 {
		s := &scaler.Server{ID: scaler.ID{Namespace: strings.Repeat("n", maxNamespace), Name: fmt.Sprintf("%s%04d", strings.Repeat("x", maxName-4), i)}, Ours: true}
		if s.Mark.Because = policy.BecauseIdle; i%2 == 1 {
			s.Mark.Because = policy.BecauseCommand
		}
		servers = append(servers, s)
	}
	serve(w, w.connect(), servers...)
	c, err := NewClient(w.connect(), w.subjects)
	check(t, err)
	a, err := c.Wake(context.Background(), "", Sender{})
	check(t, err)
	if a.Started != 1250 || len(a.Servers) != mostNamed || len(a.Left) != mostNamed || w.left() != 1250 {
		t.Errorf("started %d, named %d, left %d; on the stream are %d", a.Started, len(a.Servers), len(a.Left), w.left())
	}
	if got := fit([]string{"a", "b", "c"}, 9); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

// When not all can be stored, that is an error which says how many are, and to try again.
func TestWakeOfSome(t *testing.T) {
	w := newWorldWithStreams(t)
	var servers []*scaler.Server
	for i := range 5 {
		servers = append(servers, &scaler.Server{ID: scaler.ID{Namespace: "team-a", Name: fmt.Sprint("s", i)}, Ours: true})
	}
	serve(w, w.connect(), servers...)
	js := w.jetStream()
	config := w.info(w.subjects.commandStream()).Config
	config.MaxMsgs = 3
	_, err := js.UpdateStream(context.Background(), config)
	check(t, err)
	c, err := NewClient(w.connect(), w.subjects)
	check(t, err)
	if _, err := c.Wake(context.Background(), "", Sender{}); codeOf(err) != 503 || !strings.Contains(err.Error(), "3 of 5 servers: try again") {
		t.Errorf("got %v", err)
	}
}

// A hold and its release are commands like the others.
func TestHoldIsACommand(t *testing.T) {
	w := newWorldWithStreams(t)
	serve(w, w.connect(), &scaler.Server{ID: web})
	d, _ := lead(w, w.connect())
	c, err := NewClient(w.connect(), w.subjects)
	check(t, err)
	by := Sender{ID: "7", Actor: "ann", Reason: "tea"}
	for _, row := range []struct {
		send func(context.Context) (Answer, error)
		want scaler.Command
	}{
		{func(ctx context.Context) (Answer, error) { return c.Hold(ctx, web, false, "18:00", by) }, scaler.Command{Verb: scaler.Hold, Until: "18:00"}},
		{func(ctx context.Context) (Answer, error) { return c.Hold(ctx, web, true, "2h", by) }, scaler.Command{Verb: scaler.Hold, Asleep: true, Until: "2h"}},
		{func(ctx context.Context) (Answer, error) { return c.Release(ctx, web, by) }, scaler.Command{Verb: scaler.Release}},
	} {
		done := make(chan error, 1)
		go func() {
			_, err := row.send(context.Background())
			done <- err
		}()
		got := receive(t, "the command", d.given)
		got.Stamp, got.Deadline = row.want.Stamp, row.want.Deadline
		row.want.Server, row.want.ID, row.want.Actor, row.want.Reason = web, by.ID, by.Actor, by.Reason
		if got.Command != row.want {
			t.Errorf("got %+v, want %+v", got.Command, row.want)
		}
		got.finish(scaler.Outcome{Server: &scaler.Server{ID: web}})
		check(t, receive(t, "the answer", done))
	}
	send(t, w.jetStream(), w.subjects.Command(scaler.Hold, web), `{"asleep_until":"2h"}`)
	if got := receive(t, "the one that was published", d.given); !got.Asleep || got.Until != "2h" || got.err != nil {
		t.Errorf("got %+v", got)
	}
}
