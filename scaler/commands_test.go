package scaler

import (
	"context"
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

// Each command ends in exactly one write, also when the replicas stay, and its event says what it
// did.
func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name    string
		server  func() *Server
		command Command
		want    int
		event   EventType
		restore int
	}{
		{"start restores the former replicas", asleep(policy.BecauseIdle), Command{Verb: Start}, 3, Woken, 0},
		{"start ends a stop", asleep(policy.BecauseCommand), Command{Verb: Start}, 3, Woken, 0},
		{"start wakes somebody's zero with wake-replicas", running(0), Command{Verb: Start}, 1, Woken, 0},
		{"start of a running server leaves its replicas", running(2), Command{Verb: Start}, 2, Unchanged, 0},
		{"stop remembers", running(2), Command{Verb: Stop}, 0, Slept, 2},
		{"stop of a sleeping server remembers as before", asleep(policy.BecauseIdle), Command{Verb: Stop}, 0, Unchanged, 3},
		{"scale", running(2), Command{Verb: Scale, Replicas: 5}, 5, Scaled, 0},
		{"scale to what it is", running(2), Command{Verb: Scale, Replicas: 2}, 2, Unchanged, 0},
		{"scale wakes", asleep(policy.BecauseIdle), Command{Verb: Scale, Replicas: 5}, 5, Woken, 0},
		{"scale to 0 is stop", running(2), Command{Verb: Scale}, 0, Slept, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				tt.command.Actor, tt.command.ID, tt.command.Stamp = "ann", "c-1", w.stamp()
				o := w.do(tt.command)
				if o == nil || o.Err != nil {
					t.Fatalf("outcome %+v", o)
				}
				w.expectReplicas(tt.want)
				m := w.alpha().Mark
				if m.Restore != tt.restore || m.Done.ID != "c-1" || !m.Done.Stamp.Equal(tt.command.Stamp) {
					t.Errorf("marked %+v", m)
				}
				if e := o.Event; e.Type != tt.event || e.Actor != "ann" || e.Command != "c-1" || e.Cause != policy.CauseCommand ||
					e.To != tt.want {
					t.Errorf("event %+v", e)
				}
				if len(w.cluster.writes) != 1 || w.cluster.reads != 0 {
					t.Errorf("%d writes, %d reads", len(w.cluster.writes), w.cluster.reads)
				}
			}, tt.server)
		})
	}
}

// A stop lasts until somebody orders something else.
func TestStopOutlastsDemand(t *testing.T) {
	lead(t, func(w *world) {
		w.do(Command{Verb: Stop})
		w.ping()
		w.tracker.Lease(alpha, "gateway", time.Now(), time.Hour)
		w.Enqueue(alpha)
		w.sweep()
		w.expectReplicas(0)
		w.do(Command{Verb: Start})
		w.expectReplicas(2)
	}, running(2))
}

// A command that makes no sense, comes too late or names no server changes nothing. Its sender gets
// an error and an event.
func TestRejectedCommands(t *testing.T) {
	alpah := ID{Namespace: "team-a", Name: "alpah"}
	for _, tt := range []struct {
		name    string
		command Command
		want    error
		says    string
	}{
		{"too many replicas", Command{Verb: Scale, Replicas: 11}, ErrOutOfRange, "at most 10"},
		{"negative replicas", Command{Verb: Scale, Replicas: -1}, ErrOutOfRange, "0 or more"},
		{"negative wait", Command{Verb: Start, Wait: -time.Second}, ErrInvalid, "negative"},
		{"too long a wait", Command{Verb: Start, Wait: 10 * time.Hour}, ErrOutOfRange, "at most 5m0s"},
		{"unknown verb", Command{Verb: "stat"}, ErrInvalid, "use start, stop, scale, hold or release"},
		{"unknown server", Command{Verb: Start, Server: alpah}, ErrUnknown, "near it are: alpha"},
		{"too old", Command{Verb: Stop, Stamp: activity.Stamp{Sequence: 1}}, ErrExpired, "send it again"},
		{"past its deadline", Command{Verb: Stop, Deadline: time.Unix(1, 0)}, ErrExpired, "send it again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				o := w.do(tt.command)
				if o == nil || !errors.Is(o.Err, tt.want) || !strings.Contains(o.Err.Error(), tt.says) {
					t.Fatalf("outcome %+v", o)
				}
				kind := Rejected
				if errors.Is(tt.want, ErrExpired) {
					kind = Expired
				}
				if got := w.bus.types(); !slices.Equal(got, []EventType{kind}) || len(w.cluster.writes) != 0 {
					t.Errorf("published %v, %d writes", got, len(w.cluster.writes))
				}
			}, running(2))
		})
	}
}

// A command that is delivered again is not applied again. What was left to do for it is done: pods,
// event, answer.
func TestRedeliveredCommand(t *testing.T) {
	lead(t, func(w *world) {
		stop := Command{Verb: Stop, Force: true, Stamp: w.stamp()}
		w.do(stop)
		s := *w.alpha()
		o := w.do(stop)
		if o == nil || o.Err != nil || o.Event.ID != s.Mark.Last.ID {
			t.Errorf("outcome %+v", o)
		}
		if len(w.cluster.writes) != 1 || len(w.pods.killed) != 2 {
			t.Errorf("%d writes, %d kills", len(w.cluster.writes), len(w.pods.killed))
		}
	}, running(2))
}

// An older command that is delivered again after a newer one was applied does nothing. No event
// says that it was rejected, because it was applied before, and only its acknowledgement got lost.
func TestOlderCommandIsSuperseded(t *testing.T) {
	lead(t, func(w *world) {
		start, stop := w.stamp(), w.stamp()
		stop.Time = stop.Time.Add(time.Millisecond)
		w.do(Command{Verb: Stop, Stamp: stop})
		if o := w.do(Command{Verb: Start, Stamp: start}); o == nil || !errors.Is(o.Err, ErrSuperseded) {
			t.Errorf("outcome %+v", o)
		}
		w.expectReplicas(0)
		if got := w.bus.types(); !slices.Equal(got, []EventType{Slept}) {
			t.Errorf("published %v", got)
		}
	}, running(2))
}

// A stream that was made again counts from 1. A new command does not look old for that.
func TestCommandOfARecreatedStream(t *testing.T) {
	lead(t, func(w *world) {
		w.do(Command{Verb: Stop, Stamp: activity.Stamp{Sequence: 1000, Time: time.Now()}})
		w.do(Command{Verb: Start, Stamp: activity.Stamp{Sequence: 1, Time: time.Now().Add(time.Second)}})
		w.expectReplicas(2)
	}, running(2))
}

// An applied command that comes again long after, because its acknowledgement got lost, has no
// event that it expired.
func TestAppliedCommandDoesNotExpire(t *testing.T) {
	lead(t, func(w *world) {
		stop := Command{Verb: Stop, Stamp: w.stamp()}
		w.do(stop)
		time.Sleep(time.Hour)
		if o := w.do(stop); o == nil || o.Err != nil {
			t.Errorf("outcome %+v", o)
		}
		if got := w.bus.types(); slices.Contains(got, Expired) {
			t.Errorf("published %v", got)
		}
	}, running(2))
}

// A long backlog of late commands reads each server once from the API server, and never one that is
// not there.
func TestLateCommandsAreCheap(t *testing.T) {
	lead(t, func(w *world) {
		for _, id := range []ID{alpha, {Namespace: "team-a", Name: "nobody"}} {
			for range 100 {
				c := Command{
					Verb: Stop, Server: id, Stamp: activity.Stamp{Sequence: w.stamp().Sequence, Time: time.Now().Add(-time.Hour)},
				}
				if o := w.do(c); o == nil || !errors.Is(o.Err, ErrExpired) {
					t.Fatalf("outcome %+v", o)
				}
			}
		}
		if w.cluster.reads != 1 {
			t.Errorf("%d reads", w.cluster.reads)
		}
	}, running(2))
}

// A command that conflicts with a rival's writes is tried on fresh facts until it is written.
func TestCommandRetriesAfterConflict(t *testing.T) {
	lead(t, func(w *world) {
		conflicts := 3
		w.cluster.onWrite = func(s *Server) error {
			if conflicts--; conflicts >= 0 {
				rival := *s
				rival.Replicas = 4 + conflicts
				w.cluster.put(rival)
			}
			return nil
		}
		o := w.do(Command{Verb: Stop})
		if o.Err != nil || o.Event.From != 4 || w.alpha().Mark.Restore != 4 || w.cluster.reads != 3 {
			t.Errorf("outcome %+v, restores %d, %d reads", o, w.alpha().Mark.Restore, w.cluster.reads)
		}
	}, running(2))
}

// When the answer to a write gets lost, the next try looks for the write and does not repeat it.
func TestUnsureWriteIsNotRepeated(t *testing.T) {
	lead(t, func(w *world) {
		tries := 0
		w.cluster.onWrite = func(*Server) error { tries++; return ErrUnsure }
		o := w.do(Command{Verb: Scale, Replicas: 5})
		if o == nil || o.Err != nil || o.Event.Type != Scaled || tries != 1 {
			t.Errorf("outcome %+v after %d tries", o, tries)
		}
		if got := w.bus.types(); !slices.Equal(got, []EventType{Scaled}) {
			t.Errorf("published %v", got)
		}
	}, running(2))
}

// A command that does not get through is rejected, after two minutes of retries or, where the API
// server refuses it, at once.
func TestCommandGivesUp(t *testing.T) {
	for err, after := range map[error]time.Duration{ErrConflict: 2 * time.Minute, ErrRefused: 0} {
		lead(t, func(w *world) {
			began := time.Now()
			w.cluster.onWrite = func(*Server) error { return err }
			o := w.do(Command{Verb: Stop})
			if o == nil || !errors.Is(o.Err, err) || time.Since(began).Round(time.Second) != after {
				t.Errorf("outcome %+v after %s", o, time.Since(began))
			}
			if got := w.bus.types(); !slices.Equal(got, []EventType{Rejected}) {
				t.Errorf("%v: published %v", err, got)
			}
		}, running(2))
	}
}

// The server of a command may appear after the command.
func TestCommandWaitsForItsServer(t *testing.T) {
	lead(t, func(w *world) {
		time.AfterFunc(10*time.Second, func() { w.cluster.put(*running(0)()) })
		if o := w.do(Command{Verb: Start}); o == nil || o.Err != nil {
			t.Fatalf("outcome %+v", o)
		}
		w.expectReplicas(1)
	})
}

// The commands of one server are applied in order, however long each takes.
func TestCommandsInOrder(t *testing.T) {
	lead(t, func(w *world) {
		slow := true
		w.cluster.onWrite = func(*Server) error {
			if slow {
				slow = false
				time.Sleep(time.Minute)
			}
			return nil
		}
		done := make(chan Outcome, 9)
		for n := range 9 {
			w.Submit(w.t.Context(), Command{Verb: Scale, Server: alpha, Replicas: n + 1, Stamp: w.stamp()},
				func(o Outcome) { done <- o })
		}
		for n := range 9 {
			if o := <-done; o.Err != nil || o.Event.To != n+1 {
				t.Errorf("outcome %d: %+v", n, o)
			}
		}
	}, running(2))
}

// A start that waits is answered when the first replica is ready, not when the start is written.
func TestStartWaits(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		began := time.Now()
		time.AfterFunc(7*time.Second, func() {
			s := *w.alpha()
			s.Observed, s.Ready = s.Generation, 1
			w.cluster.put(s)
		})
		o := w.do(Command{Verb: Start, Wait: time.Minute})
		if o == nil || o.Err != nil || o.Server.Ready != 1 || time.Since(began) != 7*time.Second {
			t.Errorf("outcome %+v after %s", o, time.Since(began))
		}
		synctest.Wait()
		if got := w.bus.types(); !slices.Equal(got, []EventType{Woken, Ready}) {
			t.Errorf("published %v", got)
		}
	}, asleep(policy.BecauseIdle))
}

// A command is applied although another leader has put the server to sleep from the same version.
// The two changes have the same ID, and only one of them is the command's.
func TestCommandMeetsAnotherLeadersWrite(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(server *Server) error {
			w.cluster.onWrite = nil
			other := written(server, 0, Mark{Restore: server.Replicas, Because: policy.BecauseIdle, Asleep: time.Now()})
			other.Mark.Last = Event{
				ID: changeID(server), Type: Slept, Server: alpha, At: time.Now().Add(-time.Second), From: server.Replicas,
				Cause: policy.CauseIdle,
			}
			w.cluster.put(other)
			return ErrConflict
		}
		o := w.do(Command{Verb: Start, ID: "c-1"})
		if o == nil || o.Err != nil || o.Event.Command != "c-1" || w.alpha().Mark.Done.ID != "c-1" {
			t.Errorf("outcome %+v, marked %+v", o, w.alpha().Mark)
		}
		w.expectReplicas(2)
	}, running(2))
}

// A write without an answer may land while the next write is on its way, which then conflicts. The
// landed write is the command's, and the outcome says what it did.
func TestCommandsFirstWriteLandsLate(t *testing.T) {
	lead(t, func(w *world) {
		c := Command{Verb: Scale, Replicas: 5, ID: "c-1", Stamp: w.stamp()}
		began, writes := time.Now(), 0
		w.cluster.onWrite = func(server *Server) error {
			if writes++; writes == 1 {
				return fmt.Errorf("%w: not there yet", ErrUnsure)
			}
			first := written(server, 5, Mark{Done: Done{c.Stamp, c.ID}})
			first.Mark.Last = Event{
				ID: changeID(server), Type: Scaled, Server: alpha, At: began, From: 2, To: 5, Cause: policy.CauseCommand,
				Command: c.ID,
			}
			w.cluster.put(first)
			return ErrConflict
		}
		if o := w.do(c); o == nil || o.Err != nil || o.Event.Type != Scaled || o.Event.To != 5 || writes != 2 {
			t.Errorf("outcome %+v after %d writes", o, writes)
		}
	}, running(2))
}

// Ready counts from before the wake do not answer a wait for it.
func TestStartWaitsForNewCounts(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		w.do(Command{Verb: Stop})
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			s := *w.alpha()
			s.Observed = s.Generation
			w.cluster.put(s)
		})
		if o := w.do(Command{Verb: Start, Wait: time.Minute}); o == nil || o.Err != nil || time.Since(began) != time.Second {
			t.Errorf("outcome %+v after %s", o, time.Since(began))
		}
	}, func() *Server { s := running(1)(); s.Ready, s.Total, s.Updated = 1, 1, 1; return s })
}

// A refusal from before the wake does not fail it.
func TestStaleRefusalFailsNoWake(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.slow = true
		time.AfterFunc(time.Second, func() {
			s := *w.alpha()
			s.Refused, s.Ready, s.Observed = nil, 1, s.Generation
			w.cluster.put(s)
		})
		if o := w.do(Command{Verb: Start, Wait: time.Minute}); o == nil || o.Err != nil {
			t.Errorf("outcome %+v", o)
		}
	}, func() *Server {
		s := asleep(policy.BecauseIdle)()
		s.Refused = &Refusal{Reason: "FailedCreate", Message: "exceeded quota"}
		return s
	})
}

// A command of a session that has ended is not applied: the next session has it, in order.
func TestEndedSessionAppliesNothing(t *testing.T) {
	lead(t, func(w *world) {
		w.cluster.onWrite = func(*Server) error { time.Sleep(time.Second); return nil }
		session, end := context.WithCancel(w.t.Context())
		finished := 0
		for range 3 {
			w.Submit(session, Command{Verb: Scale, Replicas: 5, Server: alpha, Stamp: w.stamp()}, func(Outcome) { finished++ })
		}
		synctest.Wait()
		end()
		time.Sleep(time.Minute)
		synctest.Wait()
		if finished != 1 || len(w.cluster.writes) != 1 {
			t.Errorf("%d finished, %d written", finished, len(w.cluster.writes))
		}
	}, running(1))
}

// A wait ends with the reason as soon as it is clear that waiting does not help. The server keeps
// the reason.
func TestStartSaysWhyNot(t *testing.T) {
	for _, tt := range []struct {
		name   string
		happen func(w *world)
		want   error
		says   string
		after  time.Duration
		types  []EventType
	}{
		{"nothing happens", func(*world) {}, ErrNotInTime, "it goes on starting", time.Minute, []EventType{Woken}},
		{
			"the image can't be pulled",
			func(w *world) { w.pods.diagnoses <- Diagnosis{"ImagePullBackOff", "no such image", true} },
			ErrFailed, "ImagePullBackOff: no such image", 3 * time.Second,
			[]EventType{Woken, Failed},
		},
		{
			"it can't be scheduled", func(w *world) { w.pods.diagnoses <- Diagnosis{"Unschedulable", "no memory", false} },
			ErrNotInTime, "(Unschedulable: no memory): it goes on starting", time.Minute,
			[]EventType{Woken, Progress},
		},
		{
			"a quota", func(w *world) {
				s := *w.alpha()
				s.Refused = &Refusal{Reason: "FailedCreate", Message: "exceeded quota"}
				w.cluster.put(s)
			}, ErrFailed, "exceeded quota", 4 * time.Second,
			[]EventType{Woken, Failed},
		},
		{
			"a quota lets some of its pods in, which is known late", func(w *world) {
				s := *w.alpha()
				s.Refused = &Refusal{Reason: "FailedCreate", Message: "exceeded quota"}
				w.cluster.put(s)
				time.AfterFunc(2500*time.Millisecond, func() {
					s := *w.alpha()
					s.Total = 1
					w.cluster.put(s)
				})
			}, ErrNotInTime, "it goes on starting", time.Minute,
			[]EventType{Woken},
		},
		{
			"a quota lets some of its pods in", func(w *world) {
				s := *w.alpha()
				s.Total, s.Refused = 1, &Refusal{Reason: "FailedCreate", Message: "exceeded quota"}
				w.cluster.put(s)
			}, ErrNotInTime, "it goes on starting", time.Minute,
			[]EventType{Woken},
		},
		{
			"somebody sets it to zero", func(w *world) {
				s := *w.alpha()
				s.Replicas, s.Writer, s.Ours = 0, "kubectl", false
				w.cluster.put(s)
			}, ErrSuperseded, `"kubectl"`, time.Second,
			[]EventType{Woken},
		},
		{"it is stopped", func(w *world) {
			w.Submit(w.t.Context(), Command{Verb: Stop, Server: alpha, Actor: "bob", Stamp: w.stamp()}, func(Outcome) {})
		}, ErrSuperseded, `a command of "bob"`, time.Second, []EventType{Woken, Slept}},
		{"it is stopped, nobody says by whom", func(w *world) {
			w.Submit(w.t.Context(), Command{Verb: Stop, Server: alpha, Stamp: w.stamp()}, func(Outcome) {})
		}, ErrSuperseded, `by a command while`, time.Second, []EventType{Woken, Slept}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.slow = true
				began := time.Now()
				time.AfterFunc(time.Second, func() { tt.happen(w) })
				o := w.do(Command{Verb: Start, Wait: time.Minute})
				if o == nil || !errors.Is(o.Err, tt.want) || !strings.Contains(o.Err.Error(), tt.says) ||
					time.Since(began) != tt.after {
					t.Errorf("outcome %+v after %s", o, time.Since(began))
				}
				synctest.Wait()
				if got := w.bus.types(); !slices.Equal(got, tt.types) {
					t.Errorf("published %v", got)
				}
				if failed := w.alpha().Mark.Failed; (failed != "") != errors.Is(tt.want, ErrFailed) {
					t.Errorf("marked as failed: %q", failed)
				}
			}, asleep(policy.BecauseIdle))
		})
	}
}

// The end of a command takes nothing from its server: what is due at an instant happens then, and
// not at the next sweep. That holds when the command is rejected, and when its event is published
// only at the second try.
func TestACommandForgetsNothing(t *testing.T) {
	rejected := Command{Verb: Scale, Replicas: 1000}
	lead(t, func(w *world) {
		if o := w.do(rejected); o == nil || o.Err == nil {
			t.Fatalf("outcome %+v", o)
		}
		time.Sleep(time.Until(clockTime(0, 30)))
		synctest.Wait()
		w.expectReplicas(3)
	}, set(asleep(policy.BecauseIdle), "keep-warm", "30 0 * * * for 1h"))
	for name, meanwhile := range map[string]func(w *world){
		"another is rejected": func(w *world) { time.Sleep(time.Minute); w.do(rejected) },
		"NATS is away for a moment": func(w *world) {
			w.bus.setAway(ErrUnsure)
			time.AfterFunc(50*time.Millisecond, func() { w.bus.setAway(nil) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.cluster.slow = true
				w.request(Command{Verb: Start})
				meanwhile(w)
				time.Sleep(w.config.Rules.StartDeadline + time.Minute)
				w.lastIs(Failed)
			}, asleep(policy.BecauseIdle))
		})
	}
}

// hooked is a cluster in which something happens just before a server is read.
type hooked struct {
	*fakeCluster
	before atomic.Pointer[func()]
}

func (h *hooked) Get(id ID) (*Server, bool) {
	if f := h.before.Swap(nil); f != nil {
		(*f)()
	}
	return h.fakeCluster.Get(id)
}

// A command is not lost when it comes while a pass forgets its deleted server.
func TestCommandWhileItsServerIsForgotten(t *testing.T) {
	lead(t, func(w *world) {
		w.end()
		h := &hooked{fakeCluster: w.cluster}
		w.cache = h
		w.begin(func() bool { return true })
		w.ping()
		w.cluster.onChange = func(ID) {}
		w.cluster.remove(alpha)
		forget := func() {
			w.Enqueue(alpha)
			time.Sleep(time.Second)
		}
		h.before.Store(&forget)
		if o := w.do(Command{Verb: Start}); o == nil || !errors.Is(o.Err, ErrUnknown) {
			t.Errorf("outcome %+v", o)
		}
	}, running(2))
}

// Commands for names that never existed leave nothing behind, except that they were rejected: if
// the acknowledgement got lost, the command comes again, perhaps when its Deployment exists.
func TestCommandsForNobody(t *testing.T) {
	lead(t, func(w *world) {
		for i := range 1000 {
			id := ID{Namespace: fmt.Sprint("team-", i), Name: "nobody"}
			w.Submit(w.t.Context(), Command{Verb: Start, Server: id, Stamp: w.stamp()}, func(Outcome) {})
		}
		time.Sleep(time.Hour)
		term := w.term.Load()
		term.mu.Lock()
		if n := len(term.states); n > 2 { // for alpha and the daemon itself
			t.Errorf("%d states are left", n)
		}
		term.mu.Unlock()
		late := Command{Verb: Stop, Server: ID{Namespace: "team-a", Name: "late"}, Stamp: w.stamp()}
		if o := w.do(late); o == nil || !errors.Is(o.Err, ErrUnknown) {
			t.Errorf("outcome %+v", o)
		}
		w.cluster.put(*named("late", running(1))())
		if w.do(late); w.server("late").Replicas != 1 {
			t.Error("it is applied though it was published that it was rejected")
		}
	}, running(2))
}

// Pings to a name that has no Deployment cause no reads, also while a command waits for it.
func TestPingsWhileACommandWaits(t *testing.T) {
	lead(t, func(w *world) {
		ghost := ID{Namespace: "team-a", Name: "ghost"}
		w.Submit(w.t.Context(), Command{Verb: Start, Server: ghost, Stamp: w.stamp()}, func(Outcome) {})
		synctest.Wait()
		before := w.cluster.reads
		for range 100 {
			w.Enqueue(ghost)
			synctest.Wait()
		}
		if n := w.cluster.reads - before; n > 0 {
			t.Errorf("%d reads", n)
		}
		w.cluster.put(*named("ghost", running(0))())
		synctest.Wait()
		if n := w.server("ghost").Replicas; n != 1 {
			t.Errorf("it has %d replicas", n)
		}
	})
}

// A panic in a pass without a command rejects no command that came meanwhile.
func TestPanicBesideACommand(t *testing.T) {
	lead(t, func(w *world) {
		var panics atomic.Bool
		panics.Store(true)
		w.cluster.onWrite = func(*Server) error {
			if panics.Swap(false) {
				time.Sleep(time.Second)
				panic("a bug")
			}
			return nil
		}
		w.tracker.Ping(alpha, w.stamp())
		w.Enqueue(alpha)
		synctest.Wait()
		outcomes := w.request(Command{Verb: Start})
		if o := <-outcomes; o.Err != nil {
			t.Errorf("outcome %+v", o)
		}
	}, asleep(policy.BecauseIdle))
}
