package scaler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// An idle server sleeps with one write and no read, and that write has all that is needed to wake
// it.
func TestSweepPutsAnIdleServerToSleep(t *testing.T) {
	lead(t, func(w *world) {
		seen := activity.Stamp{Sequence: 7, Time: time.Now().Add(-31 * time.Minute)}
		w.tracker.Ping(alpha, seen)
		if s := w.sweep(); s.Decisions[policy.Idle] != 1 {
			t.Errorf("sweep said %+v", s)
		}
		w.expectReplicas(0)
		m := w.alpha().Mark
		if m.Restore != 3 || m.Because != policy.BecauseIdle || !m.Seen.Equal(seen) || !m.Asleep.Equal(time.Now()) ||
			m.Last.Idle != 31*time.Minute {
			t.Errorf("marked %+v", m)
		}
		if w.cluster.reads != 0 || len(w.cluster.writes) != 1 {
			t.Errorf("%d reads and %d writes", w.cluster.reads, len(w.cluster.writes))
		}
		if got := w.bus.types(); !slices.Equal(got, []EventType{Slept}) {
			t.Errorf("published %v", got)
		}
	}, running(3))
}

// The event says why a server sleeps, or would, in the words of explain.
func TestSleepIsPublishedAsItIsExplained(t *testing.T) {
	old := with(running(2), func(s *Server) { s.Created = time.Now().Add(-48 * time.Hour) })
	for _, tt := range []struct {
		kind   EventType
		server func() *Server
	}{
		{Slept, set(old, "idle-after", "36h")},
		{WouldSleep, dry(old, "idle-after", "36h")},
	} {
		lead(t, func(w *world) {
			w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-50 * time.Hour)}, time.Now())
			_, explained, _ := strings.Cut(w.View(w.alpha()).Why(), ": ")
			w.sweep()
			if published, _, _ := strings.Cut(w.last(tt.kind).Text, ";"); published != explained ||
				published != "unused for 2d, its idle-after is 36h" {
				t.Errorf("%s: published %q, explained %q", tt.kind, published, explained)
			}
		}, tt.server)
	}
}

// A sweep leaves a server alone that is in use or in doubt, or that the world around it forbids to
// touch.
func TestSweepLeavesAlone(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"used a moment ago":         func(w *world) { w.tracker.Ping(alpha, w.stamp()) },
		"leased":                    func(w *world) { w.tracker.Lease(alpha, "gateway", time.Now(), time.Hour) },
		"the log is not proven":     func(w *world) { w.bus.away = errors.New("nats is away") },
		"the log is lost":           func(w *world) { w.tracker.Lost("nats is away", time.Now()) },
		"the lease was not renewed": func(w *world) { w.end(); w.begin(func() bool { return false }) },
		"a settings error": func(w *world) {
			w.change("alpha", func(s *Server) { s.Bad = errors.New("idle-after: eh?") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				prepare(w)
				w.sweep()
				w.expectReplicas(3)
				if slices.Contains(w.bus.types(), Slept) {
					t.Errorf("published %v", w.bus.types())
				}
			}, running(3))
		})
	}
}

// A conflict means that somebody is at work on the Deployment: an automatic sleep tries once.
func TestSleepGivesUpOnConflict(t *testing.T) {
	lead(t, func(w *world) {
		tries := 0
		w.cluster.onWrite = func(*Server) error { tries++; return ErrConflict }
		w.sweep()
		w.expectReplicas(3)
		if tries != 1 || w.cluster.reads != 0 {
			t.Errorf("%d tries, %d reads", tries, w.cluster.reads)
		}
	}, running(3))
}

// A ping that arrives while the sleep is being written ends with the server awake: at once, or by
// the next leader if this one misses it.
func TestPingDuringASleepWins(t *testing.T) {
	duringTheWrite := func(w *world) {
		w.cluster.onWrite = func(*Server) error {
			w.cluster.onWrite = nil
			w.tracker.Ping(alpha, w.stamp())
			w.Enqueue(alpha) // still awake, as far as is known
			return nil
		}
	}
	lead(t, func(w *world) {
		duringTheWrite(w)
		w.sweep()
		w.expectReplicas(3)
		if n := len(w.cluster.writes); n != 2 {
			t.Errorf("%d writes", n)
		}
	}, running(3))
	lead(t, func(w *world) {
		w.cluster.onChange = func(ID) {}
		w.sweep()
		w.tracker.Ping(alpha, w.stamp())
		w.expectReplicas(0)
		w.end()
		w.begin(func() bool { return true })
		w.expectReplicas(3)
	}, running(3))
}

// A sleep is decided again just before its write: what became known since the sweep looked counts.
func TestSleepIsDecidedAgain(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.prove = func() { w.tracker.Ping(alpha, w.stamp()) }
		w.sweep()
		w.expectReplicas(3)
	}, running(3))
}

// A server that was stopped, and raised by somebody else between the look of a sweep and its pass,
// is not put to sleep: that would hide who raised it.
func TestSleepHidesNoRevert(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.prove = func() {
			w.bus.prove = nil
			s := *w.alpha()
			s.Mark = Mark{Restore: 3, Because: policy.BecauseCommand, Asleep: time.Now()}
			s.Writer, s.Ours = "argocd-controller", false
			w.cluster.put(s)
		}
		w.sweep()
		w.expectReplicas(3)
		if r := w.alpha().Mark.Reverts; r.Count != 1 || r.Writer != "argocd-controller" {
			t.Errorf("reverts %+v", r)
		}
		w.expectPublished(Woken)
	}, running(3))
}

// A proof of silence does not count after the process stood still.
func TestOldProofIsNotUsed(t *testing.T) {
	lead(t, func(w *world) {
		w.bus.prove = func() { time.Sleep(2 * MaxDecisionAge) }
		w.sweep()
		time.Sleep(time.Minute)
		w.expectReplicas(3)
		w.bus.prove = nil
		w.sweep()
		w.expectReplicas(0)
	}, running(3))
}

// A decision that could not be sent at once is not sent: the world may have changed.
func TestOldDecisionIsNotSent(t *testing.T) {
	lead(t, func(w *world) {
		decided := w.local()
		time.Sleep(MaxDecisionAge + 1)
		_, _, err := w.term.Load().write(w.term.Load().state(alpha), w.alpha(),
			Change{Event: Event{Type: Slept, At: w.now()}}, decided)
		if !errors.Is(err, ErrConflict) {
			t.Errorf("error %v", err)
		}
		w.expectReplicas(3)
	}, running(3))
}

// Automatic sleeps take only their share of the workers: they never keep a command waiting.
func TestSleepsLeaveRoomForCommands(t *testing.T) {
	var idle []func() *Server
	for n := range 100 {
		idle = append(idle, func() *Server {
			s := running(1)()
			s.ID = ID{Namespace: fmt.Sprint("team-", n), Name: "idle"}
			return s
		})
	}
	lead(t, func(w *world) {
		var sleeping, most atomic.Int32
		w.cluster.onWrite = func(s *Server) error {
			if s.ID == alpha {
				return nil
			}
			most.Store(max(most.Load(), sleeping.Add(1)))
			time.Sleep(time.Second)
			sleeping.Add(-1)
			return nil
		}
		go func() { _, _ = w.Sweep() }()
		synctest.Wait()
		began := time.Now()
		if o := w.do(Command{Verb: Stop}); o == nil || o.Err != nil || time.Since(began) > 0 {
			t.Errorf("outcome %+v after %s", o, time.Since(began))
		}
		time.Sleep(time.Minute)
		if got := int(most.Load()); got != w.config.MaxSleeps {
			t.Errorf("%d sleeps at once, want %d", got, w.config.MaxSleeps)
		}
	}, append(idle, running(2))...)
}

// An error of one server stops no other.
func TestSweepGoesOnAfterErrors(t *testing.T) {
	beta := func() *Server { s := running(1)(); s.ID.Name = "beta"; return s }
	lead(t, func(w *world) {
		w.cluster.onWrite = func(s *Server) error {
			if s.ID == alpha {
				return ErrRefused
			}
			return nil
		}
		w.sweep()
		w.expect("alpha", 1)
		w.expect("beta", 0)
	}, running(1), beta)
}

// A ping wakes a server that the daemon put to sleep, with its former replicas, by one write and no
// read.
func TestPingWakes(t *testing.T) {
	lead(t, func(w *world) {
		w.ping()
		w.expectReplicas(3)
		m := w.alpha().Mark
		if m.Restore != 0 || m.Because != "" || !m.Asleep.IsZero() || !m.Awake.Equal(time.Now()) {
			t.Errorf("marked %+v", m)
		}
		if w.cluster.reads != 0 || len(w.cluster.writes) != 1 {
			t.Errorf("%d reads and %d writes", w.cluster.reads, len(w.cluster.writes))
		}
		if got := w.bus.types(); !slices.Equal(got, []EventType{Woken, Ready}) {
			t.Errorf("published %v", got)
		}
	}, asleep(policy.BecauseIdle))
}

// The event of a wake says how long the daemon had the server at zero, by one clock, also when
// somebody else wakes it. With that a report goes back beyond the oldest event. It says 0 for
// somebody else's zero, for the time before the Deployment was made, and for a server that is
// awake. An order to sleep begins the sleep of a sleeping server again, so its event says how long
// the sleep was before.
func TestHowLongItSleptIsPublished(t *testing.T) {
	marked := func(s *Server) {
		s.Mark.Asleep, s.Created = time.Now().Add(-30*time.Hour), time.Now().Add(-40*time.Hour)
	}
	slept := with(asleep(policy.BecauseIdle), marked)
	madeAgain := with(slept, func(s *Server) { s.Created = time.Now().Add(-time.Hour) })
	afterMate := set(slept, "group", "g", "after", "mate")
	start, stop := Command{Verb: Start}, Command{Verb: Stop}
	restarts := func(w *world) {
		w.must(stop)
		time.Sleep(time.Hour)
		w.must(start)
	}
	for _, tt := range []struct {
		name   string
		server func() *Server
		happen func(w *world)
		kind   EventType
		want   time.Duration
	}{
		{"a start", slept, func(w *world) { w.must(start) }, Woken, 30 * time.Hour},
		{"a ping", slept, func(w *world) { w.ping() }, Woken, 30 * time.Hour},
		{"somebody else", slept, (*world).revert, Woken, 30 * time.Hour},
		{"made again since", madeAgain, func(w *world) { w.must(start) }, Woken, time.Hour},
		{"without its mark", with(slept, func(s *Server) { s.Mark = Mark{} }), func(w *world) { w.must(start) }, Woken, 0},
		{"somebody's zero", running(0), func(w *world) { w.must(start) }, Woken, 0},
		{"somebody's zero that was stopped", running(0), restarts, Woken, 0},
		{"awake", running(2), func(w *world) { w.must(start) }, Unchanged, 0},
		{"put to sleep", running(2), func(w *world) { w.must(stop) }, Slept, 0},
		{"stopped", slept, func(w *world) { w.must(stop) }, Unchanged, 30 * time.Hour},
		{"held", slept, func(w *world) { w.must(holdAsleep) }, Unchanged, 30 * time.Hour},
		{"stopped and started", slept, restarts, Woken, time.Hour},
		{"waits for others", afterMate, func(w *world) {
			w.cluster.slow = true
			w.must(start)
		}, Unchanged, 0},
		{"woken after others", afterMate, func(w *world) {
			w.cluster.slow = true
			w.must(start)
			w.must(Command{Verb: Start, Server: w.server("mate").ID})
			w.getReady("mate")
		}, Woken, 30 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.showing(0)
				tt.happen(w)
				synctest.Wait()
				e := w.last(tt.kind)
				if e.ID == "" || e.Server != alpha || e.Asleep.Round(time.Second) != tt.want ||
					e.Asleep != w.alpha().Mark.Last.Asleep {
					t.Errorf("published %+v", e)
				}
			}, tt.server, set(named("mate", asleep(policy.BecauseIdle)), "group", "g"))
		})
	}
}

// A lease is demand as a ping is.
func TestLeaseWakes(t *testing.T) {
	lead(t, func(w *world) {
		w.tracker.Lease(alpha, "gateway", time.Now(), time.Hour)
		w.Enqueue(alpha)
		w.expectReplicas(3)
		if got := w.alpha().Mark.Last.Cause; got != policy.CauseLease {
			t.Errorf("woken because of %q", got)
		}
	}, asleep(policy.BecauseIdle))
}

// Pings do not wake a server that somebody stopped, by a zero of their own or by a stop command.
func TestPingLeavesStoppedServers(t *testing.T) {
	for name, s := range map[string]func() *Server{"command": asleep(policy.BecauseCommand), "somebody": running(0)} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.ping()
				w.sweep()
				w.expectReplicas(0)
			}, s)
		})
	}
}

// "kubectl rollout undo" brings old annotations back: a ping wakes a zero of ours without a mark,
// with wake-replicas.
func TestPingWakesWithoutAMark(t *testing.T) {
	lead(t, func(w *world) {
		w.ping()
		w.expectReplicas(2)
	}, func() *Server { s := asleep("")(); s.Mark = Mark{}; s.Settings.WakeReplicas = 2; return s })
}

// A mark of sleep beside replicas is cleared: somebody else woke the server, and it counts as awake
// since then.
func TestMarkIsClearedWhenOthersWake(t *testing.T) {
	lead(t, func(w *world) {
		s := *w.alpha()
		s.Replicas, s.Writer, s.Ours = 2, "argocd-controller", false
		w.cluster.put(s)
		w.Enqueue(alpha)
		w.expectReplicas(2)
		m := w.alpha().Mark
		if !m.Asleep.IsZero() || !m.Awake.Equal(time.Now()) || m.Last.Cause != policy.CauseExternal ||
			m.Last.Actor != "argocd-controller" {
			t.Errorf("marked %+v", m)
		}
		w.sweep()
		w.expectReplicas(2)
	}, asleep(policy.BecauseIdle))
	lead(t, func(w *world) { // the sweep finds a change that was missed
		w.cluster.onChange = func(ID) {}
		s := *w.alpha()
		s.Replicas = 2
		w.cluster.put(s)
		w.sweep()
		w.expectReplicas(2)
		if m := w.alpha().Mark; !m.Asleep.IsZero() {
			t.Errorf("marked %+v", m)
		}
	}, asleep(policy.BecauseIdle))
}

// When the answer to the write of a wake gets lost, the wake is published all the same, once.
func TestUnsureWakeIsPublished(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { return ErrUnsure }
		w.ping()
		time.Sleep(time.Second)
		w.expectReplicas(3)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Woken, Ready}) {
			t.Errorf("published %v", got)
		}
	}, asleep(policy.BecauseIdle))
}

// A thousand pings for one sleeping server are one write.
func TestManyPingsAreOneWake(t *testing.T) {
	lead(t, func(w *world) {
		for range 1000 {
			w.tracker.Ping(alpha, w.stamp())
			w.Enqueue(alpha)
		}
		w.expectReplicas(3)
		if n := len(w.cluster.writes); n != 1 {
			t.Errorf("%d writes", n)
		}
	}, asleep(policy.BecauseIdle))
}

// Servers that have nothing to do, or are gone, leave nothing behind.
func TestServersThatAreGoneLeaveNothingBehind(t *testing.T) {
	lead(t, func(w *world) {
		w.ping()
		synctest.Wait()
		w.cluster.remove(alpha)
		w.Enqueue(alpha)
		synctest.Wait()
		if t1 := w.term.Load(); len(t1.queue.items) != 0 || len(t1.states) != 0 || len(w.cluster.watchers) != 0 {
			t.Errorf("left behind: %d in the queue, %d states, %d watchers", len(t1.queue.items), len(t1.states),
				len(w.cluster.watchers))
		}
	}, asleep(policy.BecauseIdle))
}

// A panic in the decision about one server is counted and keeps no other from its pass: in a sweep,
// after a ping, when a term begins.
func TestPanicInADecision(t *testing.T) {
	broken := func() *Server {
		s := named("broken", running(2))()
		s.Settings.KeepWarm = make(policy.Windows, 1) // no parser makes such a window
		return s
	}
	lead(t, func(w *world) {
		w.ping()
		time.Sleep(idleAfter)
		w.sweep()
		w.expectReplicas(0)
		w.Enqueue(ID{Namespace: "team-a", Name: "broken"})
		if w.meter.panics.Load() == 0 {
			t.Error("no panic was counted: the test breaks nothing")
		}
		w.ping()
		w.expectReplicas(2)
	}, broken, running(2))
}

// A panic in the pass over one server is counted and ends no other.
func TestPanicOfOneServer(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { w.cluster.onWrite = nil; panic("a bug") }
		w.ping()
		if n := w.meter.panics.Load(); n != 1 {
			t.Errorf("%d panics counted", n)
		}
		time.Sleep(commandBackoff)
		w.expectReplicas(3)
	}, asleep(policy.BecauseIdle))
	lead(t, func(w *world) { // its command is rejected, and does not come again
		w.cluster.onWrite = func(*Server) error { w.cluster.onWrite = nil; panic("a bug") }
		if o := w.do(Command{Verb: Start}); o == nil || o.Err == nil || !slices.Equal(w.bus.types(), []EventType{Rejected}) {
			t.Errorf("outcome %+v, published %v", o, w.bus.types())
		}
	}, asleep(policy.BecauseIdle))
}

// While settings elsewhere are not known, as without the right to read them, nothing sleeps,
// commands and pings still wake, and an event says so. Then silence counts again.
func TestNothingSleepsOnHalfTheSettings(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.missing = "the namespaces have not been read"
		w.ping()
		w.expectReplicas(3)
		if o := w.do(Command{Verb: Stop}); o == nil || o.Err != nil {
			t.Errorf("stopped: %+v", o)
		}
		if o := w.do(Command{Verb: Start}); o == nil || o.Err != nil {
			t.Errorf("started: %+v", o)
		}
		time.Sleep(2 * idleAfter)
		if sweep := w.sweep(); sweep.Decisions[policy.Blind] != 1 {
			t.Errorf("swept %+v", sweep)
		}
		if v := w.View(w.alpha()); v.Facts.Coverage.Blind != w.cluster.missing {
			t.Errorf("blind: %q", v.Facts.Coverage.Blind)
		}
		w.expectReplicas(3)
		if e := w.last(Blinded); e.Text != "no server is put to sleep: the namespaces have not been read" {
			t.Errorf("published %+v", e)
		}
		w.cluster.missing = ""
		w.sweep()
		w.expectReplicas(0)
	}, asleep(policy.BecauseIdle))
}

// A server that waits for the sweep, and whose Deployment changes meanwhile, still sleeps in a pass
// of the sweep: those have their share of the workers.
func TestChangesDoNotWidenTheSweep(t *testing.T) {
	var servers []func() *Server
	for n := range 100 {
		servers = append(servers,
			with(named(fmt.Sprint("s-", n), running(1)), func(s *Server) { s.ID.Namespace = fmt.Sprint("team-", n%10) }))
	}
	lead(t, func(w *world) {
		var now, most atomic.Int32
		w.cluster.onWrite = func(*Server) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}
		if _, err := w.Sweep(); err != nil {
			t.Fatal(err)
		}
		for _, s := range servers {
			w.term.Load().queue.add(s().ID, byChange)
		}
		time.Sleep(time.Minute)
		for _, s := range servers {
			if server, _ := w.cluster.Get(s().ID); server.Replicas > 0 {
				t.Errorf("%s has not slept", server.ID)
			}
		}
		if n := int(most.Load()); n > w.config.MaxSleeps {
			t.Errorf("%d sleeps were written at once, want at most %d", n, w.config.MaxSleeps)
		}
	}, servers...)
}

// Settings may change while the sweep looks at them. Run this under -race.
func TestSettingsChangeInASweep(t *testing.T) {
	lead(t, func(w *world) {
		for i := range 100 {
			s := *w.alpha()
			s.Bad = fmt.Errorf("bad %d", i)
			w.cluster.put(s)
			for range 3 {
				if _, err := w.Sweep(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}, running(2))
}
