package answer

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
)

var web = scaler.ID{Namespace: "team-a", Name: "web"}

// The status of a server has everything that the domain knows, under documented names.
func TestStatusOnTheWire(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	settings, sources, err := policy.Parse(
		policy.Layer{Source: policy.FromConfig, Written: map[string]string{"time-zone": "Europe/Rome", "idle-after": "5m"}},
		policy.Layer{Source: policy.FromNamespace, Written: map[string]string{"idle-after": "20m", "sleep-at": "0 22 * * *"}},
		policy.Layer{Source: policy.FromServer, Written: map[string]string{
			"idle-after": "30m", "keep-warm": "0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h", "sleep-notice": "30s",
			"group": "shop", "after": "db, cache",
		}},
	)
	natstest.Check(t, err)
	hold := policy.Hold{Asleep: true, Since: at, Until: at.Add(time.Hour), Actor: "ann", Reason: "tea"}
	reverts := policy.Reverts{Count: 2, Writer: "kubectl-edit", Since: at}
	got, err := json.Marshal(Status(scaler.View{
		At: at,
		Server: &scaler.Server{
			ID: web, Replicas: 2, Ready: 1, Available: 1, Updated: 2, Created: at, Labels: map[string]string{"a": "b"},
			Conditions: []scaler.Condition{{Type: "Available", Status: "True", Reason: "R", Message: "m", Since: at}},
			Settings:   settings, Sources: sources, Bad: errors.New("idle-after: what?"), Rival: policy.KEDA,
			Requests: scaler.Resources{MilliCPU: 250, Memory: 1 << 29},
			Mark: scaler.Mark{
				Restore: 2, Because: policy.BecauseIdle, Asleep: at, Failed: "no image",
				Done: scaler.Done{Stamp: activity.Stamp{Sequence: 7}, ID: "x"},
				Hold: hold, Reverts: reverts,
				Last: scaler.Event{ID: "e", Type: scaler.Slept, From: 2, At: at, Cause: policy.CauseIdle, Text: "unused"},
			},
		},
		Status: policy.StatusScaling, Failure: "why",
		Facts: policy.Facts{
			Settings: settings, Replicas: 2, Hold: hold, Reverts: reverts, Use: activity.Use{Last: activity.Stamp{Time: at}},
			Paused: policy.Pause{Scope: "all servers", Since: at, Actor: "bob", Reason: "incident"},
			Group: policy.Group{
				Bad: "no order", Wanted: "db", Why: policy.Leased, Before: []string{"front"}, Waiting: []string{"cache"},
			},
		},
		Decision: policy.Decision{
			Action: policy.Keep, Reason: policy.Leased, Idle: 252*time.Second + 1,
			Next: at.Add(time.Hour), Sleeps: at.Add(2 * time.Hour),
		},
		Leases: []activity.Lease{
			{Holder: "gw", Since: at, Until: at.Add(time.Hour)}, {Holder: "ui", Since: at, Until: at.Add(time.Hour)},
		},
		Mates:     []*scaler.Server{{ID: scaler.ID{Name: "cache"}}, {ID: scaler.ID{Name: "db"}}},
		Endpoints: []scaler.Endpoint{{Service: "web", Type: "ClusterIP", Port: "http", URL: "http://web:80"}},
	}))
	natstest.Check(t, err)
	want := `{"name":"web","namespace":"team-a","status":"scaling","failure":"why","replicas":2,"ready_replicas":1,` +
		`"endpoints":[{"service":"web","type":"ClusterIP","port":"http","url":"http://web:80"}],` +
		`"last_activity":"2026-01-02T03:04:05Z","idle_for":"4m12s","idle_seconds":252,` +
		`"reason":"lease","next":"sleeps in 2h","next_change":"2026-01-02T04:04:05Z",` +
		`"sleeps_at":"2026-01-02T05:04:05Z","available_replicas":1,"updated_replicas":2,"created":"2026-01-02T03:04:05Z",` +
		`"conditions":[{"type":"Available","status":"True","reason":"R","message":"m","since":"2026-01-02T03:04:05Z"}],` +
		`"decision":{"action":"keep","reason":"lease",` +
		`"text":"stays awake until 05:04:05 Europe/Rome (in 1h): a lease on it is live, held by gw and ui",` +
		`"next_change":"2026-01-02T04:04:05Z"},` +
		`"marks":{"restore":2,"asleep_since":"2026-01-02T03:04:05Z","asleep_because":"idle","failed":"no image",` +
		`"command_id":"x","command_sequence":7,` +
		`"last":{"id":"e","type":"slept","from":2,"to":0,"text":"unused","at":"2026-01-02T03:04:05Z","cause":"idle"}},` +
		`"settings":{"after":["db","cache"],"dry_run":false,"group":"shop","idle_after":"30m0s",` +
		`"keep_warm":"0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h","max_replicas":10,` +
		`"paused":false,"sleep_at":"0 22 * * *","sleep_notice":"30s","time_zone":"Europe/Rome",` +
		`"wake_on_activity":true,"wake_replicas":1},` +
		`"sources":{"after":"annotation","dry_run":"default","group":"annotation","idle_after":"annotation",` +
		`"keep_warm":"annotation","max_replicas":"default",` +
		`"paused":"default","sleep_at":"namespace","sleep_notice":"annotation","time_zone":"configuration",` +
		`"wake_on_activity":"default","wake_replicas":"default"},` +
		`"settings_error":"idle-after: what?","requests":{"cpu_millicores":250,"memory_bytes":536870912},` +
		`"leases":[{"holder":"gw","since":"2026-01-02T03:04:05Z","until":"2026-01-02T04:04:05Z"},` +
		`{"holder":"ui","since":"2026-01-02T03:04:05Z","until":"2026-01-02T04:04:05Z"}],` +
		`"hold":{"asleep":true,"since":"2026-01-02T03:04:05Z","until":"2026-01-02T04:04:05Z","actor":"ann","reason":"tea"},` +
		`"paused":{"scope":"all servers","since":"2026-01-02T03:04:05Z","actor":"bob","reason":"incident"},` +
		`"group":{"name":"shop","mates":["cache","db"],"wanted":"db","why":"lease","before":["front"],` +
		`"waiting":["cache"],"error":"no order"},` +
		`"reverts":{"count":2,"writer":"kubectl-edit","since":"2026-01-02T03:04:05Z","contended":false,` +
		`"advice":"` + explain.Advice("kubectl") + `"},` +
		`"rival":"a ScaledObject of KEDA","labels":{"a":"b"}}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A status leaves out fields that are empty. A field whose zero is an answer stays.
func TestStatusOfLittle(t *testing.T) {
	past := policy.Hold{Until: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := Status(scaler.View{
		At:     time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		Server: &scaler.Server{ID: web, Settings: policy.Defaults(policy.Never)},
		Facts:  policy.Facts{Hold: past}, Decision: policy.Decision{Action: policy.Keep, Reason: policy.NotOurs},
	})
	if s.Hold != nil || s.Paused != nil || s.Group != nil || s.Reverts != nil || s.Next != "made zero by others" {
		t.Errorf("got %+v", s)
	}
	if s.Settings["idle_after"] != "never" || s.Settings["time_zone"] != "UTC" {
		t.Errorf("got %v", s.Settings)
	}
	for name, left := range map[string]bool{
		"keep_warm": true, "sleep_at": true, "sleep_notice": true, "group": true, "after": true,
		"paused": false, "dry_run": false, "time_zone": false,
	} {
		if _, there := s.Settings[name]; there == left {
			t.Errorf("%s in %v: %v", name, s.Settings, there)
		}
	}
	for name, source := range s.Sources {
		if source != "default" {
			t.Errorf("%s is %s", name, source)
		}
	}
	if len(s.Sources) != len(policy.Table) {
		t.Errorf("got %v", s.Sources)
	}
}
