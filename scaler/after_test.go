package scaler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
)

// A start of a server that comes after others is written at once. It wakes the others, and takes
// effect when they are ready. Whoever waits for it is answered when the server itself is ready. A
// change of leader in between changes nothing about that.
func TestStartAfterOthers(t *testing.T) {
	for _, change := range []bool{false, true} {
		t.Run(fmt.Sprintf("change of leader %v", change), func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.slow = true
				c := Command{
					Verb: Start, Server: w.server("api").ID, Wait: 5 * time.Minute, Actor: "ann", ID: "c-1", Reason: "demo",
					Stamp: w.stamp(),
				}
				outcomes := w.request(c)
				if m := w.server("api").Mark; m.Because != policy.BecauseAfter || m.Done.ID != "c-1" || m.Restore != 3 ||
					m.Last.Text != "wakes as soon as db is ready" {
					t.Fatalf("marked %+v", m)
				}
				w.expect("api", 0)
				w.expect("db", 3)
				if change {
					w.nextLeader()
				}
				time.Sleep(time.Minute)
				w.getReady("db")
				w.expect("api", 3)
				if len(outcomes) != 0 {
					t.Fatal("answered before it was ready")
				}
				if e := w.last(Woken); e.Server.Name != "api" || e.Cause != policy.CauseCommand || e.Actor != "ann" ||
					e.Command != "c-1" || e.Reason != "demo" {
					t.Errorf("event %+v", e)
				}
				time.Sleep(time.Minute)
				w.getReady("api")
				if o := <-outcomes; o.Err != nil || o.Server.Ready != 3 {
					t.Errorf("outcome %+v", o)
				}
				writes := slices.DeleteFunc(slices.Clone(w.cluster.writes), func(s *Server) bool { return s.ID.Name != "api" })
				if len(writes) != 2 {
					t.Errorf("%d writes", len(writes))
				}
				w.expect("web", 3)
			}, chain(asleep(policy.BecauseIdle))...)
		})
	}
}

// A wait for such a start ends at its deadline with the names of the servers that it waits for, and
// when somebody stops the server with who did it.
func TestStartAfterOthersEnds(t *testing.T) {
	start := Command{Verb: Start, Server: ID{Namespace: "team-a", Name: "api"}, Wait: time.Minute}
	lead(t, func(w *world) {
		w.cluster.slow = true
		began := time.Now()
		o := w.do(start)
		if o == nil || !errors.Is(o.Err, ErrNotInTime) || !strings.Contains(o.Err.Error(), "waits for db") ||
			time.Since(began) != time.Minute {
			t.Errorf("outcome %+v after %s", o, time.Since(began))
		}
		w.getReady("db")
		w.expect("api", 3)
	}, chain(asleep(policy.BecauseIdle))...)
	for name, server := range map[string]func() *Server{
		"asleep": asleep(policy.BecauseIdle), "somebody's zero": running(0),
	} {
		for _, stop := range []Command{{Verb: Stop, Actor: "bob"}, {Verb: Hold, Asleep: true, Until: "1h", Actor: "bob"}} {
			t.Run(fmt.Sprintf("%s %s", name, stop.Verb), func(t *testing.T) {
				servers := chain(asleep(policy.BecauseIdle))
				servers[0] = set(named("api", server), "group", "g", "after", "db")
				lead(t, func(w *world) {
					w.cluster.slow = true
					time.AfterFunc(time.Second, func() {
						stop.Server, stop.Stamp = start.Server, w.stamp()
						w.Submit(w.t.Context(), stop, func(Outcome) {})
					})
					began := time.Now()
					if o := w.do(start); o == nil || !errors.Is(o.Err, ErrSuperseded) ||
						!strings.Contains(o.Err.Error(), `a command of "bob"`) || time.Since(began) != time.Second {
						t.Errorf("outcome %+v after %s", o, time.Since(began))
					}
					w.getReady("db")
					w.expect("api", 0)
				}, servers...)
			})
		}
	}
}

// A hold awake waits for the servers before it as a start does. A scale brings as many replicas as
// were asked for.
func TestOtherOrdersAfterOthers(t *testing.T) {
	for _, c := range []Command{holdAwake, {Verb: Scale, Replicas: 3}} {
		servers := chain(asleep(policy.BecauseIdle))
		servers[0] = set(named("api", running(0)), "group", "g", "after", "db") // a zero of somebody else
		lead(t, func(w *world) {
			w.cluster.slow = true
			c.Server = ID{Namespace: "team-a", Name: "api"}
			w.must(c)
			w.expect("api", 0)
			w.getReady("db")
			want := map[Verb]int{Hold: 1, Scale: 3}[c.Verb]
			w.expect("api", want)
			if held := w.server("api").Mark.Hold.Holds(time.Now()); held != (c.Verb == Hold) {
				t.Errorf("held: %v", held)
			}
		}, servers...)
	}
}
