package scaler

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
)

// noon is when everything is told, 14:00 in Rome; the log is 10 days old.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func today(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-07-01 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// settings is what is written on a server, by key and text.
func (v *View) write(source policy.Source, keysAndTexts ...string) {
	written := make(map[string]string)
	for i := 0; i < len(keysAndTexts); i += 2 {
		written[keysAndTexts[i]] = keysAndTexts[i+1]
	}
	s := v.Server
	s.Settings, s.Sources, s.Bad = policy.Parse(policy.Layer{Source: source, Written: written})
	v.Facts.Settings, v.Facts.Bad = s.Settings, s.Bad
}

// sleeping makes a view one of a server that sleeps since 11:00.
func (v *View) sleeping(because policy.Because, last Event) {
	v.Server.Replicas, v.Server.Ready, v.Server.Ours = 0, 0, true
	last.At, last.ID = today("11:00:00"), "e"
	v.Server.Mark = Mark{Restore: 2, Because: because, Asleep: today("11:00:00"), Last: last}
}

// told is how a server is told about that was made at 09:00 and last used at 11:40, after something was done to that.
func told(change func(v *View)) string {
	v := View{
		At: noon, Status: StatusRunning,
		Server: &Server{ID: alpha, Replicas: 2, Ready: 2, Created: today("09:00:00"), Settings: policy.Defaults(idleAfter)},
		Facts: policy.Facts{
			Ready: 2, ReadySince: today("09:00:05"), Use: activity.Use{Last: activity.Stamp{Sequence: 1, Time: today("11:40:00")}},
			Sight: activity.Sight{Born: noon.AddDate(0, 0, -10)},
		},
	}
	v.Facts.Settings = v.Server.Settings
	change(&v)
	s, f := v.Server, &v.Facts
	f.Replicas, f.Ready, f.Created, f.Ours = s.Replicas, s.Ready, s.Created, s.Ours
	f.Because, f.AsleepSince, f.AwakeSince, f.Hold, f.Reverts = s.Mark.Because, s.Mark.Asleep, s.Mark.Awake, s.Mark.Hold, s.Mark.Reverts
	f.Seen = f.Use.Last
	if s.Replicas == 0 {
		v.Status = StatusStopped
	}
	v.Decision = policy.Rules{MinAwake: time.Minute, StartDeadline: 10 * time.Minute}.Decide(f, noon)
	return v.Tell(noon)
}

// What is told of a server is what a person would say who knows all about it, and nothing of what there is not.
func TestTell(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(v *View)
		want   string
	}{
		{"used", func(v *View) {}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:10 UTC (in 10m): unused for 20m of its idle-after of 30m. A ping or a lease starts that time anew.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.`},
		{"never used", func(v *View) {
			v.Facts.Use = activity.Use{}
			v.write(policy.FromServer, "idle-after", "4h", "wake-replicas", "2")
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 13:00:05 UTC (in 1h): unused for 2h59m of its idle-after of 4h. A ping or a lease starts that time anew.
Nobody has ever used it, as far as the activity log goes back. Its idle clock runs since 09:00:05 UTC (2h59m ago), when its first replica got ready.
Settings: idle-after: 4h (annotation), wake-replicas: 2 (annotation).`},
		{"keep warm", func(v *View) {
			v.write(policy.FromNamespace, "keep-warm", "0 9 * * MON-FRI for 9h", "time-zone", "Europe/Rome", "sleep-at", "0 22 * * *")
			v.Server.Mark.Awake = today("07:00:00")
			v.Server.Mark.Last = Event{ID: "e", Type: Woken, To: 2, At: today("07:00:00"), Cause: CauseKeepWarm}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 18:00 Europe/Rome (in 4h): it is kept warm. After that, it sleeps as soon as it is unused for 30m.
It was last used at 13:40 Europe/Rome (20m ago). Its idle clock runs since then.
It is kept warm again from Thu 2026-07-02 09:00 Europe/Rome on.
Its sleep-at is due next at 22:00 Europe/Rome (in 8h).
Its last change was at 09:00 Europe/Rome (5h ago): woken from 0 to 2 replicas, to be kept warm.
Settings: keep-warm: 0 9 * * MON-FRI for 9h (namespace), sleep-at: 0 22 * * * (namespace), time-zone: Europe/Rome (namespace).`},
		{"lease", func(v *View) {
			for i := range 7 {
				v.Leases = append(v.Leases, activity.Lease{Holder: fmt.Sprint("gw-", i), Until: today("12:05:00")})
			}
			v.Facts.Use.LeaseUntil = today("12:05:00")
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:05 UTC (in 5m): a lease on it is live. After that, it sleeps as soon as it is unused for 30m.
It was last used at 11:40 UTC (20m ago).
Leases: gw-0 until 12:05 UTC (in 5m), gw-1 until 12:05 UTC (in 5m), gw-2 until 12:05 UTC (in 5m), gw-3 until 12:05 UTC (in 5m), gw-4 until 12:05 UTC (in 5m) and 2 more.`},
		{"idle", func(v *View) { v.Facts.Use.Last.Time = today("10:00:00") }, `
team-a/alpha is running with 2 replicas.
It sleeps at the next sweep: unused for 2h, its idle-after is 30m. A ping or a lease before that keeps it awake.
It was last used at 10:00 UTC (2h ago). Its idle clock runs since then.`},
		{"asleep", func(v *View) {
			v.sleeping(policy.BecauseIdle, Event{Type: Slept, From: 2, Text: "unused for 30m, its idle-after is 30m"})
		}, `
team-a/alpha is asleep since 11:00 UTC (1h ago): unused for 30m, its idle-after is 30m.
A ping, a lease or a start command wakes it.
It was last used at 11:40 UTC (20m ago).`},
		{"stopped", func(v *View) {
			v.sleeping(policy.BecauseCommand, Event{Type: Slept, From: 2, Cause: CauseCommand, Actor: "ann", Reason: "too loud"})
			v.Facts.Paused = policy.Pause{Scope: "all servers", Since: today("11:30:00"), Actor: "bob"}
		}, `
team-a/alpha is stopped since 11:00 UTC (1h ago), by a command of "ann" ("too loud").
A start or scale command, or a hold awake, wakes it.
It was last used at 11:40 UTC (20m ago).
There is a pause of all servers by "bob", since 11:30 UTC (30m ago): once it is awake, it is not put to sleep.`},
		{"not ours", func(v *View) {
			v.sleeping("", Event{})
			v.Server.Ours, v.Server.Writer, v.Server.Mark = false, "kubectl", Mark{}
		}, `
team-a/alpha is at zero replicas, set by somebody with kubectl (field manager "kubectl").
A start command wakes it.
It was last used at 11:40 UTC (20m ago).`},
		{"held", func(v *View) {
			v.Server.Mark.Hold = policy.Hold{Since: today("11:00:00"), Until: today("18:00:00"), Actor: "ann", Reason: "demo"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 18:00 UTC (in 6h): held awake by "ann" ("demo"). A release, a stop or a hold asleep ends that.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.
The hold was ordered at 11:00 UTC (1h ago).`},
		{"held, paused", func(v *View) {
			v.Server.Mark.Hold = policy.Hold{Asleep: true, Since: today("11:00:00"), Until: today("18:00:00"), Actor: "ann"}
			v.Facts.Paused = policy.Pause{Scope: "the namespace team-a", Since: today("11:30:00"), Reason: "audit"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake: there is a pause of the namespace team-a since 11:30 UTC ("audit"); resume ends it.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.
It is held asleep until 18:00 UTC (in 6h) by "ann", ordered at 11:00 UTC (1h ago); that does not count now.`},
		{"group", func(v *View) {
			v.write(policy.FromServer, "group", "shop", "after", "db, cache")
			v.Mates = []*Server{{ID: ID{Namespace: "team-a", Name: "cache"}}, {ID: ID{Namespace: "team-a", Name: "db"}, Replicas: 1}}
			v.Facts.Use.Last.Time = today("10:00:00")
			v.Facts.Group = policy.Group{Wanted: "db", Why: policy.Leased}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake with its group shop: db has to be awake (a lease). The group sleeps when none of it is in use.
It was last used at 10:00 UTC (2h ago). Its idle clock runs since then.
It is in the group shop with cache (at zero) and db (awake), and wakes after db and cache.
Settings: after: db, cache (annotation), group: shop (annotation).`},
		{"contended", func(v *View) {
			v.Server.Mark.Reverts = policy.Reverts{Count: 2, Writer: "argocd-controller", Since: today("10:00:00")}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake: Argo CD (field manager "argocd-controller") has woken it 2 times in a row since 2026-07-01T10:00:00Z, each time after it was put to sleep and without anybody asking for it; in its Application, set ignoreDifferences with managedFieldsManagers: [idle-scaler] (or jsonPointers: [/spec/replicas]) for this Deployment AND the sync option RespectIgnoreDifferences=true; or take spec.replicas out of the manifest in Git. A command or a changed setting lets it sleep again.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.`},
		{"reverted once", func(v *View) {
			v.Server.Mark.Reverts = policy.Reverts{Count: 1, Writer: "kubectl", Since: today("10:00:00")}
			v.Server.Mark.Last = Event{ID: "e", Type: Woken, To: 2, At: today("11:50:00"), Cause: CauseExternal, Actor: "kubectl"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:10 UTC (in 10m): unused for 20m of its idle-after of 30m. A ping or a lease starts that time anew.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.
It was woken at 10:00 UTC (2h ago) by somebody with kubectl (field manager "kubectl"), after it was put to sleep and without anybody asking for it. After 2 times in a row it is not put to sleep any more. What to do: who wants it awake says so to idle-scaler: idle-scaler hold --awake-until 2h NAME, or the annotation idle-scaler/paused: true.
Its last change was at 11:50 UTC (10m ago): woken from 0 to 2 replicas, by somebody with kubectl (field manager "kubectl").`},
		{"bad", func(v *View) { v.write(policy.FromServer, "idle-after", "soon") }, `
team-a/alpha is running with 2 replicas.
It is left as it is: its settings can't be read: idle-after "soon": not a duration: write it like "30m", "1h30m" or "never". Correct that, and the other rules count again.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.`},
		{"dry run", func(v *View) {
			v.Facts.Use.Last.Time = today("10:00:00")
			v.write(policy.FromConfig, "dry-run", "true")
		}, `
team-a/alpha is running with 2 replicas.
It would sleep, but for dry-run: unused for 2h, its idle-after is 30m. Take the setting dry-run away to let it.
It was last used at 10:00 UTC (2h ago). Its idle clock runs since then.
Settings: dry-run: true (configuration).`},
		{"failed", func(v *View) {
			v.Status, v.Why, v.Server.Ready = StatusFailed, "ImagePullBackOff: no such image", 0
		}, `
team-a/alpha has failed: ImagePullBackOff: no such image.
It stays awake until 12:10 UTC (in 10m): unused for 20m of its idle-after of 30m. A ping or a lease starts that time anew.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.`},
		{"starting", func(v *View) {
			v.Status, v.Server.Ready, v.Facts.ReadySince = StatusPending, 0, time.Time{}
			v.Server.Mark.Awake, v.Facts.StartingAt = today("11:59:50"), today("11:59:50")
		}, `
team-a/alpha is starting, with none of 2 replicas ready yet.
It stays awake until 12:09:50 UTC (in 9m50s): it is starting; if it gets late, it counts as failed. Once it is ready, it sleeps as soon as it is unused for 30m.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since 11:59:50 UTC (10s ago), when it was last woken or asked for.`},
		{"blind", func(v *View) { v.Facts.Sight.Blind = "NATS is away" }, `
team-a/alpha is running with 2 replicas.
It stays awake: NATS is away. Nothing is put to sleep while silence proves nothing.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.`},
		{"never", func(v *View) { v.write(policy.FromServer, "idle-after", "never") }, `
team-a/alpha is running with 2 replicas.
It stays awake: its idle-after is never. Only an order puts it to sleep, or another idle-after.
It was last used at 11:40 UTC (20m ago).
Settings: idle-after: never (annotation).`},
		{"scaled by KEDA", func(v *View) { v.Facts.Rival = policy.KEDA; v.Facts.Bad = errors.New("x\ny") }, `
team-a/alpha is running with 2 replicas.
It is left as it is: its settings can't be read: x; y. Correct that, and the other rules count again.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.
It is scaled by a ScaledObject of KEDA too: KEDA scales to zero by itself: delete the ScaledObject, or set the annotation idle-scaler/idle-after: never.`},
		{"marks gone", func(v *View) { v.sleeping("", Event{}); v.Server.Mark = Mark{} }, `
team-a/alpha is asleep; why is not known, its marks are gone.
A ping, a lease or a start command wakes it.
It was last used at 11:40 UTC (20m ago).`},
		{"scaling", func(v *View) { v.Status, v.Server.Ready = StatusScaling, 1 }, `
team-a/alpha is running with 1 of 2 replicas ready.
It stays awake until 12:10 UTC (in 10m): unused for 20m of its idle-after of 30m. A ping or a lease starts that time anew.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.`},
		{"deaf", func(v *View) {
			tracker := activity.NewTracker(0)
			tracker.Hear(activity.Log{Born: noon.AddDate(0, 0, -10)}, today("11:00:00"))
			tracker.Deaf("NATS is away", today("11:45:00"))
			tracker.Hear(activity.Log{Born: noon.AddDate(0, 0, -10)}, today("11:50:00"))
			v.Facts.Sight = tracker.Sight(noon)
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:15 UTC (in 15m): unused for 15m of its idle-after of 30m. A ping or a lease starts that time anew.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then; 5m of that does not count, because the activity log could not be heard.`},
		{"asleep, with a window", func(v *View) {
			v.write(policy.FromServer, "keep-warm", "0 22 * * * for 1h", "wake-on-activity", "false", "group", "solo")
			v.sleeping(policy.BecauseSchedule, Event{Type: Slept, From: 1, Text: "its sleep-at was due, unused for 3m"})
			v.Facts.Bad = nil
			v.Facts.Group.Bad = "after names db, which is not there"
		}, `
team-a/alpha is asleep since 11:00 UTC (1h ago): its sleep-at was due, unused for 3m.
A start command wakes it, and no ping: its setting wake-on-activity says so, and so does keep-warm at 22:00 UTC (in 10h).
The order of its group can't be kept: after names db, which is not there.
It was last used at 11:40 UTC (20m ago).
It is alone in its group solo.
Settings: group: solo (annotation), keep-warm: 0 22 * * * for 1h (annotation), wake-on-activity: false (annotation).`},
		{"held asleep", func(v *View) {
			v.sleeping(policy.BecauseHold, Event{Type: Slept, From: 2, Cause: CauseCommand, Actor: "ann", Reason: "maintenance"})
			v.Server.Mark.Hold = policy.Hold{Asleep: true, Since: today("11:00:00"), Until: today("18:00:00"), Actor: "ann", Reason: "maintenance"}
		}, `
team-a/alpha is held asleep since 11:00 UTC (1h ago).
It stays at zero until 18:00 UTC (in 6h): held asleep by "ann" ("maintenance"). A release, a start or a hold awake ends that.
It was last used at 11:40 UTC (20m ago).`},
		{"stopped while it was asleep", func(v *View) {
			v.sleeping(policy.BecauseCommand, Event{Type: Unchanged, Cause: CauseCommand, Actor: "ann"})
			v.Server.Mark.Asleep = today("10:59:59") // by the clock of the log
		}, `
team-a/alpha is stopped since 10:59:59 UTC (1h ago), by a command.
A start or scale command, or a hold awake, wakes it.
It was last used at 11:40 UTC (20m ago).
Its last change was at 11:00 UTC (1h ago): left at 0 replicas, by a command of "ann".`},
		{"started, waiting", func(v *View) {
			v.write(policy.FromServer, "group", "shop", "after", "db")
			v.sleeping(policy.BecauseAfter, Event{Type: Unchanged, Cause: CauseCommand, Actor: "ann"})
			v.Mates = []*Server{{ID: ID{Namespace: "team-a", Name: "db"}, Replicas: 1}}
			v.Facts.Group.Waiting = []string{"db"}
		}, `
team-a/alpha is at zero replicas, and about to wake: a command has started it.
It wakes as soon as db is ready.
It was last used at 11:40 UTC (20m ago).
It is in the group shop with db (awake), and wakes after db.
Its last change was at 11:00 UTC (1h ago): left at 0 replicas, by a command of "ann".
Settings: after: db (annotation), group: shop (annotation).`},
		{"released", func(v *View) {
			v.Server.Mark.Awake = today("11:00:00")
			v.Server.Mark.Last = Event{ID: "e", Type: Unchanged, From: 2, To: 2, At: today("11:30:00"), Cause: CauseCommand, Actor: "ann", Reason: "demo over", Text: "this ends that it was held"}
		}, `
team-a/alpha is running with 2 replicas.
It stays awake until 12:10 UTC (in 10m): unused for 20m of its idle-after of 30m. A ping or a lease starts that time anew.
It was last used at 11:40 UTC (20m ago). Its idle clock runs since then.
Its last change was at 11:30 UTC (30m ago): left at 2 replicas, by a command of "ann" ("demo over"): this ends that it was held.`},
	} {
		if got := told(row.change); got != strings.TrimSpace(row.want) {
			t.Errorf("%s: got\n%s\n\nwant\n%s", row.name, got, row.want)
		}
	}
}
