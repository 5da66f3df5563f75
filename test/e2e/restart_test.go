package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// alone are flags of a daemon that is killed and started again: it does not wait for the lease of the one before it.
var alone = slices.Clip(slices.Concat(idle, []string{"--leader-elect=false"}))

// All that a daemon knows is in the cluster and in the streams: the next one says the same of every server, whatever the state
// that it is in.
func TestARestartForgetsNothing(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"asleep", "stopped", "scaled", "used", "woken"} {
		b.deploy(name, replicas(2))
	}
	for _, name := range []string{"scaled", "used", "woken"} {
		b.patch(name, "kubectl-annotate", `{"metadata":{"annotations":{"idle-scaler/paused":"true"}}}`)
	}
	events := b.events()
	b.run(alone...)
	b.ping("asleep")
	b.ping("used")
	b.lease("used", time.Hour)
	b.order("stop", "stopped", `{"id":"c1","actor":"ann","reason":"too loud"}`)
	b.order("scale", "scaled", `{"id":"c2","replicas":3}`)
	b.order("stop", "woken", ``)
	b.order("start", "woken", `{"id":"c3"}`)
	events.next(scaler.Slept, "asleep")
	events.next(scaler.Slept, "stopped")
	events.next(scaler.Scaled, "scaled")
	events.next(scaler.Ready, "woken")
	for name, want := range map[string]int32{"asleep": 0, "stopped": 0, "scaled": 3, "used": 2, "woken": 2} {
		b.awaitReplicas(name, want)
	}
	known := func() map[string]string {
		said := make(map[string]string)
		for _, name := range []string{"asleep", "stopped", "scaled", "used", "woken"} {
			s, err := b.status(name)
			if err != nil {
				t.Fatal(err)
			}
			s.IdleFor, s.IdleSeconds, s.Decision.Text = "", 0, "" // these tell the time
			text, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			said[name] = string(text)
		}
		return said
	}
	var before map[string]string
	var changed time.Time
	eventually(t, "the status of all is at rest", func() error {
		if said := known(); !maps.Equal(before, said) {
			before, changed = said, time.Now()
		}
		if rest := time.Since(changed); rest < time.Second {
			return fmt.Errorf("changed %s ago to %s", rest, before)
		}
		return nil
	})
	for _, end := range []func(){b.kill, b.stop} {
		end()
		b.run(alone...)
		eventually(t, "the next says the same", func() error {
			after := known()
			for name := range before {
				if before[name] != after[name] {
					return fmt.Errorf("of %s it said\n%s\nbefore, and\n%s\nafter", name, before[name], after[name])
				}
			}
			return nil
		})
	}
	if !strings.Contains(before["used"], `"last_activity":"20`) || !strings.Contains(before["stopped"], `"command_id":"c1"`) {
		t.Errorf("nothing was known: %s", before)
	}
}

// Demand that came while no daemon ran wakes once one does: it is looked at as a level, not an edge.
func TestDemandWhileTheDaemonWasDownWakes(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"pinged", "leased", "unused"} {
		b.deploy(name)
	}
	events := b.events()
	b.run(alone...)
	b.ping("pinged")
	for _, name := range []string{"pinged", "leased", "unused"} {
		b.awaitReplicas(name, 0)
	}
	b.kill()
	b.ping("pinged")
	b.lease("leased", time.Hour)
	b.run(alone...)
	for name, cause := range map[string]policy.Cause{"pinged": policy.CauseActivity, "leased": policy.CauseLease} {
		if e := events.next(scaler.Woken, name); e.Cause != cause {
			t.Errorf("%s was woken by %s", name, e.Cause)
		}
	}
	if err := b.staysAt("unused", 0)(); err != nil {
		t.Error(err)
	}
}

// Wake wins: a ping that crosses the patch of a sleep, before or after it, ends awake. Also when the daemon dies at that moment and
// only its successor can know.
func TestAPingThatCrossesASleepEndsAwake(t *testing.T) {
	for _, crosses := range []string{"before", "after"} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s the patch, killed %v", crosses, killed), func(t *testing.T) {
				b := newBench(t)
				r := newRelay(t)
				b.deploy("alpha", replicas(2))
				events := b.events()
				b.run(append(alone, "--kubeconfig", r.kubeconfig)...)
				ping := func() {
					if _, err := b.nc.Request("cortex.mcp.activity."+b.namespace+".alpha", nil, patience); err != nil {
						t.Error(err)
					}
				}
				done := newMoment()
				r.act(func(patch string) {
					if crosses == "before" && strings.Contains(patch, toZero) { // each of them: the first may meet a conflict
						ping()
					}
				}, b.asleep("alpha", done.hold))
				b.ping("alpha")
				done.then(t, func() {
					if crosses == "after" {
						ping()
					}
					if killed {
						b.kill()
					}
				})
				if killed {
					if err := b.staysAt("alpha", 0)(); err != nil {
						t.Fatal(err)
					}
					b.run(alone...)
				}
				if e := events.next(scaler.Woken, "alpha"); e.Cause != policy.CauseActivity || e.To != 2 {
					t.Errorf("told %+v", e)
				}
				events.next(scaler.Ready, "alpha")
			})
		}
	}
}

// Each command takes effect exactly once and in order, whatever is killed: before a patch goes out, after it was done and before
// the daemon knows, after it was told, and with more commands coming meanwhile. The API server counts each change of replicas in
// the generation. All are told, in order, at least once.
func TestKilledBetweenCommandsEachIsAppliedOnceInOrder(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.awaitReplicas("alpha", 1)
	generation := b.deployment("alpha").Generation
	r := newRelay(t)
	sent := 0
	send := func(n int) {
		for range n {
			sent++ // to 2, 3, 1, 2, 3, 1, …
			b.order("scale", "alpha", fmt.Sprintf(`{"id":"c%d","replicas":%d}`, sent, 1+sent%3))
		}
	}
	flags := []string{"--leader-elect=false", "--kubeconfig", r.kubeconfig}
	b.run(flags...) // makes the streams
	b.kill()
	send(3)

	unsent := newMoment() // the relay hands it on all the same, as a network may
	r.act(once(`c4"`, unsent.hold), nil)
	b.start(flags...)
	send(5)
	unsent.then(t, b.kill)
	send(2)

	unknown := newMoment()
	r.act(nil, once(`c8"`, unknown.hold))
	b.start(flags...)
	unknown.then(t, b.kill)
	send(3)

	told := newMoment()
	subscribed, err := b.nc.Subscribe("cortex.mcp.event.scaled."+b.namespace+".alpha", func(m *nats.Msg) {
		if strings.Contains(string(m.Data), `"command":"c11"`) {
			told.hold()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r.act(nil, nil)
	b.start(flags...)
	told.then(t, func() {
		b.kill()
		_ = subscribed.Unsubscribe()
	})
	send(2)
	b.run(flags...)

	var want []string
	for i := range sent {
		want = append(want, fmt.Sprintf("c%d", i+1))
	}
	eventually(t, "all are told", func() error {
		if got := b.applied(t, "alpha"); !slices.Equal(got, want) {
			return fmt.Errorf("told are %q, want %q", got, want)
		}
		return nil
	})
	b.awaitReplicas("alpha", int32(1+sent%3))
	if got := b.deployment("alpha").Generation - generation; got != int64(sent) {
		t.Errorf("%d changes were made for %d commands", got, sent)
	}
	eventually(t, "the command stream is empty", func() error { return b.holds("CORTEX_MCP_COMMANDS", 0) })
}

// applied returns the ids of the commands to a server in the order in which the event stream first told of each.
func (b *bench) applied(t *testing.T, name string) (ids []string) {
	t.Helper()
	for _, e := range b.stored(t, "cortex.mcp.event.scaled."+b.namespace+"."+name) {
		if !slices.Contains(ids, e.Command) {
			ids = append(ids, e.Command)
		}
	}
	return ids
}

// stored returns the events that the stream has of a subject.
func (b *bench) stored(t *testing.T, subject string) (stored []scaler.Event) {
	t.Helper()
	js, err := jetstream.New(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "CORTEX_MCP_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	for sequence := uint64(1); ; sequence++ {
		m, err := stream.GetMsg(t.Context(), sequence, jetstream.WithGetMsgSubject(subject))
		if err != nil {
			return stored // there are no more
		}
		e, err := wire.DecodeEvent(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		stored, sequence = append(stored, event.FromWire(e)), m.Sequence
	}
}

// holds says whether a stream has so many messages.
func (b *bench) holds(name string, want uint64) error {
	js, err := jetstream.New(b.nc)
	if err != nil {
		return err
	}
	stream, err := js.Stream(b.t.Context(), name)
	if err != nil {
		return err
	}
	if got := stream.CachedInfo().State.Msgs; got != want {
		return fmt.Errorf("stream %s has %d messages", name, got)
	}
	return nil
}

// An event is told although the daemon was killed between the patch and its publication: it is in the patch, and the successor
// publishes it under the same id.
func TestAnEventOutlivesItsDaemon(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	r := newRelay(t)
	b.run(append(alone, "--kubeconfig", r.kubeconfig)...)
	slept := newMoment()
	r.act(nil, b.asleep("alpha", slept.hold))
	b.ping("alpha")
	slept.then(t, b.kill)
	subject := "cortex.mcp.event.slept." + b.namespace + ".alpha"
	if told := b.stored(t, subject); len(told) > 0 {
		t.Fatalf("told already: %+v", told)
	}
	var last struct{ ID string }
	if err := json.Unmarshal([]byte(b.mark("alpha", "last")), &last); err != nil || last.ID == "" {
		t.Fatalf("the last transition is %q, %v", b.mark("alpha", "last"), err)
	}
	b.run(alone...)
	eventually(t, "it is told", func() error {
		if told := b.stored(t, subject); len(told) != 1 || told[0].ID != last.ID || told[0].Cause != policy.CauseIdle || told[0].From != 1 {
			return fmt.Errorf("told are %+v, want the one with id %s", told, last.ID)
		}
		return nil
	})
	// What is in the stream already is not told again by the next.
	b.kill()
	b.run(append(alone, "--idle-after", "1h")...)
	b.ping("alpha")
	b.awaitReplicas("alpha", 1)
	if told := b.stored(t, subject); len(told) != 1 {
		t.Errorf("told are %+v", told)
	}
}

// leader tells by its metrics whether a daemon leads.
func (d *daemon) leader() bool {
	_, body, err := d.get("/metrics")
	return err == nil && strings.Contains(body, "\nidle_scaler_leader 1\n")
}

// twoDaemons starts two, and returns the one that leads and the other.
func (b *bench) twoDaemons(flags ...string) (leads, follows *daemon) {
	b.t.Helper()
	one, two := b.run(flags...), b.run(flags...)
	eventually(b.t, "one of the two leads", func() error {
		switch {
		case one.leader():
			leads, follows = one, two
		case two.leader():
			leads, follows = two, one
		default:
			return fmt.Errorf("none does")
		}
		return nil
	})
	return leads, follows
}

// Of two daemons exactly one leads, and both answer reads.
func TestOneLeadsAndBothAnswer(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	leads, follows := b.twoDaemons()
	consistently(t, 3*time.Second, "leaders", func() error {
		if !leads.leader() || follows.leader() {
			return fmt.Errorf("the leader leads: %v, the other too: %v", leads.leader(), follows.leader())
		}
		return nil
	})
	eventually(t, "both have answered", func() error {
		if _, err := b.status("alpha"); err != nil {
			return err
		}
		answered := make(map[string]int)
		inbox, err := b.nc.SubscribeSync(nats.NewInbox())
		if err != nil {
			return err
		}
		defer func() { _ = inbox.Unsubscribe() }()
		if err := b.nc.PublishRequest("$SRV.STATS.idle-scaler", inbox.Subject, nil); err != nil {
			return err
		}
		for range 2 {
			m, err := inbox.NextMsg(patience)
			if err != nil {
				return err
			}
			var stats micro.Stats
			if err := json.Unmarshal(m.Data, &stats); err != nil {
				return err
			}
			for _, e := range stats.Endpoints {
				if e.Name == "status" && e.NumRequests > 0 {
					answered[stats.ID] = e.NumRequests
				}
			}
		}
		if len(answered) != 2 {
			return fmt.Errorf("answered have %v", answered)
		}
		return nil
	})
	// Requests that write are taken by both, and applied by the one that leads.
	for n := range 10 {
		if a, err := b.Scale(t.Context(), b.id("alpha"), 1+n%2, 0, wire.Sender{}); err != nil || a.Server.Replicas != 1+n%2 {
			t.Fatalf("answered %+v, %v", a, err)
		}
	}
}

// A leader that vanishes is followed within about the duration of its lease, and what was ordered meanwhile is done.
func TestAnotherTakesOverFromALeaderThatVanished(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	leads, follows := b.twoDaemons("--lease-duration", "6s")
	leads.kill()
	vanished := time.Now()
	b.order("scale", "alpha", `{"id":"c1","replicas":2}`)
	b.order("scale", "alpha", `{"id":"c2","replicas":3}`)
	b.awaitReplicas("alpha", 3)
	if took := time.Since(vanished); took > 6*time.Second+40*time.Second { // the rest is for a busy machine
		t.Errorf("the other took over after %s", took)
	}
	if got := b.applied(t, "alpha"); !slices.Equal(got, []string{"c1", "c2"}) {
		t.Errorf("applied are %q", got)
	}
	if !follows.leader() {
		t.Error("the other does not lead")
	}
}

// SIGTERM hands over: the leader gives its lease up, long before that would run out, and ends with 0.
func TestSIGTERMHandsOver(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	leads, follows := b.twoDaemons("--lease-duration", "60s") // looked at every 1 to 2.2 s
	asked := time.Now()
	leads.stop() // expects 0
	if took := time.Since(asked); took > 15*time.Second {
		t.Errorf("it ended after %s", took)
	}
	b.order("scale", "alpha", `{"replicas":2}`)
	b.awaitReplicas("alpha", 2)
	if took := time.Since(asked); took > 45*time.Second {
		t.Errorf("the other took over after %s, which may be because the lease ran out", took)
	}
	if !follows.leader() {
		t.Error("the other does not lead")
	}
}

// The first SIGTERM lets what was begun finish; the second ends the process at once, and what it leaves is done by the next.
func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.awaitReplicas("alpha", 1)
	r := newRelay(t)
	d := b.run(append(alone, "--kubeconfig", r.kubeconfig)...)
	begun := newMoment()
	r.act(once("c1", begun.hold), nil)
	b.order("scale", "alpha", `{"id":"c1","replicas":2}`)
	begun.then(t, func() {
		_ = d.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.ended:
			t.Fatal("it did not wait for what was begun")
		case <-time.After(2 * time.Second):
		}
		asked := time.Now()
		_ = d.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.ended:
		case <-time.After(patience):
			t.Fatal("it goes on")
		}
		if took := time.Since(asked); took > 5*time.Second { // 8 s are left of what the first allows
			t.Errorf("it ended after %s", took)
		}
		if status, ok := d.process.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
			t.Errorf("it ended with %s", d.process.ProcessState)
		}
	})
	b.run(alone...)
	b.awaitReplicas("alpha", 2)
}

// While NATS is away nothing sleeps, and the time in which it was away is not idle time afterwards. Then pings and commands work
// as before, without a restart of the daemon.
func TestNATSMayGoAndCome(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	const idleAfter = 12 * time.Second // enough to see it awake, and that the ping is known
	d := b.run(append(idle, "--idle-after", idleAfter.String())...)
	b.awaitReplicas("alpha", 1)
	events := b.events()
	b.ping("alpha")
	eventually(t, "the ping is known", func() error {
		if s, err := b.status("alpha"); err != nil || s.LastActivity.IsZero() {
			return fmt.Errorf("%v, %w", s.LastActivity, err)
		}
		return nil
	})
	s, err := b.status("alpha")
	if err != nil {
		t.Fatal(err)
	}
	pinged := s.LastActivity

	b.stopNATS()
	gone := time.Now()
	eventually(t, "the daemon is blind", func() error { return d.metric("idle_scaler_blind 1") })
	consistently(t, idleAfter+3*time.Second, "asleep while deaf", b.staysAt("alpha", 1))
	away := time.Since(gone)
	b.startNATS()

	e := events.next(scaler.Slept, "alpha")
	if idle := e.At.Sub(pinged); idle < idleAfter+away {
		t.Errorf("slept %s after the ping, and NATS was away for %s of it", idle, away)
	}
	eventually(t, "the daemon is not blind", func() error { return d.metric("idle_scaler_blind 0") })
	b.ping("alpha")
	b.awaitReplicas("alpha", 1)
	b.order("scale", "alpha", `{"replicas":2}`)
	b.awaitReplicas("alpha", 2)
	if a, err := b.Stop(t.Context(), b.id("alpha"), false, wire.Sender{}); err != nil || a.Event.Type != "slept" {
		t.Errorf("answered %+v, %v", a, err)
	}
}

// metric says whether a line is in the metrics.
func (d *daemon) metric(line string) error {
	_, body, err := d.get("/metrics")
	if err == nil && !strings.Contains(body, "\n"+line+"\n") {
		err = fmt.Errorf("no line %q", line)
	}
	return err
}

// A log that was purged tells nothing of the time before, whether the daemon sees that or comes later: no server sleeps before it
// has been listened to for as long as its idle-after.
func TestAPurgedLogProvesNothing(t *testing.T) {
	for _, seen := range []bool{true, false} {
		t.Run(fmt.Sprintf("seen %v", seen), func(t *testing.T) {
			b := newBench(t)
			b.deploy("alpha")
			idleAfter := 20 * time.Second // time to see it blind
			flags := append(alone, "--idle-after", idleAfter.String())
			events := b.events()
			b.run(flags...)
			js, err := jetstream.New(b.nc)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the log is old enough, and proves something", func() error {
				b.ping("alpha") // which must not sleep yet
				if s, err := b.status("alpha"); err != nil || s.Decision.Reason != string(policy.Awake) {
					return fmt.Errorf("it is treated as %s, %w", s.Decision.Reason, err)
				}
				return nil
			})
			if !seen {
				b.kill()
			}
			stream, err := js.Stream(t.Context(), "CORTEX_MCP_ACTIVITY")
			if err != nil {
				t.Fatal(err)
			}
			purged := time.Now()
			if err := stream.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !seen {
				b.run(flags...)
			}
			b.awaitReason("alpha", policy.Blind)
			if seen { // and its successor knows, although by then the log holds pings again
				b.ping("somebody-else")
				b.kill()
				idleAfter = 60 * time.Second // likewise, and it may have taken long to get here
				b.run(append(alone, "--idle-after", idleAfter.String())...)
				b.awaitReason("alpha", policy.Blind)
			}
			var slept scaler.Event
			within(t, idleAfter+patience, "alpha is slept", func() (err error) {
				slept, err = events.first(scaler.Slept, "alpha")
				return err
			})
			if slept.At.Before(purged.Add(idleAfter)) {
				t.Errorf("slept at %s, the log was purged at %s", slept.At, purged)
			}
		})
	}
}

// A stream of events that somebody deletes while a leader runs is made again with the next thing to tell, and no server is held up by it.
func TestADeletedEventStreamIsMadeAgain(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.run(append(idle, "--idle-after", "4s")...)
	b.awaitReplicas("alpha", 1)
	js, err := jetstream.New(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	before, err := js.Stream(t.Context(), "CORTEX_MCP_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "CORTEX_MCP_EVENTS"); err != nil {
		t.Fatal(err)
	}
	b.ping("alpha")
	b.awaitReplicas("alpha", 0)
	b.ping("alpha")
	b.awaitReplicas("alpha", 1)
	eventually(t, "the events are in the stream", func() error {
		after, err := js.Stream(t.Context(), "CORTEX_MCP_EVENTS")
		if err != nil {
			return err
		}
		if got, want := after.CachedInfo().Config, before.CachedInfo().Config; !reflect.DeepEqual(got, want) {
			t.Fatalf("it is made as %+v, and was %+v", got, want)
		}
		for _, kind := range []string{"slept", "woken"} {
			if _, err := after.GetLastMsgForSubject(t.Context(), "cortex.mcp.event."+kind+"."+b.namespace+".alpha"); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
		return nil
	})
}
