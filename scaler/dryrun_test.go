package scaler

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

func dry(server func() *Server, pairs ...string) func() *Server {
	return set(server, append(pairs, "dry-run", "true")...)
}

// A dry run never puts a server to sleep. It publishes that it would, once for each time that the
// server is idle.
func TestDryRunWritesNothing(t *testing.T) {
	lead(t, func(w *world) {
		for range 10 {
			w.sweep()
			time.Sleep(time.Hour)
		}
		if len(w.cluster.writes) != 0 {
			t.Errorf("%d writes", len(w.cluster.writes))
		}
		w.expectPublished(WouldSleep)
		if e := w.last(WouldSleep); e.Cause != policy.CauseIdle || e.From != 2 || e.To != 0 || e.Idle != time.Hour ||
			!e.At.Equal(clockTime(0, 0)) {
			t.Errorf("event %+v", e)
		}
		w.ping()
		w.expectPublished(WouldSleep, WouldWake)
		time.Sleep(idleAfter)
		w.sweep()
		w.expectPublished(WouldSleep, WouldWake, WouldSleep)
		if a, b := w.bus.kept[0].ID, w.bus.kept[2].ID; a == b {
			t.Error("two sleeps have one ID")
		}
		if len(w.cluster.writes) != 0 {
			t.Errorf("%d writes", len(w.cluster.writes))
		}
	}, dry(running(2)))
	lead(t, func(w *world) {
		time.Sleep(time.Until(clockTime(2, 31)))
		w.sweep()
		if e := w.last(WouldSleep); e.Cause != policy.CauseSchedule {
			t.Errorf("event %+v", e)
		}
	}, dry(running(2), "idle-after", "never", "sleep-at", "30 2 * * *"))
}

// A dry run publishes at once, with the cause, that a sleeping server would wake. A wake soon after
// the sleep counts as a mistake.
func TestDryRunWouldWake(t *testing.T) {
	idle := dry(running(2))
	swept := func(happen func(w *world)) func(w *world) {
		return func(w *world) {
			happen(w)
			w.sweep()
		}
	}
	orders := func(c Command) func(w *world) { return func(w *world) { w.must(c) } }
	for _, tt := range []struct {
		name   string
		server func() *Server
		after  time.Duration
		happen func(w *world)
		cause  policy.Cause
		wrong  int32
	}{
		{"a ping", idle, time.Minute, (*world).ping, policy.CauseActivity, 1},
		{"a late ping", idle, 2 * time.Minute, (*world).ping, policy.CauseActivity, 0},
		{"a lease", idle, time.Minute, func(w *world) { w.lease(time.Hour) }, policy.CauseLease, 1},
		{"a start", idle, time.Minute, orders(Command{Verb: Start, Actor: "ann"}), policy.CauseCommand, 1},
		{"a hold awake", idle, time.Minute, orders(holdAwake), policy.CauseCommand, 1},
		{
			"a window", dry(running(2), "keep-warm", "1 0 * * * for 1h"), 61 * time.Second,
			swept(func(*world) {}), policy.CauseKeepWarm, 0,
		},
		{
			"its group", dry(running(2), "group", "g"), time.Minute,
			swept(func(w *world) { w.pingTo("mate") }), policy.CauseGroup, 2,
		},
		{"the end of the dry run", idle, time.Minute, func(w *world) {
			w.ping()
			w.bus.kept = nil
			w.term.Load().state(alpha).dryRun = dryRun{asleep: true, at: time.Now(), idle: time.Now()}
			w.change("alpha", func(s *Server) { s.Settings.DryRun = false })
			w.sweep()
		}, policy.CauseExternal, 1},
		{"a stop", idle, time.Minute, swept(orders(Command{Verb: Stop})), policy.CauseExternal, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.sweep()
				w.lastIs(WouldSleep)
				time.Sleep(tt.after)
				tt.happen(w)
				e := w.last(WouldWake)
				if e.Cause != tt.cause || e.To != w.alpha().Replicas {
					t.Errorf("event %+v", e)
				}
				if slept := w.last(WouldSleep); slept.ID != "" && e.Asleep != e.At.Sub(slept.At) {
					t.Errorf("would be asleep for %s, from %s to %s", e.Asleep, slept.At, e.At)
				}
				if n := w.meter.wouldMisSleep.Load(); n != tt.wrong || w.meter.misSleeps.Load() != 0 {
					t.Errorf("%d mistakes counted", n)
				}
			}, tt.server, dry(named("mate", running(1)), "group", "g"))
		})
	}
}

func (w *world) lastIs(kind EventType) {
	w.t.Helper()
	if w.last(kind).ID == "" {
		w.t.Fatalf("%s was not published: %v", kind, w.bus.types())
	}
}

// A new pod or a rollout, which a server has only because it is awake, does not end the sleep of a
// dry run.
func TestDryRunSleepsThroughRestarts(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		w.change("alpha", func(s *Server) { s.Ready, s.UnreadySince = 0, time.Now() })
		w.sweep()
		w.change("alpha", func(s *Server) { s.Ready, s.ReadySince = 2, time.Now() })
		for range 5 {
			w.sweep()
			time.Sleep(time.Hour)
		}
		w.expectPublished(WouldSleep)
	}, dry(running(2)))
}

// Every leader goes on from what the former has published: a sleep is not published again, whoever
// leads publishes its end, and a ping that comes long after it is no mistake although the leader is
// new.
func TestDryRunAcrossLeaders(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		time.Sleep(5 * time.Minute)
		w.nextLeader()
		w.sweep()
		w.expectPublished(WouldSleep)
		time.Sleep(time.Minute)
		w.ping()
		w.expectPublished(WouldSleep, WouldWake)
		w.nextLeader()
		time.Sleep(idleAfter)
		w.sweep()
		w.expectPublished(WouldSleep, WouldWake, WouldSleep)
		w.end()
		w.ping() // while nobody leads
		w.nextLeader()
		w.expectPublished(WouldSleep, WouldWake, WouldSleep, WouldWake)
		if n := w.meter.wouldMisSleep.Load(); n != 1 { // the last
			t.Errorf("%d mistakes counted", n)
		}
	}, dry(running(2)))
	lead(t, func(w *world) { // if the stream does not say what it has, the event has the same ID
		w.sweep()
		w.end()
		w.begin(func() bool { return true })
		time.Sleep(time.Minute)
		w.sweep()
		w.expectPublished(WouldSleep, WouldSleep)
		if a, b := w.bus.kept[0].ID, w.bus.kept[1].ID; a != b {
			t.Errorf("IDs %s and %s", a, b)
		}
	}, dry(running(2)))
}

// The next leader reads that a server would have woken, and publishes that no more.
func TestDryRunWakesOnceAcrossLeaders(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		time.Sleep(10 * time.Minute)
		w.sweep()
		w.expectPublished(WouldSleep, WouldWake)
		time.Sleep(time.Minute)
		w.nextLeader()
		w.sweep()
		w.expectPublished(WouldSleep, WouldWake)
	}, dry(running(2), "keep-warm", "5 0 * * * for 8h"))
}

// After the end of a window that would wake a server another sleep begins, although nobody used the
// server.
func TestDryRunAfterAWindow(t *testing.T) {
	lead(t, func(w *world) {
		for range 5 * 24 {
			w.sweep()
			time.Sleep(time.Hour)
			if time.Now().Hour() == 12 {
				w.nextLeader()
			}
		}
		ids, sleeps := map[string]bool{}, 0
		for _, e := range w.bus.kept {
			ids[e.ID] = true
			if e.Type == WouldSleep {
				sleeps++
			}
		}
		if sleeps != 6 || len(ids) != len(w.bus.kept) {
			t.Errorf("%d sleeps, %d events, %d IDs", sleeps, len(w.bus.kept), len(ids))
		}
	}, dry(running(2), "keep-warm", "30 9 * * * for 8h"))
}

// All servers of a group would sleep, also those before others, although in a dry run these others
// never sleep.
func TestDryRunOfAGroup(t *testing.T) {
	var servers []func() *Server
	for _, s := range chain(running(2)) {
		servers = append(servers, with(s, func(s *Server) { s.Settings.DryRun = true }))
	}
	lead(t, func(w *world) {
		w.sweep()
		if got := w.order(WouldSleep); len(got) != 3 {
			t.Errorf("would sleep: %v", got)
		}
	}, servers...)
}

// Any replica knows since when a server of a dry run would be asleep, whoever has published that,
// and whether or not the event is still there: since its idle clock ran out, or a sleep-at came.
func TestWouldBeAsleep(t *testing.T) {
	born := func(w *world) {
		w.tracker.CaughtUp(activity.Log{CompleteSince: time.Now().Add(-time.Hour)}, time.Now())
	} // the server is as old
	pingAfter := func(d time.Duration) func(w *world) {
		return func(w *world) {
			time.Sleep(d)
			w.ping()
		}
	}
	late := clockTime(0, 0).AddDate(0, 0, 2)
	for _, tt := range []struct {
		name   string
		server func() *Server
		happen func(w *world) // before it is late
		since  time.Time      // zero: it would not be asleep
	}{
		{"never used", dry(running(2)), func(*world) {}, clockTime(0, -30)},
		{"used", dry(running(2)), pingAfter(46 * time.Hour), late.Add(-90 * time.Minute)},
		{
			"by sleep-at", dry(running(2), "idle-after", "never", "sleep-at", "30 2 * * *"),
			func(*world) {}, clockTime(2, 30),
		},
		{
			"by sleep-at, before it is idle", dry(running(2), "idle-after", "10h", "sleep-at", "30 2 * * *"),
			pingAfter(26 * time.Hour), clockTime(26, 30),
		},
		{"log lost meanwhile", dry(running(2)), func(w *world) {
			time.Sleep(46 * time.Hour)
			w.ping()
			w.tracker.Lost("nats is away", time.Now())
			time.Sleep(time.Hour)
			born(w)
		}, late.Add(-30 * time.Minute)},
		{"in use", dry(running(2)), pingAfter(47*time.Hour + 40*time.Minute), time.Time{}},
		{"leased", dry(running(2)), func(w *world) { w.lease(100 * time.Hour) }, time.Time{}},
		{"stopped", dry(running(2)), func(w *world) { w.must(Command{Verb: Stop}) }, time.Time{}},
		{"no dry run", set(running(2), "paused", "true"), func(*world) {}, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				born(w)
				tt.happen(w)
				w.end() // the replica that makes the report need not lead
				time.Sleep(time.Until(late))
				got := w.WouldBeAsleep([]*Server{w.alpha()})
				if since, ok := got[alpha]; !since.Equal(tt.since) || ok == tt.since.IsZero() {
					t.Errorf("since %s, want %s", since, tt.since)
				}
			}, tt.server)
		})
	}
}

// A dry run still wakes a server that sleeps already.
func TestDryRunWakes(t *testing.T) {
	lead(t, func(w *world) {
		w.ping()
		w.expectReplicas(3)
	}, dry(asleep(policy.BecauseIdle)))
	lead(t, func(w *world) {
		w.must(Command{Verb: Stop})
		w.expectReplicas(0)
		w.must(Command{Verb: Start})
		w.expectReplicas(2)
	}, dry(running(2)))
}

// A group follows any of its servers that is wanted. If all of these are only kept warm, nobody
// wants to use the group, and no sleep was a mistake, real or not. The events say so, and a
// report counts by them.
func TestGroupThatIsKeptWarm(t *testing.T) {
	for _, tt := range []struct {
		name   string
		leased bool // alpha, when the window begins
		kept   string
		cause  policy.Cause // of those that are only mates
		wrong  int
	}{
		{"the first is kept warm", false, "a", policy.CauseKeepWarm, 0},
		{"the last is kept warm", false, "c", policy.CauseKeepWarm, 0},
		{"one is wanted, too", true, "a", policy.CauseGroup, 3},
	} {
		for _, kind := range []EventType{Woken, WouldWake} {
			var servers []func() *Server
			for _, name := range []string{"a", "alpha", "b", "c"} {
				pairs := []string{"group", "g", "dry-run", strconv.FormatBool(kind == WouldWake)}
				if name == tt.kept {
					pairs = append(pairs, "keep-warm", "1 0 * * * for 1h")
				}
				servers = append(servers, set(named(name, running(2)), pairs...))
			}
			t.Run(fmt.Sprint(tt.name, ", ", kind), func(t *testing.T) {
				lead(t, func(w *world) {
					w.sweep()
					time.Sleep(time.Minute - time.Second)
					if tt.leased {
						w.tracker.Lease(alpha, "gateway", time.Now(), time.Hour) // no pass sees it before the window begins
					}
					time.Sleep(2 * time.Second)
					w.sweep()
					reported := 0
					for _, e := range w.bus.kept {
						if e.Type == kind && MisSleep(e.At.Add(-e.Asleep), e.At, e.Demand()) {
							reported++
						}
						if follows := e.Server.Name != tt.kept && (e.Server != alpha || !tt.leased); e.Type == kind && follows &&
							(e.Cause != tt.cause || !strings.Contains(e.Text, "group g")) {
							t.Errorf("published %+v", e)
						}
					}
					if got := w.order(kind); len(got) != 4 {
						t.Errorf("woken: %v", got)
					}
					metered := w.meter.misSleeps.Load() + w.meter.wouldMisSleep.Load()
					if reported != tt.wrong || int(metered) != tt.wrong {
						t.Errorf("%d mistakes reported, %d metered, want %d", reported, metered, tt.wrong)
					}
				}, servers...)
			})
		}
	}
}

// A server that is wanted again within two minutes after it was put to sleep slept by mistake. A
// server that was stopped, or that a window or somebody else wakes, did not.
func TestMisSleep(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server func() *Server
		after  time.Duration
		happen func(w *world)
		wrong  int32
	}{
		{"a ping", asleep(policy.BecauseIdle), 59 * time.Second, (*world).ping, 1},
		{"a late ping", asleep(policy.BecauseIdle), 60 * time.Second, (*world).ping, 0}, // it has slept for a minute already
		{"after sleep-at", asleep(policy.BecauseSchedule), 0, (*world).ping, 1},
		{"a lease", asleep(policy.BecauseIdle), 0, func(w *world) { w.lease(time.Hour) }, 1},
		{"a start", asleep(policy.BecauseIdle), 0, func(w *world) { w.must(Command{Verb: Start}) }, 1},
		{"a start after a stop", asleep(policy.BecauseCommand), 0, func(w *world) { w.must(Command{Verb: Start}) }, 0},
		{"somebody else", asleep(policy.BecauseIdle), 0, (*world).revert, 0},
		{"a window", set(asleep(policy.BecauseIdle), "keep-warm", "0 0 * * * for 1h"), 0, func(*world) {}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				time.Sleep(tt.after)
				tt.happen(w)
				synctest.Wait()
				if w.alpha().Replicas == 0 {
					t.Fatal("still asleep")
				}
				if n := w.meter.misSleeps.Load(); n != tt.wrong || w.meter.wouldMisSleep.Load() != 0 {
					t.Errorf("%d mistakes counted", n)
				}
			}, tt.server)
		})
	}
}

// A new leader goes on from the dry run of a server that has a notice: it may read the notice while
// it makes the state.
func TestDryRunWithANoticeAcrossLeaders(t *testing.T) {
	lead(t, func(w *world) {
		w.sweep()
		w.expectPublished(WouldSleep)
		w.nextLeader()
		w.ping()
		w.lastIs(WouldWake)
	}, dry(running(2), "sleep-notice", "90s"))
}
