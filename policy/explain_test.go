package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"idle-scaler/activity"
	. "idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// explainCases are what is said of servers, all at 12:00 UTC. They are also a table of
// docs/policy.md.
var explainCases = []struct {
	facts           *Facts
	sentence, short string
}{
	{running(unreadable), `left as it is: its settings can't be read: idle-after "soon": not a duration`, "unreadable"},
	{running(disordered), "stays awake: after goes in a circle: a after b after a: take one of them out", "unreadable"},
	{running(paused), "stays awake: its setting paused is true", "paused"},
	{running(pausedBy("the namespace team-a")), `stays awake: there is a pause of the namespace team-a by "ann" ("incident 7") since 11:15:00 UTC; resume ends it`, "paused"},
	{running(held(false, "18:00:00"), inRome), `stays awake until 20:00:00 Europe/Rome (in 6h): held awake by "ann" ("demo")`, "held awake until 20:00:00 Europe/Rome"},
	{running(reverted(2, "argocd-controller")), `stays awake: Argo CD (field manager "argocd-controller") has woken it 2 times in a row since 2026-07-01T10:00:00Z, each time after it was put to sleep and without anybody asking for it; in its Application, set ignoreDifferences with managedFieldsManagers: [idle-scaler] (or jsonPointers: [/spec/replicas]) for this Deployment AND the sync option RespectIgnoreDifferences=true; or take spec.replicas out of the manifest in Git. A command or a changed setting lets it sleep again`, "contended"},
	{running(autoscaled), "stays awake: a ScaledObject of KEDA scales it; KEDA scales to zero by itself: delete the ScaledObject, or set the annotation idle-scaler/idle-after: never", "autoscaled"},
	{running(held(true, "14:00:00")), `sleeps at the next sweep: held asleep by "ann" ("demo") until 14:00:00 UTC (in 2h)`, "sleeps now"},
	{running(lost), "stays awake: NATS is away", "blind"},
	{running(settling), "stays awake until 12:01:30 UTC (in 1m30s): NATS is back", "blind until 12:01:30 UTC"},
	{running(youngLog), "stays awake until 12:15:00 UTC (in 15m): the activity log begins at 11:45:00 UTC, its idle-after is 30m", "blind until 12:15:00 UTC"},
	{running(leased("09:00:00", "12:05:00")), "stays awake until 12:05:00 UTC (in 5m): a lease on it is live", "lease until 12:05:00 UTC"},
	{running(inRome, keepWarm("0 9 * * MON-FRI for 9h")), "stays awake until 18:00:00 Europe/Rome (in 4h): it is kept warm", "keep-warm until 18:00:00 Europe/Rome"},
	{running(unready, woken("11:55:00")), "stays awake until 12:05:00 UTC (in 5m): it is pending; after that it counts as failed", "fails at 12:05:00 UTC"},
	{running(rollingOut), "stays awake: a rollout is under way", "awake for a rollout"},
	{running(woken("11:59:30")), "stays awake until 12:00:30 UTC (in 30s): it was woken a moment ago", "min-awake until 12:00:30 UTC"},
	{running(sleepAt("45 11 * * *")), "sleeps at the next sweep: its sleep-at came at 11:45:00 UTC, and it was not used since", "sleeps now"},
	{running(), "sleeps at the next sweep: unused for 1h, its idle-after is 30m", "sleeps now"},
	{running(grouped), "stays awake with its group bots: db has to be awake (a lease)", "group"},
	{running(groupedUntil("12:20:00")), "stays awake with its group bots until 12:20:00 UTC (in 20m): db has to be awake (in use)", "sleeps in 20m"},
	{running(groupedUntil("12:00:20"), notice("")), "stays awake with its group bots until 12:00:20 UTC (in 20s): db has to be awake (in use); the next sweep publishes that it sleeps soon", "sleeps in 20s"},
	{running(before("web")), "sleeps after web, which is still awake", "sleeps after web"},
	{running(before("api", "web")), "sleeps after api, web, which are still awake", "sleeps after api, web"},
	{running(dryRun), "would sleep without dry-run: unused for 1h, its idle-after is 30m", "would sleep"},
	{running(dryRun, sleepAt("45 11 * * *")), "would sleep without dry-run: its sleep-at came at 11:45:00 UTC, and it was not used since", "would sleep"},
	{running(notice("")), "sleeps 30s after the next sweep, which publishes that: unused for 1h, its idle-after is 30m", "sleeps soon"},
	{running(notice("11:59:50")), "sleeps at 12:00:20 UTC (in 20s) unless a ping or a lease comes before; an event has said so", "sleeps in 20s"},
	{running(notice("11:59:50"), keepWarm("10 0 12 * * * for 1h")), "stays awake until 12:00:10 UTC (in 10s): an event has said that it sleeps soon", "notice until 12:00:10 UTC"},
	{running(pinged("11:40:00")), "stays awake until 12:10:00 UTC (in 10m): unused for 20m, its idle-after is 30m", "sleeps in 10m"},
	{running(notice(""), pinged("11:30:20")), "stays awake until 12:00:20 UTC (in 20s): unused for 29m40s, its idle-after is 30m; the next sweep publishes that it sleeps soon", "sleeps in 20s"},
	{running(pinged("11:40:00"), sleepAt("5 12 * * *")), "stays awake until 12:05:00 UTC (in 5m): unused for 20m, its idle-after is 30m, and its sleep-at comes then", "sleeps in 5m"},
	{running(pinged("11:40:00"), keepWarm("5 12 * * * for 1h")), "stays awake: unused for 20m, its idle-after is 30m, and it is kept warm from 12:05:00 UTC (in 5m)", "awake"},
	{running(pinged("11:40:00"), grouped), "stays awake: unused for 20m, its idle-after is 30m, and db has to be awake (a lease)", "awake"},
	{running(pinged("11:40:00"), idleAfter(300*time.Hour), func(f *Facts) { f.Coverage.CompleteSince = at("2026-06-01 00:00:00") }), "stays awake until Mon 2026-07-13 23:40:00 UTC (in 12d11h): unused for 20m, its idle-after is 300h", "sleeps in 12d11h"},
	{running(never), "stays awake: its idle-after is never", "awake"},
	{running(never, inRome, sleepAt("0 22 * * *")), "stays awake until 22:00:00 Europe/Rome (in 8h): its idle-after is never, and its sleep-at comes then", "sleeps in 8h"},
	{sleeping(started), "wakes: a command has started it", "wakes now"},
	{sleeping(notOurs), "stays at zero: somebody else made it zero; a start command wakes it", "made zero by others"},
	{sleeping(func(f *Facts) { f.Bad = errors.Join(errors.New("one"), errors.New("two")) }), "left as it is: its settings can't be read: one; two", "unreadable"},
	{sleeping(held(true, "2026-07-02 08:00:00")), `stays at zero until Thu 2026-07-02 08:00:00 UTC (in 20h): held asleep by "ann" ("demo")`, "held asleep until Thu 2026-07-02 08:00:00 UTC"},
	{sleeping(held(false, "18:00:00")), `wakes: held awake by "ann" ("demo") until 18:00:00 UTC (in 6h)`, "wakes now"},
	{sleeping(stopped), "stays at zero: stopped by a command since 11:30:00 UTC; a start or scale command, or a hold awake, wakes it", "stopped by a command"},
	{sleeping(leased("11:50:00", "12:05:00")), "wakes: a lease on it is live until 12:05:00 UTC (in 5m)", "wakes now"},
	{sleeping(pinged("11:50:00"), func(f *Facts) { f.Use.Last.Time = f.Use.Last.Time.In(time.FixedZone("CEST", 7200)) }), "wakes: it was used at 11:50:00 UTC", "wakes now"},
	{sleeping(lost), "stays at zero: NATS is away", "blind"},
	{sleeping(settling), "stays at zero until 12:01:30 UTC (in 1m30s): NATS is back", "blind until 12:01:30 UTC"},
	{sleeping(inRome, keepWarm("0 9 * * MON-FRI for 9h")), "wakes: it is kept warm until 18:00:00 Europe/Rome (in 4h)", "wakes now"},
	{sleeping(grouped), "wakes with its group bots: db has to be awake (a lease)", "wakes now"},
	{sleeping(pinged("11:50:00"), waiting), "wakes as soon as db is ready", "waits for db"},
	{sleeping(), "sleeps since 11:30:00 UTC, because it was unused; a ping, a lease or a start command wakes it", "asleep until used"},
	{sleeping(inRome, func(f *Facts) { f.Because, f.AsleepSince = BecauseSchedule, at("2026-06-30 20:00:00") }, keepWarm("0 9 * * MON-FRI for 1h")), "sleeps since Tue 2026-06-30 22:00:00 Europe/Rome, by its sleep-at; a ping, a lease or a start command wakes it; keep-warm wakes it at Thu 2026-07-02 09:00:00 Europe/Rome (in 19h)", "asleep until Thu 2026-07-02 09:00:00 Europe/Rome"},
	{sleeping(byCommand, func(f *Facts) { f.Because = BecauseHold }), "sleeps since 11:30:00 UTC, by a hold that has ended; a start command wakes it, and no ping, because its setting wake-on-activity is false", "asleep until started"},
	{sleeping(markLost, func(f *Facts) { f.Use = activity.Use{} }), "sleeps; a ping, a lease or a start command wakes it", "asleep until used"},
}

// One sentence says for each decision what is, why, until when, and what would change it. A few
// words say it in lists.
func TestExplain(t *testing.T) {
	type kind struct {
		awake  bool
		action Action
		reason Reason
	}
	seen := make(map[kind]bool)
	for _, c := range explainCases {
		d := rules.Decide(c.facts, noon)
		seen[kind{c.facts.Replicas > 0, d.Action, d.Reason}] = true
		if sentence := explain.Decision(d, c.facts, noon); sentence != c.sentence {
			t.Errorf("%s, because %s:\n%s, want\n%s", d.Action, d.Reason, sentence, c.sentence)
		}
		if short := explain.Short(d, c.facts, noon); short != c.short {
			t.Errorf("%s: %q, want %q", c.sentence, short, c.short)
		}
	}
	for _, rows := range [][]row{awakeRules, sleepRules, awakeEdges, sleepEdges} {
		for _, r := range rows {
			if !seen[kind{true, r.action, r.reason}] {
				t.Errorf("awake, %s, because %s: no sentence", r.action, r.reason)
			}
		}
	}
	for _, rows := range [][]row{asleepRules, asleepEdges} {
		for _, r := range rows {
			if !seen[kind{false, r.action, r.reason}] {
				t.Errorf("at zero, %s, because %s: no sentence", r.action, r.reason)
			}
		}
	}
}

// A server whose settings were never read, and an order without an actor, have their sentences too.
func TestExplainOfLittle(t *testing.T) {
	for sentence, f := range map[string]*Facts{
		"stays awake until 18:00:00 UTC (in 6h): held awake":                                       running(held(false, "18:00:00"), func(f *Facts) { f.Hold.Actor, f.Hold.Reason = "", "" }),
		"stays awake: there is a pause of all servers; resume ends it":                             running(func(f *Facts) { f.Paused.Scope = "all servers" }),
		"sleeps at the next sweep: unused for 1h, its idle-after is 30m":                           running(func(f *Facts) { f.Settings.TimeZone = nil }),
		"wakes with its group bots: db has to be awake (keep-warm)":                                sleeping(grouped, func(f *Facts) { f.Group.Why = KeepWarm }),
		"stays at zero: stopped by a command; a start or scale command, or a hold awake, wakes it": sleeping(stopped, func(f *Facts) { f.AsleepSince = time.Time{} }),
	} {
		if said := explain.Decision(rules.Decide(f, noon), f, noon); said != sentence {
			t.Errorf("%q, want %q", said, sentence)
		}
	}
}

// A duration has whole seconds and no zeros at its end.
func TestSpan(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 400 * time.Millisecond, "30s": 30 * time.Second, "1m": time.Minute, "10m": 10 * time.Minute, "1h": time.Hour, "20h": 20 * time.Hour,
		"1h30m": 90 * time.Minute, "1h0m5s": time.Hour + 5*time.Second, "4m12s": 4*time.Minute + 12*time.Second, "168h": MaxWindow,
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is said as %q, want %q", d, got, want)
		}
	}
}

// A known rival is named as people know it, with what to change. An unknown one is named by its
// field manager.
func TestAdvice(t *testing.T) {
	for manager, says := range map[string][2]string{
		"argocd-controller":             {`Argo CD (field manager "argocd-controller")`, "ignoreDifferences with managedFieldsManagers: [idle-scaler]"},
		"argocd-application-controller": {"Argo CD", "RespectIgnoreDifferences=true"},
		"kube-controller-manager":       {"a HorizontalPodAutoscaler", "minReplicas"},
		"keda":                          {"KEDA", "delete the ScaledObject"},
		"keda-operator":                 {"KEDA", "delete the ScaledObject"},
		KEDA:                            {"KEDA", "delete the ScaledObject"},
		"helm":                          {`Helm (field manager "helm")`, "the chart's Deployment"},
		"helm-controller":               {"Flux", "in the values of the HelmRelease"},
		"flux":                          {"Flux", "in Git"},
		"kustomize-controller":          {"Flux", "in Git"},
		"kubectl-edit":                  {"somebody with kubectl", "idle-scaler hold --awake-until"},
		"web-operator":                  {`"web-operator"`, "make it leave spec.replicas of this Deployment alone"},
		"":                              {"somebody whom Kubernetes does not name", "make it leave spec.replicas"},
	} {
		text := explain.Reverts(Reverts{Count: 2, Writer: manager, Since: noon})
		for _, part := range append(says[:], "2 times in a row since 2026-07-01T12:00:00Z", explain.Advice(manager)) {
			if !strings.Contains(text, part) {
				t.Errorf("%q: %q, want it to say %q", manager, text, part)
			}
		}
	}
}
