package scaler

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"idle-scaler/policy"
)

// clockTime is a time of the first day, which is a Saturday.
func clockTime(h, m int) time.Time { return time.Date(2000, 1, 1, h, m, 0, 0, time.UTC) }

// wokenAt is when the daemon last woke a server.
func (w *world) wokenAt(name string) time.Time { return w.server(name).Mark.Awake }

// A server that the daemon has put to sleep is woken at the very start of a window, although sweeps
// are an hour apart. A server that somebody stopped, or another made zero, is not.
func TestWindowWakes(t *testing.T) {
	for name, tt := range map[string]struct {
		because policy.Because
		ours    bool
		want    int
	}{
		"idle":           {policy.BecauseIdle, true, 3},
		"schedule":       {policy.BecauseSchedule, true, 3},
		"an ended hold":  {policy.BecauseHold, true, 3},
		"a stop":         {policy.BecauseCommand, true, 0},
		"somebody":       {"", false, 0},
		"rollout undone": {policy.BecauseUnknown, true, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := with(set(asleep(tt.because), "keep-warm", "17 3 * * * for 1h"), func(s *Server) { s.Ours = tt.ours })
			lead(t, func(w *world) {
				time.Sleep(time.Until(clockTime(3, 16)))
				w.expectReplicas(0)
				time.Sleep(time.Hour)
				w.expectReplicas(tt.want)
				if got := w.wokenAt("alpha"); tt.want > 0 &&
					(!got.Equal(clockTime(3, 17)) || w.last(Woken).Cause != policy.CauseKeepWarm) {
					t.Errorf("woken at %s because of %q", got, w.last(Woken).Cause)
				}
			}, s)
		})
	}
}

// A window also wakes servers that fell asleep after the leader began, and it may be newer than
// that.
func TestWindowWakesServersThatSleptLater(t *testing.T) {
	warm := set(running(2), "keep-warm", "17 3 * * * for 1h")
	lead(t, func(w *world) {
		w.sweep()
		w.expectReplicas(0)
		time.Sleep(time.Until(clockTime(4, 0)))
		if got := w.wokenAt("alpha"); !got.Equal(clockTime(3, 17)) {
			t.Errorf("woken at %s", got)
		}
	}, warm)
	lead(t, func(w *world) {
		w.sweep()
		w.change("alpha", func(s *Server) { s.Settings = warm().Settings })
		time.Sleep(time.Until(clockTime(4, 0)))
		if got := w.wokenAt("alpha"); !got.Equal(clockTime(3, 17)) {
			t.Errorf("woken at %s", got)
		}
	}, running(2))
	lead(t, func(w *world) { // only the sweep notices that it fell asleep
		w.cluster.onChange = func(ID) {}
		w.sweep()
		w.expectReplicas(0)
		time.Sleep(time.Until(clockTime(4, 0)))
		if got := w.wokenAt("alpha"); !got.Equal(clockTime(3, 17)) {
			t.Errorf("woken at %s", got)
		}
	}, warm)
}

// A leader that begins inside a window wakes the servers that should be awake.
func TestLeaderInsideAWindowWakes(t *testing.T) {
	lead(t, func(w *world) {
		w.expectReplicas(3)
		if w.last(Woken).Cause != policy.CauseKeepWarm {
			t.Errorf("published %+v", w.last(Woken))
		}
	}, set(asleep(policy.BecauseIdle), "keep-warm", "0 0 * * * for 1h"))
}

// Inside a window nothing sleeps. After its end the idle rule counts.
func TestWindowKeepsAwake(t *testing.T) {
	lead(t, func(w *world) {
		for range 5 {
			w.sweep()
			w.expectReplicas(2)
			time.Sleep(time.Hour)
		}
		w.sweep()
		w.expectReplicas(0)
	}, set(running(2), "keep-warm", "0 0 * * * for 5h"))
}

// However many instants are due, each server is woken at its time, and the sweep comes when it is
// due.
func TestTimersDoNotDelayTheSweep(t *testing.T) {
	var servers []func() *Server
	for n := range 59 { // one a minute, and holds that end each second
		servers = append(servers,
			set(named(fmt.Sprintf("warm-%d", n), asleep(policy.BecauseIdle)),
				"keep-warm", fmt.Sprintf("%d 0 * * * for 30s", n+1)),
			with(named(fmt.Sprintf("held-%d", n), asleep(policy.BecauseHold)), func(s *Server) {
				s.Mark.Hold = policy.Hold{Asleep: true, Until: time.Now().Add(time.Duration(n+1) * time.Second)}
			}))
	}
	lead(t, func(w *world) {
		time.Sleep(time.Hour - 1)
		for n := range 59 {
			if got, want := w.wokenAt(fmt.Sprintf("warm-%d", n)), clockTime(0, n+1); !got.Equal(want) {
				t.Errorf("warm-%d was woken at %s, want %s", n, got, want)
			}
		}
		w.expectReplicas(2)
		time.Sleep(2 * time.Nanosecond)
		w.expectReplicas(0)
	}, append(servers, running(2))...)
}

// A pass that is due at an instant comes once. Passes do not repeat while there is nothing to do.
func TestPassesDoNotRunInCircles(t *testing.T) {
	heldUntil := func(name string, at time.Time) func() *Server {
		return with(named(name, asleep(policy.BecauseHold)), func(s *Server) {
			s.Mark.Hold = policy.Hold{Asleep: true, Until: at}
		})
	}
	var looks atomic.Int32
	lead(t, func(w *world) {
		w.end()
		w.Scaler.cache = counting{w.cluster, &looks}
		w.begin(func() bool { return true })
		looks.Store(0)
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if got := looks.Load(); got < 3 || got > 50 { // some in each pass: two holds end, and a window opens
			t.Errorf("looked %d times", got)
		}
	},
		set(asleep(policy.BecauseIdle), "keep-warm", "10 0 * * * for 1h"),
		heldUntil("b", clockTime(0, 5)), heldUntil("c", clockTime(0, 7)),
		named("d", asleep(policy.BecauseCommand)), named("e", asleep(policy.BecauseIdle)),
	)
}

// counting counts how often a server is read.
type counting struct {
	*fakeCluster
	looks *atomic.Int32
}

func (c counting) Get(id ID) (*Server, bool) { c.looks.Add(1); return c.fakeCluster.Get(id) }

// A sleep-at puts servers to sleep that are not in use, whatever their idle-after, and the event
// says so. A ping after it wakes. A server in use then, or used since it was due, stays awake until
// the next sleep-at.
func TestSleepAt(t *testing.T) {
	nightly := set(running(2), "idle-after", "never", "sleep-at", "30 2 * * *")
	lead(t, func(w *world) {
		time.Sleep(time.Until(clockTime(2, 29)))
		w.sweep()
		w.expectReplicas(2)
		time.Sleep(time.Minute)
		w.sweep()
		w.expectReplicas(0)
		e := w.last(Slept)
		if e.Cause != policy.CauseSchedule || e.Text != "its sleep-at came, unused for 3h30m" ||
			w.alpha().Mark.Because != policy.BecauseSchedule {
			t.Errorf("event %+v, marked %+v", e, w.alpha().Mark)
		}
		time.Sleep(time.Minute)
		w.ping()
		w.expectReplicas(2)
		w.sweep()
		time.Sleep(20 * time.Hour)
		w.expectReplicas(2)
	}, nightly)
	lead(t, func(w *world) {
		time.Sleep(time.Until(clockTime(2, 0)))
		w.lease(time.Hour)
		time.Sleep(time.Until(clockTime(2, 45)))
		w.sweep()
		w.expectReplicas(2)
		time.Sleep(20 * time.Hour)
		w.expectReplicas(2)
		time.Sleep(5 * time.Hour)
		w.expectReplicas(0)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Slept}) {
			t.Errorf("published %v", got)
		}
	}, nightly)
}
