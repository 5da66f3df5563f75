package scaler

import (
	"fmt"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// dryRun is what would have become of a server without dry-run.
type dryRun struct {
	asleep bool
	at     time.Time      // since when
	idle   time.Time      // when the idle clock started that led to its sleep; it names the sleep
	seen   activity.Stamp // the last ping that the decision to sleep knew
}

// reconcileDryRun publishes when a server would fall asleep, and when it would wake.
func (t *term) reconcileDryRun(
	st *state, server *Server, f *policy.Facts, d policy.Decision, now time.Time, maySleep bool,
) error {
	if st.dryRun.asleep {
		if err := t.publishWouldWake(st, server, f, now); err != nil {
			return err
		}
	}
	if d.Action != policy.WouldSleep || !maySleep || st.dryRun.asleep {
		return nil
	}
	idle := latestOf(f.IdleSince(), st.dryRun.at) // a window, too, would have woken it, without any use
	e := newEvent(WouldSleep, server, instantID(WouldSleep, server, idle), now)
	e.To, e.Idle = 0, d.Idle
	_, e.Cause, e.Text = whySleep(server, d)
	e.Text += "; nothing was changed"
	if err := t.publish(st, e); err != nil {
		return err
	}
	assign(t, &st.dryRun, dryRun{true, now, idle, f.Use.Last})
	return nil
}

// publishWouldWake publishes that a server would wake, if it would have slept until now.
func (t *term) publishWouldWake(st *state, server *Server, f *policy.Facts, now time.Time) error {
	former := st.dryRun
	e := t.s.wouldWake(server, f, former, now)
	if e.Cause == "" {
		return nil
	}
	e.ID = fmt.Sprintf("%s-%d", instantID(WouldWake, server, former.idle), e.At.UnixNano())
	e.Asleep = e.At.Sub(former.at)
	if err := t.publish(st, e); err != nil {
		return err
	}
	assign(t, &st.dryRun, dryRun{at: e.At})
	if MisSleep(former.at, e.At, e.Demand()) {
		t.s.meter.MisSlept(true)
	}
	return nil
}

// wouldWake returns what ends the sleep of a dry run; without a cause nothing does. A new pod and
// the like do not, because they would not have come to a server at zero.
func (s *Scaler) wouldWake(server *Server, f *policy.Facts, asleep dryRun, now time.Time) Event {
	e := Event{Type: WouldWake, Server: server.ID, At: now, To: server.Replicas}
	awake := server.Mark.Awake
	switch last := server.Mark.Last; {
	case server.Replicas == 0:
		e.Cause, e.Text = policy.CauseExternal, "it is at zero"
		return e
	case awake.After(asleep.at):
		e.At, e.Cause, e.Actor, e.Command, e.Reason = awake, policy.CauseCommand, last.Actor, last.Command, last.Reason
		return e
	case !f.Settings.DryRun:
		e.Cause, e.Text = policy.CauseExternal, "it is no dry run any more"
		return e
	}
	zero := *f
	zero.Replicas, zero.Ours, zero.Because = 0, true, policy.BecauseIdle
	zero.AsleepSince, zero.Seen = asleep.at, asleep.seen
	d := s.config.Rules.Decide(&zero, now)
	if d.Action != policy.Wake {
		return Event{}
	}
	e.Cause, e.Text = d.WakeCause(&zero), explain.Decision(d, &zero, now)
	if d.Reason == policy.Activity && f.Use.Last.Time.After(asleep.at) {
		e.At = f.Use.Last.Time
	}
	return e
}

// resumeDryRun goes on from what a former leader has published. The caller does not hold mu.
func (t *term) resumeDryRun(server *Server) dryRun {
	run, now := t.former.dryRuns[server.UID], t.s.now()
	if run.asleep {
		f := t.s.factsAlone(server, now)
		run.at = wouldSleepAt(&f, run.idle, now)
		if !f.Use.Last.Time.After(run.idle) { // a newer ping would have kept it awake
			run.seen = f.Use.Last
		}
	}
	return run
}

// wouldSleepAt returns when a server that would be asleep now would have fallen asleep, as nearly
// as is known, if its idle clock started at idle.
func wouldSleepAt(f *policy.Facts, idle, now time.Time) time.Time {
	at := f.Settings.SleepAt.Next(idle)
	if f.Settings.IdleAfter != policy.Never {
		if due := f.Coverage.IdleAt(idle, f.Settings.IdleAfter); at.IsZero() || due.Before(at) {
			at = due
		}
	}
	if at.IsZero() || at.After(now) { // the settings have changed since
		return now
	}
	return at
}

// WouldBeAsleep returns since when servers would be asleep now without dry-run, for those that
// would. Any replica knows that from its own decisions: the events of the leader may be too old to
// be there.
func (s *Scaler) WouldBeAsleep(servers []*Server) map[ID]time.Time {
	since := make(map[ID]time.Time)
	decider := s.decider()
	for _, server := range servers {
		if !server.Settings.DryRun {
			continue
		}
		if f, d := decider.decide(server); d.Action == policy.WouldSleep {
			since[server.ID] = wouldSleepAt(&f, f.IdleSince(), decider.now)
		}
	}
	return since
}
