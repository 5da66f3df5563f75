package policy

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"idle-scaler/activity"
)

// world is a server and the log about it, up to noon; nothing happens after.
type world struct {
	tracker *activity.Tracker
	facts   Facts    // but for what the tracker knows
	deaf    [][2]int // the seconds before noon, from and to, in which the log could not be heard
}

var server = activity.ID{Namespace: "team-a", Name: "search"}

// at returns all facts as they are at an instant.
func (w world) at(now time.Time) *Facts {
	f := w.facts
	f.Use, f.Sight = w.tracker.Of(server), w.tracker.Sight(now)
	return &f
}

// heard is how long the log could be heard between an instant and noon, second by second.
func (w world) heard(since time.Time) time.Duration {
	heard := time.Duration(0)
	for s := int(min(noon.Sub(since), 24*time.Hour) / time.Second); s > 0; s-- {
		missed := false
		for _, d := range w.deaf {
			missed = missed || d[0] >= s && s > d[1]
		}
		if !missed {
			heard += time.Second
		}
	}
	return heard
}

// someWorld draws a server whose times lie around its idle-after, so that each rule holds now and then.
var someWorld = rapid.Custom(func(t *rapid.T) world {
	often := func(name string) bool { return rapid.Bool().Draw(t, name) }
	sometimes := func(name string) bool { // one time in sixteen
		return !slices.Contains(rapid.SliceOfN(rapid.Bool(), 4, 4).Draw(t, name), false)
	}
	ago := func(name string) time.Time { // rapid prefers small numbers, which would be of the last minute
		return noon.Add(-time.Duration(3600-rapid.IntRange(0, 3660).Draw(t, name)) * time.Second)
	}

	w := world{tracker: activity.NewTracker(2 * time.Minute)}
	log := activity.Log{Born: ago("born").Add(-time.Hour), Empty: sometimes("empty")}
	s := 7200 - rapid.IntRange(0, 7200).Draw(t, "heard")
	if !sometimes("never read") {
		w.tracker.Hear(log, noon.Add(-time.Duration(s)*time.Second))
		for range rapid.IntRange(0, 3).Draw(t, "times deaf") {
			from := s - rapid.IntRange(0, s).Draw(t, "heard")
			s = from - rapid.IntRange(0, from).Draw(t, "missed")
			w.tracker.Deaf("NATS is away", noon.Add(-time.Duration(from)*time.Second))
			w.tracker.Hear(log, noon.Add(-time.Duration(s)*time.Second))
			w.deaf = append(w.deaf, [2]int{from, s})
		}
		if sometimes("deaf now") {
			w.tracker.Deaf("NATS is away", noon.Add(-time.Duration(s)*time.Second))
		}
	}
	if often("pinged") {
		w.tracker.Ping(server, activity.Stamp{Sequence: rapid.Uint64Range(1, 3).Draw(t, "ping"), Time: ago("pinged")})
	}
	for _, holder := range []string{"a", "b"} {
		if often("leased") {
			w.tracker.Lease(server, holder, ago("lease"), time.Duration(rapid.IntRange(0, 900).Draw(t, "ttl"))*time.Second)
		}
	}

	f := &w.facts
	f.Settings = Defaults(rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Minute, 5 * time.Minute, 20 * time.Minute, Never}).Draw(t, "idle-after"))
	f.Settings.Paused, f.Settings.WakeOnActivity, f.Ours = sometimes("paused"), often("wake-on-activity"), !sometimes("not ours")
	if sometimes("unreadable") {
		f.Bad = errors.New("the test says so")
	}
	f.Created, f.StartingAt, f.RollingOut = ago("created"), ago("starting"), sometimes("rolling out")
	if f.Replicas = rapid.IntRange(0, 2).Draw(t, "replicas"); f.Replicas == 0 {
		f.Because = rapid.SampledFrom([]Because{BecauseIdle, BecauseCommand, BecauseUnknown}).Draw(t, "because")
		if f.Because != BecauseUnknown {
			f.AsleepSince, f.Seen = ago("asleep"), activity.Stamp{Sequence: rapid.Uint64Range(0, 3).Draw(t, "seen"), Time: ago("seen")}
		}
		if often("seen the last ping") {
			f.Seen = w.tracker.Of(server).Last
		}
		return w
	}
	f.AwakeSince = ago("awake")
	if f.Ready = rapid.IntRange(0, f.Replicas).Draw(t, "ready"); f.Ready > 0 {
		f.ReadySince = ago("ready since")
	}
	return w
})

// Whatever the facts: a server is put to sleep only when it is unused for idle-after, without a doubt and without a reason to wait.
func TestSleepsOnlyWithoutDoubt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := someWorld.Draw(t, "world")
		f := w.at(noon)
		if rules.Decide(f, noon).Action != Sleep {
			return
		}
		for doubt, holds := range map[string]bool{
			"asleep":       f.Replicas == 0,
			"unreadable":   f.Bad != nil,
			"paused":       f.Settings.Paused,
			"never":        f.Settings.IdleAfter == Never,
			"blind":        f.Sight.Blind != "",
			"leased":       len(w.tracker.Leases(server, noon)) > 0,
			"starting":     f.Ready == 0 && noon.Sub(f.StartingAt) < rules.StartDeadline,
			"rolling out":  f.RollingOut,
			"min-awake":    noon.Sub(f.AwakeSince) < rules.MinAwake,
			"pinged":       w.heard(f.Use.LastAt) < f.Settings.IdleAfter,
			"just leased":  w.heard(f.Use.LeaseUntil) < f.Settings.IdleAfter,
			"just woken":   w.heard(f.AwakeSince) < f.Settings.IdleAfter,
			"just ready":   w.heard(f.ReadySince) < f.Settings.IdleAfter,
			"just created": w.heard(f.Created) < f.Settings.IdleAfter,
			"log young":    w.heard(f.Sight.Born) < f.Settings.IdleAfter,
		} {
			if holds {
				t.Errorf("sleeps although %s", doubt)
			}
		}
	})
}

// Whatever the facts: a server is woken only when its zero is ours, not ordered, and somebody wants it; and then it is.
func TestWakesOnlyOnDemand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := someWorld.Draw(t, "world").at(noon)
		crossed := func(at time.Time) bool { return at.Before(f.AsleepSince.Add(time.Second)) }
		wanted := f.Use.LeaseUntil.After(noon) && (f.Settings.WakeOnActivity || crossed(f.Use.LeaseSince)) ||
			f.Use.Last != (activity.Stamp{}) && f.Use.Last != f.Seen && (f.Settings.WakeOnActivity || crossed(f.Use.LastAt))
		wakes := f.Replicas == 0 && f.Ours && f.Bad == nil && f.Because != BecauseCommand && wanted
		if d := rules.Decide(f, noon); (d.Action == Wake) != wakes {
			t.Errorf("%s, because %s; wanted: %v", d.Action, d.Reason, wanted)
		}
	})
}

// Until Next nothing changes unless something happens, and a decision without Next lasts. To decide is to change nothing.
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

// Left alone, a server comes to rest: following Next from instant to instant ends, and soon.
func TestFollowingNextEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, now := someWorld.Draw(t, "world"), noon
		for range 20 {
			d := rules.Decide(w.at(now), now)
			if d.Next.IsZero() {
				return
			}
			now = d.Next
		}
		t.Errorf("still not at rest at %v", now)
	})
}
