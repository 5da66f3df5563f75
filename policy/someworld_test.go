package policy_test

import (
	"errors"
	"slices"
	"time"

	. "idle-scaler/policy"

	"pgregory.net/rapid"

	"idle-scaler/activity"
)

// world is a server and the log about it, up to noon; nothing happens after.
type world struct {
	tracker *activity.Tracker
	facts   Facts    // but for what the tracker knows
	gaps    [][2]int // the seconds before noon, from and to, in which the log was not complete
}

var server = activity.ID{Namespace: "team-a", Name: "search"}

// at returns all facts as they are at an instant.
func (w world) at(now time.Time) *Facts {
	f := w.facts
	f.Use, f.Coverage = w.tracker.Of(server), w.tracker.Coverage(now)
	if free := f.Group.Free; !free.IsZero() && !now.Before(free) {
		f.Group.Wanted, f.Group.Free = "", time.Time{}
	}
	return &f
}

// complete is how long the log was complete between an instant and noon, second by second.
func (w world) complete(since time.Time) time.Duration {
	complete := time.Duration(0)
	for s := int(min(noon.Sub(since), 24*time.Hour) / time.Second); s > 0; s-- {
		missed := false
		for _, d := range w.gaps {
			missed = missed || d[0] >= s && s > d[1]
		}
		if !missed {
			complete += time.Second
		}
	}
	return complete
}

// someWorld draws a server whose times lie around its idle-after, so that each rule holds now and
// then.
var someWorld = rapid.Custom(func(t *rapid.T) world {
	often := func(name string) bool { return rapid.Bool().Draw(t, name) }
	sometimes := func(name string) bool { // one time in sixteen
		return !slices.Contains(rapid.SliceOfN(rapid.Bool(), 4, 4).Draw(t, name), false)
	}
	ago := func(name string) time.Time { // rapid prefers small numbers, which would be of the last minute
		return noon.Add(-time.Duration(3600-rapid.IntRange(0, 3660).Draw(t, name)) * time.Second)
	}

	w := world{tracker: activity.NewTracker(2 * time.Minute)}
	log := activity.Log{CompleteSince: ago("born").Add(-time.Hour), Empty: sometimes("empty")}
	s := 7200 - rapid.IntRange(0, 7200).Draw(t, "complete")
	if !sometimes("never read") {
		w.tracker.CaughtUp(log, noon.Add(-time.Duration(s)*time.Second))
		for range rapid.IntRange(0, 3).Draw(t, "times gaps") {
			from := s - rapid.IntRange(0, s).Draw(t, "complete")
			s = from - rapid.IntRange(0, from).Draw(t, "missed")
			w.tracker.Lost("NATS is away", noon.Add(-time.Duration(from)*time.Second))
			w.tracker.CaughtUp(log, noon.Add(-time.Duration(s)*time.Second))
			w.gaps = append(w.gaps, [2]int{from, s})
		}
		if sometimes("gaps now") {
			w.tracker.Lost("NATS is away", noon.Add(-time.Duration(s)*time.Second))
		}
	}
	if often("pinged") {
		w.tracker.Ping(server, activity.Stamp{Sequence: rapid.Uint64Range(1, 3).Draw(t, "ping"), Time: ago("pinged")})
	}
	for _, holder := range []string{"a", "b"} {
		if often("leased") && often("leased again") {
			w.tracker.Lease(server, holder, ago("lease"), time.Duration(rapid.IntRange(0, 900).Draw(t, "ttl"))*time.Second)
		}
	}

	f := &w.facts
	f.Settings = someSettings.Draw(t, "settings")
	f.Ours = !sometimes("not ours")
	if sometimes("unreadable") {
		f.Bad = errors.New("the test says so")
	}
	if sometimes("paused") {
		f.Paused = Pause{Scope: "all servers"}
	}
	if rapid.IntRange(1, 8).Draw(t, "held") == 8 {
		f.Hold = Hold{Asleep: often("asleep"), Until: ago("hold").Add(30 * time.Minute)}
	}
	if sometimes("autoscaled") {
		f.Rival = KEDA
	}
	if sometimes("reverted") {
		f.Reverts = Reverts{Count: rapid.IntRange(0, 3).Draw(t, "reverts"), Since: ago("reverts"), Digest: rapid.SampledFrom([]string{"", "other"}).Draw(t, "digest")}
	}
	if f.Settings.Group != "" {
		f.Group = someGroup.Draw(t, "group")
	}
	if often("noticed") {
		f.Noticed = ago("noticed").Add(25 * time.Minute)
	}
	f.Created, f.StartingAt, f.RollingOut = ago("created"), ago("starting"), sometimes("rolling out")
	if f.Replicas = rapid.IntRange(0, 2).Draw(t, "replicas"); f.Replicas == 0 {
		f.Because = rapid.SampledFrom([]Because{BecauseIdle, BecauseIdle, BecauseSchedule, BecauseHold, BecauseCommand, BecauseUnknown, BecauseAfter}).Draw(t, "because")
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

// someSettings are most often those of a server of which only idle-after is written; noon is at an
// edge of some windows.
var someSettings = rapid.Custom(func(t *rapid.T) Settings {
	oneIn := func(n int, name string) bool { return rapid.IntRange(1, n).Draw(t, name) == n }
	s := Defaults(rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Minute, 5 * time.Minute, 20 * time.Minute, Never}).Draw(t, "idle-after"))
	s.WakeOnActivity = rapid.Bool().Draw(t, "wake-on-activity")
	s.Paused, s.DryRun = oneIn(8, "paused"), oneIn(8, "dry-run")
	s.TimeZone = must(time.LoadLocation(rapid.SampledFrom([]string{"UTC", "Europe/Rome", "Asia/Kathmandu"}).Draw(t, "zone")))
	zone := "CRON_TZ=" + rapid.SampledFrom([]string{"UTC", "UTC", "Europe/Rome"}).Draw(t, "zone of the schedules") + " "
	if oneIn(4, "keep-warm") {
		s.KeepWarm = must(ParseWindows(zone+rapid.SampledFrom([]string{
			"0 9 * * * for 3h", "0 12 * * * for 1h", "0 11 * * * for 30m; 30 11 * * * for 30m", "*/10 * * * * for 1m", "0 0 1 * * for 24h",
			"5 12 * * * for 1h", "0 22 * * * for 14h", "7/20 * * * * for 5m; 10/20 * * * * for 5m", "0 0 29 2 * for 1h", "* * * * * for 2m",
		}).Draw(t, "windows"), time.UTC))
	}
	if oneIn(4, "sleep-at") {
		s.SleepAt = must(ParseTimes(zone+rapid.SampledFrom([]string{"45 11 * * *", "0 12 * * *", "5 12 * * *; 0 22 * * *", "0 0 29 2 *", "*/15 * * * *"}).Draw(t, "times"), time.UTC))
	}
	if oneIn(4, "sleep-notice") {
		s.SleepNotice = time.Duration(rapid.IntRange(1, 300).Draw(t, "sleep-notice")) * time.Second
	}
	if oneIn(4, "group") {
		s.Group = "bots"
	}
	return s
})

// someGroup is what others of a group make of a server.
var someGroup = rapid.Custom(func(t *rapid.T) Group {
	var g Group
	switch rapid.IntRange(0, 5).Draw(t, "group") {
	case 0:
		g.Bad = "after goes in a circle"
	case 1:
		g.Wanted, g.Why = "db", Leased
	case 2:
		g.Wanted, g.Why, g.Free = "db", Awake, noon.Add(time.Duration(rapid.IntRange(-60, 1800).Draw(t, "free"))*time.Second)
	case 3:
		g.Before = []string{"web"}
	case 4:
		g.Waiting = []string{"db"}
	}
	return g
})
