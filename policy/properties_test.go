package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"idle-scaler/activity"
	. "idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// wouldSleep reports whether a decision is to sleep, now or after a notice, by silence or by a
// schedule.
func wouldSleep(d Decision) bool {
	return d.Reason == Idle || d.Reason == SleepAt
}

// Whatever the facts, a server sleeps only when nobody wants it, without a doubt and without a
// reason to wait.
func TestSleepsOnlyWithoutDoubt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := someWorld.Draw(t, "world")
		f := w.at(noon)
		d := rules.Decide(f, noon)
		if !wouldSleep(d) {
			return
		}
		due := f.Settings.SleepAt.Next(f.IdleSince())
		scheduled := !due.IsZero() && !due.After(noon)
		if (d.Reason == SleepAt) != scheduled {
			t.Errorf("sleeps because %s, its sleep-at was due at %v", d.Reason, due)
		}
		silence := func(since time.Time) bool { return !scheduled && w.complete(since) < f.Settings.IdleAfter }
		for doubt, holds := range map[string]bool{
			"asleep":       f.Replicas == 0,
			"unreadable":   f.Bad != nil || f.Group.Bad != "",
			"paused":       f.Settings.Paused || f.Paused.Scope != "",
			"held":         f.Hold.Until.After(noon),
			"contended":    f.Reverts.Count >= 2 && f.Reverts.Digest == "",
			"autoscaled":   f.Rival != "",
			"never":        f.Settings.IdleAfter == Never && !scheduled,
			"blind":        f.Coverage.Blind != "",
			"log young":    noon.Sub(f.Coverage.CompleteSince) < f.Settings.IdleAfter,
			"leased":       len(w.tracker.Leases(server, noon)) > 0,
			"in a window":  inside(f.Settings.KeepWarm, noon),
			"starting":     f.Ready == 0 && noon.Sub(f.StartingAt) < rules.StartDeadline,
			"rolling out":  f.RollingOut,
			"min-awake":    noon.Sub(f.AwakeSince) < rules.MinAwake,
			"grouped":      f.Group.Wanted != "" || len(f.Group.Before) > 0,
			"in dry-run":   f.Settings.DryRun && d.Action != WouldSleep,
			"no notice":    d.Action == Sleep && f.Settings.SleepNotice > 0 && (noon.Sub(f.Noticed) < f.Settings.SleepNotice || !f.Noticed.After(f.IdleSince())),
			"pinged":       silence(f.Use.Last.Time),
			"just leased":  silence(f.Use.LeaseUntil),
			"just woken":   silence(f.AwakeSince),
			"just ready":   silence(f.ReadySince),
			"just created": silence(f.Created),
			"just born":    silence(f.Coverage.CompleteSince),
		} {
			if holds {
				t.Errorf("%s, because %s, although %s", d.Action, d.Reason, doubt)
			}
		}
	})
}

// inside asks all starts within the longest window before an instant whether their window holds it.
func inside(windows Windows, now time.Time) bool {
	for _, w := range windows {
		for start := w.Starts().Next(now.Add(-MaxWindow)); !start.IsZero() && !start.After(now); start = w.Starts().Next(start) {
			if start.Add(w.Length()).After(now) {
				return true
			}
		}
	}
	return false
}

// Whatever the facts, a hold puts a server to sleep exactly while it is in force and nothing before
// it keeps the server awake.
func TestHeldAsleepOnlyByALiveHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := someWorld.Draw(t, "world").at(noon)
		f.Hold = Hold{Asleep: rapid.Bool().Draw(t, "asleep"), Until: noon.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "until")))}
		d := rules.Decide(f, noon)
		live := f.Hold.Asleep && f.Hold.Until.After(noon)
		if d.Reason == HeldAsleep && !live {
			t.Errorf("held asleep by a hold until %v", f.Hold.Until)
		}
		if f.Replicas == 0 {
			return
		}
		others := f.Bad != nil || f.Group.Bad != "" || f.Settings.Paused || f.Paused.Scope != "" || f.Reverts.Contended(f.Settings.Digest) || f.Rival != ""
		if live && !others && (d.Action != Sleep || d.Reason != HeldAsleep || !d.Next.Equal(f.Hold.Until)) {
			t.Errorf("%s, because %s, until %v, although it is held asleep", d.Action, d.Reason, d.Next)
		}
		if f.Hold.Holds(noon) && !f.Hold.Asleep && d.Action != Keep {
			t.Errorf("%s, because %s, although it is held awake", d.Action, d.Reason)
		}
	})
}

// Whatever the facts, a server wakes exactly when its zero is ours, was not ordered, and somebody
// or a window wants it.
func TestWakesOnlyOnDemand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := someWorld.Draw(t, "world").at(noon)
		crossed := func(at time.Time) bool { return at.Before(f.AsleepSince.Add(time.Second)) }
		demand := f.Use.LeaseUntil.After(noon) && (f.Settings.WakeOnActivity || crossed(f.Use.LeaseSince)) ||
			f.Use.Last != (activity.Stamp{}) && f.Use.Last != f.Seen && (f.Settings.WakeOnActivity || crossed(f.Use.Last.Time))
		wanted := demand || inside(f.Settings.KeepWarm, noon) || f.Group.Wanted != ""
		held := f.Hold.Until.After(noon)
		may := f.Ours && f.Bad == nil && (held && !f.Hold.Asleep || !held && f.Because != BecauseCommand && wanted)
		wakes := f.Replicas == 0 && len(f.Group.Waiting) == 0 && (f.Because == BecauseAfter || may)
		if d := rules.Decide(f, noon); (d.Action == Wake) != wakes {
			t.Errorf("%s, because %s; wanted: %v", d.Action, d.Reason, wanted)
		}
	})
}

// Until Next nothing changes unless something happens, and a decision without Next lasts. Decide
// changes no facts.
func TestNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := someWorld.Draw(t, "world")
		d := rules.Decide(w.at(noon), noon)
		if again := rules.Decide(w.at(noon), noon); again != d {
			t.Fatalf("decided %v, and then %v", d, again)
		}
		last := noon.Add(1000 * time.Hour)
		if !d.Next.IsZero() {
			if !d.Next.After(noon) {
				t.Fatalf("%s: may change at %v, which is not after now", d.Reason, d.Next)
			}
			last = d.Next.Add(-1)
		}
		between := noon.Add(time.Duration(rapid.Int64Range(0, int64(last.Sub(noon))).Draw(t, "later")))
		for _, later := range []time.Time{between, last} {
			if then := rules.Decide(w.at(later), later); then.Action != d.Action || then.Reason != d.Reason {
				t.Errorf("%s, because %s, until %v; but at %v %s, because %s", d.Action, d.Reason, d.Next, later, then.Action, then.Reason)
			}
		}
	})
}

// Left alone, a server comes to rest: following Next from instant to instant ends soon, unless
// schedules make it go on.
func TestFollowingNextEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, now := someWorld.Draw(t, "world"), noon
		repeats := len(w.facts.Settings.KeepWarm)+len(w.facts.Settings.SleepAt) > 0
		for range 20 {
			d := rules.Decide(w.at(now), now)
			if d.Next.IsZero() {
				return
			}
			if !d.Next.After(now) {
				t.Fatalf("at %v the decision may change at %v", now, d.Next)
			}
			now = d.Next
		}
		if !repeats {
			t.Errorf("still not at rest at %v", now)
		}
	})
}

// Left alone, a server that will sleep is due to sleep at Sleeps, and not before.
func TestSleepsIsWhenItIsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := someWorld.Draw(t, "world")
		d := rules.Decide(w.at(noon), noon)
		if d.Sleeps.IsZero() {
			return
		}
		if !d.Sleeps.After(noon) {
			t.Fatalf("sleeps at %v, which is not after now", d.Sleeps)
		}
		due := func(at time.Time) bool {
			d := rules.Decide(w.at(at), at)
			return wouldSleep(d) || d.Reason == Ordered || d.Reason == Noticing // another sleeps before it, but it is due
		}
		if then := rules.Decide(w.at(d.Sleeps), d.Sleeps); !due(d.Sleeps) {
			t.Errorf("%s, and sleeps at %v; but then %s, because %s", d.Reason, d.Sleeps, then.Action, then.Reason)
		}
		if d.Reason == Noticing {
			return // it is due now, and waits
		}
		before := noon.Add(time.Duration(rapid.Int64Range(0, int64(d.Sleeps.Sub(noon))-1).Draw(t, "before")))
		for _, at := range []time.Time{before, d.Sleeps.Add(-1)} {
			if due(at) {
				t.Errorf("%s, and sleeps at %v; but it is due at %v", d.Reason, d.Sleeps, at)
			}
		}
	})
}

// A daemon that follows the decisions publishes each sleep as long before as sleep-notice says, and
// sleeps only then.
func TestEachSleepIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, now := someWorld.Draw(t, "world"), noon
		notice := time.Duration(rapid.IntRange(1, 300).Draw(t, "notice")) * time.Second
		w.facts.Settings.SleepNotice, w.facts.Settings.DryRun, w.facts.Noticed, w.facts.Replicas = notice, false, time.Time{}, 1
		for range 20 {
			d := rules.Decide(w.at(now), now)
			switch {
			case d.Action == Sleep && d.Reason != HeldAsleep:
				if early := now.Sub(w.facts.Noticed); early < notice || early > notice+NoticeLasts {
					t.Errorf("sleeps %s after its notice, want %s", early, notice)
				}
				return
			case d.Action == Notify:
				w.facts.Noticed, now = now, now.Add(time.Nanosecond)
				continue
			case d.Next.IsZero():
				return
			}
			now = d.Next
		}
	})
}

// Every decision has a sentence that says why, and a few words for lists. None is broken.
func TestExplainsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := someWorld.Draw(t, "world").at(noon)
		d := rules.Decide(f, noon)
		for _, text := range []string{explain.Decision(d, f, noon), explain.Short(d, f, noon)} {
			broken := func(part string) bool { return strings.Contains(text, part) }
			if text == "" || slices.ContainsFunc([]string{"%!", "0001-", "  ", "in -", "  ", ": :", "()"}, broken) {
				t.Errorf("%s, because %s: %q", d.Action, d.Reason, text)
			}
		}
	})
}
