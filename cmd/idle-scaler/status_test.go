package main

import (
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/wire"
)

// A status prints everything that decides about the server, and no line without content. In the
// wanted texts DEFAULTS are the settings that every status has, and ⏎ continues a line.
func TestStatusOutput(t *testing.T) {
	settings := wire.Settings{
		"idle_after": "30m0s", "wake_replicas": 1.0, "max_replicas": 10.0, "wake_on_activity": true, "paused": false,
	}
	defaults := strings.Join([]string{
		"idle-after 30m", "wake-replicas 1", "max-replicas 10", "wake-on-activity true", "paused false",
	}, "\n               ")
	for _, test := range []struct {
		name   string
		status wire.ServerStatus
		want   string
	}{
		{"awake", wire.ServerStatus{
			ServerSummary: web(func(s *wire.ServerSummary) {
				s.Endpoints = []wire.Endpoint{{Service: "web", Type: "ClusterIP", URL: "http://web.team-a.svc:80"}}
			}), AvailableReplicas: 1, UpdatedReplicas: 2,
			Decision: wire.Decision{Text: "stays awake: a lease on it is live"},
			Leases:   []wire.Lease{{Holder: "gw-1", Until: noon.Add(5 * time.Minute)}},
			Settings: settings,
		}, `
team-a/web: running, 2 of 2 ready
  pods         1 available, 2 of the newest version
  decision     stays awake: a lease on it is live
  last used    1m ago
  lease        gw-1, for another 5m
  settings     DEFAULTS
  endpoint     http://web.team-a.svc:80 (ClusterIP web)
`},
		{"stopped by somebody", wire.ServerStatus{
			ServerSummary: wire.ServerSummary{Namespace: "team-a", Name: "web", Status: "stopped"},
			Decision:      wire.Decision{Text: "stays at zero: a command stopped it"},
			Marks: wire.Marks{Restore: 2, Last: &wire.LastTransition{
				Transition: wire.Transition{Type: "slept", From: 2}, At: noon.Add(-time.Hour), Cause: "command", Actor: "ann",
			}},
			Settings: settings,
		}, `
team-a/web: stopped, 0 of 0 ready
  decision     stays at zero: a command stopped it
  last change  slept 1h ago, 2 → 0 replicas, by a command of "ann"
  replicas     2 when it wakes
  settings     DEFAULTS
`},
		{"failed and misconfigured", wire.ServerStatus{
			ServerSummary: wire.ServerSummary{
				Namespace: "team-a", Name: "web", Status: "failed", Replicas: 1, Failure: "CrashLoopBackOff",
			}, UpdatedReplicas: 1,
			Conditions: []wire.Condition{
				{Type: "Available", Status: "False", Reason: "MinimumReplicasUnavailable", Message: "not enough"},
				{Type: "Progressing", Status: "True", Reason: "ReplicaSetUpdated", Message: "progressing"},
				{Type: "ReplicaFailure", Status: "True", Reason: "FailedCreate", Message: "exceeded quota"},
			},
			Decision: wire.Decision{Text: "left as it is"},
			Settings: settings, SettingsError: "idle-after \"x\"\npaused \"y\"",
		}, `
team-a/web: failed, 0 of 1 ready
  failure      CrashLoopBackOff
  condition    Available is False: MinimumReplicasUnavailable: not enough
  condition    ReplicaFailure is True: FailedCreate: exceeded quota
  decision     left as it is
  settings     DEFAULTS
  error        idle-after "x"; paused "y"
`},
		{"held, paused, in a group, and fought over", wire.ServerStatus{
			ServerSummary: web(nil), AvailableReplicas: 2, UpdatedReplicas: 2,
			Decision: wire.Decision{Text: "stays awake: held"},
			Hold:     &wire.Hold{Since: noon, Until: noon.Add(2 * time.Hour), Actor: "ann", Reason: "demo"},
			Paused:   &wire.Pause{Scope: "all servers", Since: noon.Add(-time.Hour), Actor: "bob"},
			Group:    &wire.Group{Name: "shop", Mates: []string{"cache", "db"}},
			Rival:    "a ScaledObject of KEDA",
			Reverts: &wire.Reverts{
				Count: 2, Writer: "argocd-controller", Since: noon.Add(-time.Hour), Contended: true,
				Advice: "set ignoreDifferences",
			},
			Settings: wire.Settings{
				"idle_after": "1h0m0s", "keep_warm": "0 9 * * MON-FRI for 9h", "sleep_at": "0 22 * * *", "time_zone": "Europe/Rome",
				"sleep_notice": "30s", "wake_replicas": 1.0, "max_replicas": 2147483647.0, "wake_on_activity": true,
				"paused": false, "dry_run": true, "group": "shop", "after": []any{"db", "cache"},
			},
			Sources: map[string]string{
				"idle_after": "namespace", "keep_warm": "annotation", "sleep_at": "configuration",
				"time_zone": "configuration", "sleep_notice": "annotation",
				"wake_replicas": "default", "dry_run": "configuration", "group": "annotation", "after": "annotation",
			},
		}, `
team-a/web: running, 2 of 2 ready
  decision     stays awake: held
  last used    1m ago
  hold         awake for another 2h by "ann" ("demo")
  paused       all servers, 1h ago by "bob"
  group        shop, with cache, db
  rival        a ScaledObject of KEDA
  reverts      Argo CD (field manager "argocd-controller") woke it again 2 times, first 1h ago, ⏎
so it is not put to sleep any more: set ignoreDifferences
  settings     idle-after 1h (namespace)
               keep-warm "0 9 * * MON-FRI for 9h" (annotation)
               sleep-at "0 22 * * *" (configuration)
               time-zone Europe/Rome (configuration)
               sleep-notice 30s (annotation)
               wake-replicas 1
               max-replicas 2147483647
               wake-on-activity true
               paused false
               dry-run true (configuration)
               group shop (annotation)
               after "db, cache" (annotation)
`},
		{"settings that take back what its namespace says", wire.ServerStatus{
			ServerSummary: wire.ServerSummary{Namespace: "team-a", Name: "web", Status: "stopped"},
			Decision:      wire.Decision{Text: "stays at zero"},
			Settings:      settings,
			Sources:       map[string]string{"keep_warm": "annotation", "sleep_notice": "annotation", "later": "namespace"},
		}, `
team-a/web: stopped, 0 of 0 ready
  decision     stays at zero
  settings     idle-after 30m
               keep-warm none (annotation)
               sleep-notice 0s (annotation)
               wake-replicas 1
               max-replicas 10
               wake-on-activity true
               paused false
`},
		{"alone in its group, held asleep, woken once by an unnamed writer", wire.ServerStatus{
			ServerSummary: wire.ServerSummary{Namespace: "team-a", Name: "web", Status: "stopped"},
			Decision:      wire.Decision{Text: "stays at zero: held asleep"},
			Hold:          &wire.Hold{Asleep: true, Until: noon.Add(time.Minute)},
			Group:         &wire.Group{Name: "shop"},
			Reverts:       &wire.Reverts{Count: 1, Since: noon, Advice: "make it leave spec.replicas alone"},
			Settings:      settings,
		}, `
team-a/web: stopped, 0 of 0 ready
  decision     stays at zero: held asleep
  hold         asleep for another 1m
  group        shop
  reverts      somebody whom Kubernetes does not name woke it again 1 time, ⏎
first just now: make it leave spec.replicas alone
  settings     DEFAULTS
`},
	} {
		var out strings.Builder
		printStatus(&out, test.status, noon)
		want := strings.NewReplacer("DEFAULTS", defaults, "⏎\n", "").Replace(test.want)
		if got := "\n" + out.String(); got != want {
			t.Errorf("%s: got%swant%s", test.name, got, want)
		}
	}
}
