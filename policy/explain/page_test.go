package explain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// noon is the time of all pages, 14:00 in Rome; the log is 10 days old.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func today(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-07-01 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// write writes settings on a server, by key and text.
func write(s *explain.Server, source policy.Source, keysAndTexts ...string) {
	written := make(map[string]string)
	for i := 0; i < len(keysAndTexts); i += 2 {
		written[keysAndTexts[i]] = keysAndTexts[i+1]
	}
	s.Facts.Settings, s.Sources, s.Facts.Bad = policy.Parse(policy.Layer{Source: source, Written: written})
}

// sleeping makes a server one that sleeps since 11:00.
func sleeping(s *explain.Server, because policy.Because, last explain.Change) {
	s.Facts.Replicas, s.Facts.Ready, s.Facts.Ours = 0, 0, true
	s.Facts.Because, s.Facts.AsleepSince = because, today("11:00:00")
	s.Last = last
	s.Last.At = today("11:00:00")
}

// page is that of a server that was made at 09:00 and last used at 11:40, after a change.
func page(change func(s *explain.Server)) string {
	s := explain.Server{Name: "team-a/alpha", Status: policy.StatusRunning, Facts: &policy.Facts{
		Settings: policy.Defaults(30 * time.Minute),
		Replicas: 2, Ready: 2, Created: today("09:00:00"), ReadySince: today("09:00:05"),
		Use:      activity.Use{Last: activity.Stamp{Sequence: 1, Time: today("11:40:00")}},
		Coverage: activity.Coverage{CompleteSince: noon.AddDate(0, 0, -10)},
	}}
	change(&s)
	s.Facts.Seen = s.Facts.Use.Last
	if s.Facts.Replicas == 0 {
		s.Status = policy.StatusStopped
	}
	s.Decision = policy.Rules{MinAwake: time.Minute, StartDeadline: 10 * time.Minute}.Decide(s.Facts, noon)
	return explain.Page(s, noon)
}

// A page says what a person would say who knows all about a server, and leaves out what there is
// not.
func TestPage(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(s *explain.Server)
		want   string
	}{
		{"used", func(s *explain.Server) {}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:10:00 UTC (in 10m): unused for 20m, its idle-after is 30m. A ping or a lease restarts its idle clock.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.`},
		{"never used", func(s *explain.Server) {
			s.Facts.Use = activity.Use{}
			write(s, policy.FromServer, "idle-after", "4h", "wake-replicas", "2")
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 13:00:05 UTC (in 1h): unused for 2h59m, its idle-after is 4h. A ping or a lease restarts its idle clock.
Nobody has ever used it, as far as the activity log goes back. Its idle clock runs since 09:00:05 UTC (2h59m ago), when its first replica got ready.
Settings: idle-after: 4h (annotation), wake-replicas: 2 (annotation).`},
		{"keep warm", func(s *explain.Server) {
			write(s, policy.FromNamespace, "keep-warm", "0 9 * * MON-FRI for 9h", "time-zone", "Europe/Rome", "sleep-at", "0 22 * * *")
			s.Facts.AwakeSince = today("07:00:00")
			s.Last = explain.Change{Type: "woken", To: 2, At: today("07:00:00"), Cause: policy.CauseKeepWarm}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 18:00:00 Europe/Rome (in 4h): it is kept warm. After that, it sleeps as soon as it is unused for 30m.
It was last used at 13:40:00 Europe/Rome (20m ago). Its idle clock runs since then.
It is kept warm again from Thu 2026-07-02 09:00:00 Europe/Rome.
Its sleep-at comes next at 22:00:00 Europe/Rome (in 8h).
Its last change was at 09:00:00 Europe/Rome (5h ago): woken, 0 → 2 replicas, to be kept warm.
Settings: keep-warm: 0 9 * * MON-FRI for 9h (namespace), sleep-at: 0 22 * * * (namespace), time-zone: Europe/Rome (namespace).`},
		{"lease", func(s *explain.Server) {
			for i := range 7 {
				s.Leases = append(s.Leases, activity.Lease{Holder: fmt.Sprint("gw-", i), Until: today("12:05:00")})
			}
			s.Facts.Use.LeaseUntil = today("12:05:00")
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:05:00 UTC (in 5m): a lease on it is live. After that, it sleeps as soon as it is unused for 30m.
It was last used at 11:40:00 UTC (20m ago).
Leases: gw-0 until 12:05:00 UTC (in 5m), gw-1 until 12:05:00 UTC (in 5m), gw-2 until 12:05:00 UTC (in 5m), gw-3 until 12:05:00 UTC (in 5m), gw-4 until 12:05:00 UTC (in 5m) and 2 more.`},
		{"idle", func(s *explain.Server) { s.Facts.Use.Last.Time = today("10:00:00") }, `
team-a/alpha is running with 2 replicas.
It sleeps at the next sweep: unused for 2h, its idle-after is 30m. A ping or a lease before that keeps it awake.
It was last used at 10:00:00 UTC (2h ago). Its idle clock runs since then.`},
		{"asleep", func(s *explain.Server) {
			sleeping(s, policy.BecauseIdle, explain.Change{Type: "slept", From: 2, Text: "unused for 30m, its idle-after is 30m"})
		}, `
team-a/alpha is asleep since 11:00:00 UTC (1h ago): unused for 30m, its idle-after is 30m.
A ping, a lease or a start command wakes it.
It was last used at 11:40:00 UTC (20m ago).`},
		{"stopped", func(s *explain.Server) {
			sleeping(s, policy.BecauseCommand, explain.Change{Type: "slept", From: 2, Cause: policy.CauseCommand, Actor: "ann", Reason: "too loud"})
			s.Facts.Paused = policy.Pause{Scope: "all servers", Since: today("11:30:00"), Actor: "bob"}
		}, `
team-a/alpha is stopped since 11:00:00 UTC (1h ago), by a command of "ann" ("too loud").
A start or scale command, or a hold awake, wakes it.
It was last used at 11:40:00 UTC (20m ago).
There is a pause of all servers by "bob" since 11:30:00 UTC (30m ago): once it is awake, it is not put to sleep.`},
		{"not ours", func(s *explain.Server) {
			sleeping(s, "", explain.Change{})
			s.Facts.Ours, s.Writer, s.Facts.AsleepSince, s.Last = false, "kubectl", time.Time{}, explain.Change{}
		}, `
team-a/alpha is at zero, set by somebody with kubectl (field manager "kubectl").
A start command wakes it.
It was last used at 11:40:00 UTC (20m ago).`},
		{"held", func(s *explain.Server) {
			s.Facts.Hold = policy.Hold{Since: today("11:00:00"), Until: today("18:00:00"), Actor: "ann", Reason: "demo"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 18:00:00 UTC (in 6h): held awake by "ann" ("demo"). A release, a stop or a hold asleep ends that.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.
The hold was ordered at 11:00:00 UTC (1h ago).`},
		{"held, paused", func(s *explain.Server) {
			s.Facts.Hold = policy.Hold{Asleep: true, Since: today("11:00:00"), Until: today("18:00:00"), Actor: "ann"}
			s.Facts.Paused = policy.Pause{Scope: "the namespace team-a", Since: today("11:30:00"), Reason: "audit"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake: there is a pause of the namespace team-a ("audit") since 11:30:00 UTC; resume ends it.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.
It is held asleep until 18:00:00 UTC (in 6h) by "ann", ordered at 11:00:00 UTC (1h ago); that does not count now.`},
		{"group", func(s *explain.Server) {
			write(s, policy.FromServer, "group", "shop", "after", "db, cache")
			s.Mates = []explain.Mate{{Name: "cache"}, {Name: "db", Awake: true}}
			s.Facts.Use.Last.Time = today("10:00:00")
			s.Facts.Group = policy.Group{Wanted: "db", Why: policy.Leased}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake with its group shop: db has to be awake (a lease). The group sleeps when none of it is in use.
It was last used at 10:00:00 UTC (2h ago). Its idle clock runs since then.
It is in the group shop with cache (at zero) and db (awake), and wakes after db and cache.
Settings: after: db, cache (annotation), group: shop (annotation).`},
		{"contended", func(s *explain.Server) {
			s.Facts.Reverts = policy.Reverts{Count: 2, Writer: "argocd-controller", Since: today("10:00:00")}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake: Argo CD (field manager "argocd-controller") has woken it 2 times in a row since 2026-07-01T10:00:00Z, each time after it was put to sleep and without anybody asking for it; in its Application, set ignoreDifferences with managedFieldsManagers: [idle-scaler] (or jsonPointers: [/spec/replicas]) for this Deployment AND the sync option RespectIgnoreDifferences=true; or take spec.replicas out of the manifest in Git. A command or a changed setting lets it sleep again.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.`},
		{"reverted once", func(s *explain.Server) {
			s.Facts.Reverts = policy.Reverts{Count: 1, Writer: "kubectl", Since: today("10:00:00")}
			s.Last = explain.Change{Type: "woken", To: 2, At: today("11:50:00"), Cause: policy.CauseExternal, Actor: "kubectl"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:10:00 UTC (in 10m): unused for 20m, its idle-after is 30m. A ping or a lease restarts its idle clock.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.
It was woken at 10:00:00 UTC (2h ago) by somebody with kubectl (field manager "kubectl"), after it was put to sleep and without anybody asking for it. After 2 times in a row it is not put to sleep any more. What to do: to keep it awake use idle-scaler hold --awake-until 2h NAME, or the annotation idle-scaler/paused: true.
Its last change was at 11:50:00 UTC (10m ago): woken, 0 → 2 replicas, by somebody with kubectl (field manager "kubectl").`},
		{"bad", func(s *explain.Server) { write(s, policy.FromServer, "idle-after", "soon") }, `
team-a/alpha is running with 2 replicas.
It is left as it is: its settings can't be read: idle-after "soon": not a duration: write it like "30m", "1h30m" or "never". Correct that, and the other rules count again.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.`},
		{"dry run", func(s *explain.Server) {
			s.Facts.Use.Last.Time = today("10:00:00")
			write(s, policy.FromConfig, "dry-run", "true")
		}, `
team-a/alpha is running with 2 replicas.
It would sleep without dry-run: unused for 2h, its idle-after is 30m. Remove the setting dry-run to let it sleep.
It was last used at 10:00:00 UTC (2h ago). Its idle clock runs since then.
Settings: dry-run: true (configuration).`},
		{"failed", func(s *explain.Server) {
			s.Status, s.Failure, s.Facts.Ready = policy.StatusFailed, "ImagePullBackOff: no such image", 0
		}, `
team-a/alpha has failed: ImagePullBackOff: no such image.
It stays awake until 12:10:00 UTC (in 10m): unused for 20m, its idle-after is 30m. A ping or a lease restarts its idle clock.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.`},
		{"starting", func(s *explain.Server) {
			s.Status, s.Facts.Ready, s.Facts.ReadySince = policy.StatusPending, 0, time.Time{}
			s.Facts.AwakeSince, s.Facts.StartingAt = today("11:59:50"), today("11:59:50")
		}, `
team-a/alpha is pending, none of 2 replicas ready.
It stays awake until 12:09:50 UTC (in 9m50s): it is pending; after that it counts as failed. Once it is ready, it sleeps as soon as it is unused for 30m.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since 11:59:50 UTC (10s ago), when it was last woken or asked for.`},
		{"blind", func(s *explain.Server) { s.Facts.Coverage.Blind = "NATS is away" }, `
team-a/alpha is running with 2 replicas.
It stays awake: NATS is away. Nothing is put to sleep while silence proves nothing.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.`},
		{"never", func(s *explain.Server) { write(s, policy.FromServer, "idle-after", "never") }, `
team-a/alpha is running with 2 replicas.
It stays awake: its idle-after is never. Only an order puts it to sleep, or another idle-after.
It was last used at 11:40:00 UTC (20m ago).
Settings: idle-after: never (annotation).`},
		{"scaled by KEDA", func(s *explain.Server) { s.Facts.Rival = policy.KEDA; s.Facts.Bad = errors.New("x\ny") }, `
team-a/alpha is running with 2 replicas.
It is left as it is: its settings can't be read: x; y. Correct that, and the other rules count again.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.
It is scaled by a ScaledObject of KEDA too: KEDA scales to zero by itself: delete the ScaledObject, or set the annotation idle-scaler/idle-after: never.`},
		{"marks gone", func(s *explain.Server) {
			sleeping(s, "", explain.Change{})
			s.Facts.AsleepSince, s.Last = time.Time{}, explain.Change{}
		}, `
team-a/alpha is asleep; why is not known, because its marks are gone.
A ping, a lease or a start command wakes it.
It was last used at 11:40:00 UTC (20m ago).`},
		{"scaling", func(s *explain.Server) { s.Status, s.Facts.Ready = policy.StatusScaling, 1 }, `
team-a/alpha is scaling, 1 of 2 replicas ready.
It stays awake until 12:10:00 UTC (in 10m): unused for 20m, its idle-after is 30m. A ping or a lease restarts its idle clock.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.`},
		{"deaf", func(s *explain.Server) {
			tracker := activity.NewTracker(0)
			tracker.CaughtUp(activity.Log{CompleteSince: noon.AddDate(0, 0, -10)}, today("11:00:00"))
			tracker.Lost("NATS is away", today("11:45:00"))
			tracker.CaughtUp(activity.Log{CompleteSince: noon.AddDate(0, 0, -10)}, today("11:50:00"))
			s.Facts.Coverage = tracker.Coverage(noon)
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:15:00 UTC (in 15m): unused for 15m, its idle-after is 30m. A ping or a lease restarts its idle clock.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then; 5m of that does not count, because the activity log was not complete.`},
		{"asleep, with a window", func(s *explain.Server) {
			write(s, policy.FromServer, "keep-warm", "0 22 * * * for 1h", "wake-on-activity", "false", "group", "solo")
			sleeping(s, policy.BecauseSchedule, explain.Change{Type: "slept", From: 1, Text: "its sleep-at was due, unused for 3m"})
			s.Facts.Bad = nil
			s.Facts.Group.Bad = "after names db, which is not there"
		}, `
team-a/alpha is asleep since 11:00:00 UTC (1h ago): its sleep-at was due, unused for 3m.
A start command wakes it, and no ping, because its setting wake-on-activity is false; keep-warm wakes it at 22:00:00 UTC (in 10h).
The order of its group can't be kept: after names db, which is not there.
It was last used at 11:40:00 UTC (20m ago).
It is alone in its group solo.
Settings: group: solo (annotation), keep-warm: 0 22 * * * for 1h (annotation), wake-on-activity: false (annotation).`},
		{"held asleep", func(s *explain.Server) {
			sleeping(s, policy.BecauseHold, explain.Change{Type: "slept", From: 2, Cause: policy.CauseCommand, Actor: "ann", Reason: "maintenance"})
			s.Facts.Hold = policy.Hold{Asleep: true, Since: today("11:00:00"), Until: today("18:00:00"), Actor: "ann", Reason: "maintenance"}
		}, `
team-a/alpha is held asleep since 11:00:00 UTC (1h ago).
It stays at zero until 18:00:00 UTC (in 6h): held asleep by "ann" ("maintenance"). A release, a start or a hold awake ends that.
It was last used at 11:40:00 UTC (20m ago).`},
		{"stopped while it was asleep", func(s *explain.Server) {
			sleeping(s, policy.BecauseCommand, explain.Change{Type: "unchanged", Cause: policy.CauseCommand, Actor: "ann"})
			s.Facts.AsleepSince = today("10:59:59") // by the clock of the log
		}, `
team-a/alpha is stopped since 10:59:59 UTC (1h ago), by a command.
A start or scale command, or a hold awake, wakes it.
It was last used at 11:40:00 UTC (20m ago).
Its last change was at 11:00:00 UTC (1h ago): unchanged, by a command of "ann".`},
		{"started, waiting", func(s *explain.Server) {
			write(s, policy.FromServer, "group", "shop", "after", "db")
			sleeping(s, policy.BecauseAfter, explain.Change{Type: "unchanged", Cause: policy.CauseCommand, Actor: "ann"})
			s.Mates = []explain.Mate{{Name: "db", Awake: true}}
			s.Facts.Group.Waiting = []string{"db"}
		}, `
team-a/alpha is at zero, and about to wake: a command has started it.
It wakes as soon as db is ready.
It was last used at 11:40:00 UTC (20m ago).
It is in the group shop with db (awake), and wakes after db.
Its last change was at 11:00:00 UTC (1h ago): unchanged, by a command of "ann".
Settings: after: db (annotation), group: shop (annotation).`},
		{"released", func(s *explain.Server) {
			s.Facts.AwakeSince = today("11:00:00")
			s.Last = explain.Change{Type: "unchanged", From: 2, To: 2, At: today("11:30:00"), Cause: policy.CauseCommand, Actor: "ann", Reason: "demo over", Text: "this ends that it was held"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:10:00 UTC (in 10m): unused for 20m, its idle-after is 30m. A ping or a lease restarts its idle clock.
It was last used at 11:40:00 UTC (20m ago). Its idle clock runs since then.
Its last change was at 11:30:00 UTC (30m ago): unchanged, 2 replicas, by a command of "ann" ("demo over"): this ends that it was held.`},
	} {
		if got := page(row.change); got != strings.TrimSpace(row.want) {
			t.Errorf("%s: got\n%s\n\nwant\n%s", row.name, got, row.want)
		}
	}
}
