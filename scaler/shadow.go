package scaler

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// nothingDone ends the text of an event that a sleep is due, in a dry run.
const nothingDone = "; nothing was changed"

// shadow is what would have become of a server, were it not for dry-run.
type shadow struct {
	asleep bool
	at     time.Time // since when
	idle   time.Time // when the idle clock started that led to its sleep, which names the sleep
	seen   activity.Stamp
}

// reconcileShadow publishes when a server of a dry run would fall asleep, and when it would wake.
func (t *term) reconcileShadow(st *state, server *Server, f *policy.Facts, d policy.Decision, now time.Time, maySleep bool) error {
	if st.shadow.asleep {
		if err := t.endShadow(st, server, f, now); err != nil {
			return err
		}
	}
	if d.Action != policy.WouldSleep || !maySleep || st.shadow.asleep {
		return nil
	}
	idle := latest(f.IdleSince(), st.shadow.at) // it would have woken without being used, as for a window
	e := Event{
		ID:   fmt.Sprintf("%s-%s-%d", server.UID, WouldSleep, idle.UnixNano()),
		Type: WouldSleep, Server: server.ID, At: now, From: server.Replicas, Cause: policy.CauseIdle, Idle: d.Idle,
		Text: explain.Unused(d.Idle, server.Settings.IdleAfter) + nothingDone,
	}
	if d.Reason == policy.SleepAt {
		e.Cause, e.Text = policy.CauseSchedule, explain.Scheduled(d.Idle)+nothingDone
	}
	if err := t.publish(st, e); err != nil {
		return err
	}
	t.setShadow(st, shadow{true, now, idle, f.Use.Last})
	return nil
}

// endShadow publishes that a server would wake, if it would be asleep until now.
func (t *term) endShadow(st *state, server *Server, f *policy.Facts, now time.Time) error {
	former := st.shadow
	e := t.s.wouldEnd(server, f, former, now)
	if e.Cause == "" {
		return nil
	}
	e.ID = fmt.Sprintf("%s-%s-%d-%d", server.UID, WouldWake, former.idle.UnixNano(), e.At.UnixNano())
	e.Asleep = e.At.Sub(former.at)
	if err := t.publish(st, e); err != nil {
		return err
	}
	t.setShadow(st, shadow{at: e.At})
	if MisSleep(former.at, e.At, e.Demand()) {
		t.s.meter.MisSlept(true)
	}
	return nil
}

func (t *term) setShadow(st *state, now shadow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st.shadow = now
}

// wouldEnd says what ends a sleep that would be; without a cause nothing does. What happens to a server only because it is awake, like a
// new pod, does not: it would not have happened.
func (s *Scaler) wouldEnd(server *Server, f *policy.Facts, asleep shadow, now time.Time) Event {
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
	zero.Replicas, zero.Ours, zero.Because, zero.AsleepSince, zero.Seen = 0, true, policy.BecauseIdle, asleep.at, asleep.seen
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

// shadowsOf returns what would have become of servers according to the events that the stream has, by UID.
func shadowsOf(known map[string]bool) map[string]shadow {
	shadows := make(map[string]shadow)
	var wakes []string
	for id := range known {
		if uid, idle, ok := strings.Cut(id, fmt.Sprintf("-%s-", WouldSleep)); ok {
			shadows[uid] = shadow{asleep: true, idle: nanos(idle)}
		} else if strings.Contains(id, fmt.Sprintf("-%s-", WouldWake)) {
			wakes = append(wakes, id)
		}
	}
	for _, id := range wakes {
		uid, instants, _ := strings.Cut(id, fmt.Sprintf("-%s-", WouldWake))
		idle, at, _ := strings.Cut(instants, "-")
		if shadows[uid].idle.Equal(nanos(idle)) { // else it ended the one before
			shadows[uid] = shadow{at: nanos(at)}
		}
	}
	return shadows
}

func nanos(text string) time.Time {
	n, _ := strconv.ParseInt(text, 10, 64) // a wrong one is that of no sleep
	return time.Unix(0, n)
}

// resumeShadow goes on from what a former leader has published. The caller does not hold mu.
func (t *term) resumeShadow(server *Server, published shadow, now time.Time) shadow {
	if published.asleep {
		f := t.s.factsAlone(server, now)
		published.at = wouldSleepAt(&f, published.idle, now)
		if !f.Use.Last.Time.After(published.idle) { // a newer ping would have kept it awake
			published.seen = f.Use.Last
		}
	}
	return published
}

// wouldSleepAt is when a server would have fallen asleep that would be asleep now, as nearly as is known, if its idle clock started at idle.
func wouldSleepAt(f *policy.Facts, idle, now time.Time) time.Time {
	at := f.Settings.SleepAt.Next(idle)
	if f.Settings.IdleAfter != policy.Never {
		if due := f.Coverage.IdleAt(idle, f.Settings.IdleAfter); at.IsZero() || due.Before(at) {
			at = due
		}
	}
	if at.IsZero() || at.After(now) { // the settings are others now
		return now
	}
	return at
}

// WouldBeAsleep says since when servers would be asleep, of those that would be now were it not for dry-run. Any replica knows that, by what it
// decides: the events that the leader has told of it may be too old to be there.
func (s *Scaler) WouldBeAsleep(servers []*Server) map[ID]time.Time {
	since := make(map[ID]time.Time)
	l := s.look()
	for _, server := range servers {
		if !server.Settings.DryRun {
			continue
		}
		f := l.facts(server)
		if s.config.Rules.Decide(&f, l.now).Action == policy.WouldSleep {
			since[server.ID] = wouldSleepAt(&f, f.IdleSince(), l.now)
		}
	}
	return since
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
