package policy_test

import (
	"testing"
	"time"

	"idle-scaler/activity"
	. "idle-scaler/policy"
)

// awakeRules are the rules for a server that is awake, in their order.
var awakeRules = []row{
	{"its settings can't be read", unreadable, Keep, Unreadable, ""},
	{"the order of its group can't be kept", disordered, Keep, Unreadable, ""},
	{"its setting `paused` is `true`", paused, Keep, Paused, ""},
	{"somebody paused it, its namespace, or all", pausedBy("all servers"), Keep, Paused, ""},
	{"somebody holds it awake", held(false, "18:00:00"), Keep, Held, "18:00:00"},
	{"somebody else has woken it twice in a row, and nobody had asked for it", reverted(2, "argocd-controller"), Keep, Contended, ""},
	{"KEDA scales it", autoscaled, Keep, Autoscaled, ""},
	{"somebody holds it asleep", held(true, "14:00:00"), Sleep, HeldAsleep, "14:00:00"},
	{"the daemon can't read the activity log, or the log never held a ping", lost, Keep, Blind, ""},
	{"the daemon can read the activity log again, for less than `--settle`", settling, Keep, Blind, "12:01:30"},
	{"the activity log is younger than `idle-after`", youngLog, Keep, Blind, "12:15:00"},
	{"a lease on it is live", leased("09:00:00", "12:05:00"), Keep, Leased, "12:05:00"},
	{"a `keep-warm` window is open", keepWarm("0 9 * * * for 9h"), Keep, KeepWarm, "18:00:00"},
	{"it is starting, for less than `--start-deadline`", together(unready, woken("11:55:00")), Keep, Starting, "12:05:00"},
	{"a rollout is under way", rollingOut, Keep, RollingOut, ""},
	{"it was woken less than `--min-awake` ago", woken("11:59:30"), Keep, MinAwake, "12:00:30"},
	{"a `sleep-at` has come since its last use", sleepAt("45 59 11 * * *"), Sleep, SleepAt, ""},
	{"it has been unused for `idle-after` or longer", pinged("11:00:00"), Sleep, Idle, ""},
	{"none of these", pinged("11:40:00"), Keep, Awake, "12:10:00"},
}

// sleepRules are the rules for a server that would sleep by sleep-at or idle, in their order.
var sleepRules = []row{
	{"another of its `group` has to be awake", grouped, Keep, Grouped, ""},
	{"one that comes `after` it is still awake", before("web"), Keep, Ordered, ""},
	{"its setting `dry-run` is `true`", together(dryRun, notice("")), WouldSleep, Idle, ""},
	{"it has a `sleep-notice`, and no notice was published yet", notice(""), Notify, Idle, ""},
	{"its notice was published less than `sleep-notice` ago", notice("11:59:50"), Keep, Noticing, "12:00:20"},
	{"none of these", nothing, Sleep, Idle, ""},
}

// The first rule that holds decides about a server that is awake; it sleeps only when no doubt is left.
func TestDecideAwake(t *testing.T) {
	checkOrder(t, running, awakeRules)
	// "never" does away with two of the rules, and beats what is left of those below it.
	checkOrder(t, running, []row{
		{"woken a moment ago", woken("11:59:30"), Keep, MinAwake, "12:00:30"},
		{"never, and the log is young", together(never, func(f *Facts) { f.Coverage.CompleteSince = at("12:01:00") }), Keep, Awake, ""},
		{"used recently, never", together(never, pinged("11:40:00")), Keep, Awake, ""},
		{"unused, never", never, Keep, Awake, ""},
	})
}

// The same rules delay every sleep, whatever its reason. They change nothing for a server that
// stays awake anyway, and nothing for a hold asleep.
func TestDecideSleep(t *testing.T) {
	checkOrder(t, running, sleepRules)
	bySchedule := func(facts ...fact) *Facts { return running(append(facts, sleepAt("45 11 * * *"))...) }
	var rows []row
	for _, r := range sleepRules {
		if r.reason == Idle {
			r.reason = SleepAt
		}
		rows = append(rows, r)
	}
	checkOrder(t, bySchedule, rows)
	for _, rule := range awakeRules {
		if rule.reason == Idle || rule.reason == SleepAt || rule.reason == Awake {
			continue
		}
		for _, r := range sleepRules {
			rule.check(t, rule.name+" and "+r.name, running(r.fact, rule.fact))
		}
	}
}

// awakeEdges are the instants at which rules begin and end, and facts that only look like one.
var awakeEdges = []row{
	{"the log is exactly as old as `idle-after`", func(f *Facts) { f.Coverage.CompleteSince = at("11:30:00") }, Sleep, Idle, ""},
	{"a hold awake ends now", held(false, "12:00:00"), Sleep, Idle, ""},
	{"a hold asleep ends now", together(held(true, "12:00:00"), pinged("11:40:00")), Keep, Awake, "12:10:00"},
	{"somebody else has woken it once", reverted(1, "kubectl"), Sleep, Idle, ""},
	{"somebody else has woken it twice, and a setting has changed since", together(reverted(2, "kubectl"), func(f *Facts) { f.Settings.Digest = "changed" }), Sleep, Idle, ""},
	{"a lease ends now", leased("09:00:00", "12:00:00"), Keep, Awake, "12:30:00"},
	{"a lease ended `idle-after` ago", leased("09:00:00", "11:30:00"), Sleep, Idle, ""},
	{"a window opens now", keepWarm("0 12 * * * for 1h"), Keep, KeepWarm, "13:00:00"},
	{"a window closes now", keepWarm("0 11 * * * for 1h"), Sleep, Idle, "2026-07-02 11:00:00"},
	{"a window closes now, and the next opens", keepWarm("0 11 * * * for 1h; 0 12 * * * for 30m"), Keep, KeepWarm, "12:30:00"},
	{"a window opens before it would sleep", together(keepWarm("5 12 * * * for 1h"), pinged("11:40:00")), Keep, Awake, "12:05:00"},
	{"a window opens while it starts", together(keepWarm("2 12 * * * for 1h"), unready, woken("11:55:00")), Keep, Starting, "12:02:00"},
	{"a window opens before `--min-awake` is over", together(keepWarm("0 12 2 * * for 1h"), woken("11:59:30")), Keep, MinAwake, "12:00:30"},
	{"a window opens during a rollout", together(keepWarm("2 12 * * * for 1h"), rollingOut), Keep, RollingOut, "12:02:00"},
	{"not ready within `--start-deadline`: failed, no longer starting", together(unready, woken("11:50:00")), Keep, Awake, "12:20:00"},
	{"failed and unused", together(unready, woken("11:30:00")), Sleep, Idle, ""},
	{"it lost its last ready replica", together(unready, func(f *Facts) { f.StartingAt = at("11:58:00") }), Keep, Starting, "12:08:00"},
	{"one replica is ready, others are not", woken("11:55:00"), Keep, Awake, "12:25:00"},
	{"woken less than `--min-awake` ago, and unused for a shorter `idle-after`", together(woken("11:59:30"), idleAfter(10*time.Second)), Keep, MinAwake, "12:00:30"},
	{"woken `--min-awake` ago", together(woken("11:59:00"), idleAfter(time.Minute)), Sleep, Idle, ""},
	{"ready since a moment ago", func(f *Facts) { f.ReadySince = at("11:59:00") }, Keep, Awake, "12:29:00"},
	{"made a moment ago by somebody else", func(f *Facts) { f.Created = at("11:59:00") }, Keep, Awake, "12:29:00"},
	{"a `sleep-at` comes now, a minute after a ping", together(sleepAt("0 12 * * *"), pinged("11:59:00")), Sleep, SleepAt, ""},
	{"a `sleep-at` comes before it is idle", together(sleepAt("5 12 * * *"), pinged("11:40:00")), Keep, Awake, "12:05:00"},
	{"a ping after a `sleep-at`", together(sleepAt("45 11 * * *"), pinged("11:50:00")), Keep, Awake, "12:20:00"},
	{"a ping at the very moment of a `sleep-at`", together(sleepAt("45 11 * * *"), pinged("11:45:00")), Keep, Awake, "12:15:00"},
	{"a lease was live at a `sleep-at`", together(sleepAt("45 11 * * *"), leased("11:40:00", "11:50:00")), Keep, Awake, "12:20:00"},
	{"a window was open at a `sleep-at`", together(sleepAt("45 11 * * *"), keepWarm("0 11 * * * for 59m")), Sleep, SleepAt, "2026-07-02 11:00:00"},
	{"woken after a `sleep-at`", together(sleepAt("45 11 * * *"), woken("11:50:00")), Keep, Awake, "12:20:00"},
	{"`idle-after` is `never`, and a `sleep-at` has come", together(never, sleepAt("45 11 * * *")), Sleep, SleepAt, ""},
	{"`idle-after` is `never`, and a `sleep-at` comes tomorrow", together(never, sleepAt("0 11 * * *")), Keep, Awake, "2026-07-02 11:00:00"},
	{"`idle-after` is `never`, and the log is younger than a `sleep-at`", together(never, sleepAt("45 11 * * *"), func(f *Facts) { f.Coverage.CompleteSince = at("11:50:00") }), Keep, Awake, "2026-07-02 11:45:00"},
	{"pinged `idle-after` ago", pinged("11:30:00"), Sleep, Idle, ""},
	{"pinged a second less ago", pinged("11:30:01"), Keep, Awake, "12:00:01"},
	{"pinged in the future, by a clock that is ahead", together(pinged("13:00:00"), sleepAt("30 12 * * *")), Keep, Awake, "13:30:00"},
	{"its replicas were last written by somebody else", notOurs, Sleep, Idle, ""},
}

// Each rule ends at the instant that its Next names. A start that is late, a lease that has ended
// and a wake long ago keep nothing awake.
func TestDecideAwakeAtTheEdges(t *testing.T) {
	for _, r := range awakeEdges {
		r.check(t, r.name, running(r.fact))
	}
}

// sleepEdges are those of groups, dry-run and notices.
var sleepEdges = []row{
	{"the others of its group will be unused at 12:20", groupedUntil("12:20:00"), Keep, Grouped, "12:20:00"},
	{"the others of its group should be unused by now, and are not", groupedUntil("11:59:00"), Keep, Grouped, ""},
	{"a window opens before the others of its group are unused", together(groupedUntil("12:20:00"), keepWarm("5 12 * * * for 1h")), Keep, Grouped, "12:05:00"},
	{"unused, and the others of its group will be in 20s: the notice is due", together(notice(""), groupedUntil("12:00:20")), Notify, Grouped, "12:00:20"},
	{"it sleeps in 20s, but others of its group only in 5 minutes", together(notice(""), pinged("11:30:20"), groupedUntil("12:05:00")), Keep, Awake, "12:00:20"},
	{"held asleep, while another of its group has to be awake", together(grouped, held(true, "14:00:00")), Sleep, HeldAsleep, "14:00:00"},
	{"held asleep, in `dry-run`", together(dryRun, held(true, "14:00:00")), Sleep, HeldAsleep, "14:00:00"},
	{"unused in `dry-run`, and a `sleep-at` comes later", together(dryRun, sleepAt("0 22 * * *")), WouldSleep, Idle, "22:00:00"},
	{"in use in `dry-run`", together(dryRun, notice(""), pinged("11:30:20")), Keep, Awake, "12:00:20"},
	{"it sleeps in 10 minutes, the notice is due 30s before", together(notice(""), pinged("11:40:00")), Keep, Awake, "12:09:30"},
	{"it sleeps in 30s: the notice is due now", together(notice(""), pinged("11:30:30")), Notify, Awake, "12:00:30"},
	{"it sleeps in 20s, and its notice was published", together(notice("11:59:55"), pinged("11:30:20")), Keep, Awake, "12:00:20"},
	{"it sleeps in 20s, but a window opens before", together(notice(""), pinged("11:30:20"), keepWarm("10 0 12 * * * for 1h")), Keep, Awake, "12:00:10"},
	{"it sleeps in 20s, but another of its group has to be awake", together(notice(""), pinged("11:30:20"), grouped), Keep, Awake, "12:00:20"},
	{"it sleeps in 20s, after another of its group", together(notice(""), pinged("11:30:20"), before("web")), Keep, Awake, "12:00:20"},
	{"a `sleep-at` comes in 20s: the notice is due", together(notice(""), pinged("11:59:00"), sleepAt("20 0 12 * * *")), Notify, Awake, "12:00:20"},
	{"its notice was published `sleep-notice` ago", notice("11:59:30"), Sleep, Idle, "12:02:00"},
	{"pinged since its notice: the sleep is off", together(notice("11:59:40"), pinged("11:59:45")), Keep, Awake, "12:29:15"},
	{"a lease on it is live since its notice: the sleep is off", together(notice("11:59:40"), leased("11:59:45", "12:05:00")), Keep, Leased, "12:05:00"},
	{"a lease came and went since its notice: the sleep is off", together(notice("11:59:40"), leased("11:59:45", "11:59:50")), Keep, Awake, "12:29:20"},
	{"its notice was published, and a window opens before it sleeps", together(notice("11:59:50"), keepWarm("10 0 12 * * * for 1h")), Keep, Noticing, "12:00:10"},
	{"its notice ended more than two minutes ago, and something else kept it awake: it gets another", notice("11:57:30"), Notify, Idle, ""},
	{"its notice ended, and something else kept it awake for less than that", notice("11:57:31"), Sleep, Idle, "12:00:01"},
	{"its notice is old, and its sleep was put off: the notice still holds for a while", together(notice("11:55:00"), pinged("11:54:00"), idleAfter(10*time.Minute), func(f *Facts) { f.Settings.SleepNotice = 5 * time.Minute }), Keep, Awake, "12:02:00"},
	{"its notice was for a sleep that an earlier ping has put off: it gets another", together(notice("11:50:00"), pinged("11:49:59"), idleAfter(10*time.Minute+10*time.Second)), Notify, Awake, "12:00:09"},
}

// A server whose sleep is delayed sleeps as soon as the reason is gone. A notice counts for one
// sleep, and a use calls it off.
func TestDecideSleepAtTheEdges(t *testing.T) {
	for _, r := range sleepEdges {
		r.check(t, r.name, running(r.fact))
	}
}

// Sleeps is when a server will be due to sleep. It is zero where something else may come before.
func TestSleeps(t *testing.T) {
	for _, r := range []struct {
		name   string
		fact   fact
		sleeps string
	}{
		{"in use", pinged("11:40:00"), "12:10:00"},
		{"never", never, ""},
		{"never, but at 22:00", together(never, sleepAt("0 22 * * *")), "22:00:00"},
		{"at 12:05, before it is idle", together(pinged("11:40:00"), sleepAt("5 12 * * *")), "12:05:00"},
		{"at 12:15, after it is idle", together(pinged("11:40:00"), sleepAt("15 12 * * *")), "12:10:00"},
		{"a window opens after that", together(pinged("11:40:00"), keepWarm("11 12 * * * for 1h")), "12:10:00"},
		{"a window opens at that very moment", together(pinged("11:40:00"), keepWarm("10 12 * * * for 1h")), ""},
		{"a window opens before", together(pinged("11:40:00"), keepWarm("5 12 * * * for 1h")), ""},
		{"leased: who knows how often it is renewed", leased("09:00:00", "12:05:00"), ""},
		{"a ping from the future, after a sleep-at", together(pinged("13:00:00"), sleepAt("30 12 * * *")), "13:30:00"},
		{"another of its group has to be awake, until when is not known", together(pinged("11:40:00"), grouped), ""},
		{"another of its group is in use for longer", together(pinged("11:40:00"), groupedUntil("12:20:00")), "12:20:00"},
		{"another of its group is in use for less", together(pinged("11:40:00"), groupedUntil("12:05:00")), "12:10:00"},
		{"never, whatever its group does", together(never, groupedUntil("12:05:00")), ""},
		{"a window opens before its group is unused", together(pinged("11:40:00"), groupedUntil("12:20:00"), keepWarm("15 12 * * * for 1h")), ""},
		{"unused, another of its group is in use", groupedUntil("12:20:00"), "12:20:00"},
		{"seen", notice("11:59:50"), "12:00:20"},
		{"seen, and a window opens before", together(notice("11:59:50"), keepWarm("10 0 12 * * * for 1h")), ""},
	} {
		if d := rules.Decide(running(r.fact), noon); r.sleeps == "" != d.Sleeps.IsZero() || r.sleeps != "" && !d.Sleeps.Equal(at(r.sleeps)) {
			t.Errorf("%s: sleeps at %v, want %q", r.name, d.Sleeps, r.sleeps)
		}
	}
}

// The idle clock starts at the latest of all signs of use, and not before the log is complete.
func TestIdleSince(t *testing.T) {
	for name, latest := range map[string]fact{
		"created":    func(f *Facts) { f.Created = at("11:11:00") },
		"ping":       func(f *Facts) { f.Use.Last.Time = at("11:11:00") },
		"lease":      func(f *Facts) { f.Use.LeaseUntil = at("11:11:00") },
		"wake":       func(f *Facts) { f.AwakeSince = at("11:11:00") },
		"ready":      func(f *Facts) { f.ReadySince = at("11:11:00") },
		"log's born": func(f *Facts) { f.Coverage.CompleteSince = at("11:11:00") },
	} {
		if since := running(latest).IdleSince(); !since.Equal(at("11:11:00")) {
			t.Errorf("%s: idle since %v, want 11:11", name, since)
		}
	}
}

// Time in which the log is not complete is not idle time: a server sleeps that much later.
func TestDecideAfterDeafness(t *testing.T) {
	tracker := activity.NewTracker(2 * time.Minute)
	tracker.CaughtUp(activity.Log{CompleteSince: at("00:00:00")}, at("01:00:00"))
	tracker.Lost("NATS is away", at("11:10:00"))
	tracker.CaughtUp(activity.Log{CompleteSince: at("00:00:00")}, at("11:50:00"))
	f := running(func(f *Facts) { f.Coverage = tracker.Coverage(noon) })
	row{action: Keep, reason: Awake, next: "12:10:00"}.check(t, "lost for 40 of 60 minutes", f)
	if d := rules.Decide(f, noon); d.Idle != 20*time.Minute {
		t.Errorf("idle for %s, want the 20 minutes that were heard", d.Idle)
	}
}
