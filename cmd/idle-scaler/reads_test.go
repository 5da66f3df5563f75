package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/wire"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)

// web is a server that was used a minute ago.
func web(change func(*wire.ServerSummary)) wire.ServerSummary {
	s := wire.ServerSummary{
		Namespace: "team-a", Name: "web", Status: "running", Replicas: 2, ReadyReplicas: 2,
		LastActivity: noon.Add(-time.Minute), Reason: "awake", Next: "sleeps in 29m0s",
	}
	if change != nil {
		change(&s)
	}
	return s
}

// A list has one line for each server, which says what comes next; for programs it is never null.
func TestListOutput(t *testing.T) {
	failed := web(func(s *wire.ServerSummary) {
		s.Name, s.Status, s.ReadyReplicas, s.LastActivity, s.Failure = "a", "failed", 0, time.Time{}, "ImagePullBackOff: no such image"
	})
	asleep := web(func(s *wire.ServerSummary) {
		s.Status, s.Replicas, s.ReadyReplicas, s.Reason, s.Next, s.LastActivity = "stopped", 0, 0, "asleep", "asleep", noon.Add(-49*time.Hour)
	})
	for _, test := range []struct {
		name, kind string
		servers    []wire.ServerSummary
		want       string
	}{
		{"table", "table", []wire.ServerSummary{failed, web(nil), asleep}, `
NAMESPACE   NAME   STATUS    READY   LAST USED    NEXT
team-a      a      failed    0/2     never seen   ImagePullBackOff: no such image
team-a      web    running   2/2     1m ago       sleeps in 29m0s
team-a      web    stopped   0/0     2d1h ago     asleep
`},
		{"an empty table", "table", nil, "\nNAMESPACE   NAME   STATUS   READY   LAST USED   NEXT\n"},
		{"names", "name", []wire.ServerSummary{failed, web(nil)}, "\nteam-a/a\nteam-a/web\n"},
		{"no JSON", "json", nil, "\n[]\n"},
		{"no YAML", "yaml", nil, "\n[]\n"},
		{"JSON", "json", []wire.ServerSummary{{Name: "web", Namespace: "team-a", Status: "stopped", Endpoints: []wire.Endpoint{}, Reason: "asleep", Next: "asleep"}}, `
[
  {
    "name": "web",
    "namespace": "team-a",
    "status": "stopped",
    "replicas": 0,
    "ready_replicas": 0,
    "endpoints": [],
    "reason": "asleep",
    "next": "asleep"
  }
]
`},
	} {
		var out strings.Builder
		if err := printServers(&out, test.kind, test.servers, noon); err != nil {
			t.Fatal(err)
		}
		if got := "\n" + out.String(); got != test.want {
			t.Errorf("%s: got%swant%s", test.name, got, test.want)
		}
	}
}

// An event is one line, whoever asked for it and whatever is known of it.
func TestWatchOutput(t *testing.T) {
	event := func(kind string, change func(*wire.Event)) wire.Event {
		e := wire.Event{Server: wire.ID{Namespace: "team-a", Name: "web"}, HistoryEntry: wire.HistoryEntry{Type: kind, At: noon}}
		change(&e)
		return e
	}
	for _, test := range []struct {
		event wire.Event
		want  string
	}{
		{
			event("slept", func(e *wire.Event) { e.From, e.Cause, e.Text = 2, "idle", "unused for 30m" }),
			"12:00:00  slept     team-a/web  2 → 0  by idle: unused for 30m",
		},
		{
			event("woken", func(e *wire.Event) { e.To, e.Cause, e.Actor, e.Reason = 1, "command", "ann", "demo" }),
			"12:00:00  woken     team-a/web  0 → 1  by command of ann, because demo",
		},
		{
			event("ready", func(e *wire.Event) { e.From, e.To, e.Cause, e.Took = 1, 1, "activity", "1.23456789s" }),
			"12:00:00  ready     team-a/web  by activity, after 1.235s",
		},
		{event("rejected", func(e *wire.Event) { e.Text = "unknown verb" }), "12:00:00  rejected  team-a/web: unknown verb"},
	} {
		if got := sentence(time.TimeOnly, test.event); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}

	var out strings.Builder
	e := event("slept", func(e *wire.Event) { e.At, e.From, e.Cause, e.Idle, e.ID = noon.UTC(), 2, "idle", "31m0s", "e-1" })
	if err := encodeLine(&out, e); err != nil {
		t.Fatal(err)
	}
	want := `{"server":"team-a/web","at":"` + noon.UTC().Format(time.RFC3339) + `","type":"slept","from":2,"to":0,"cause":"idle","idle":"31m0s","id":"e-1"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", &out, want)
	}
	var entry wire.HistoryEntry // as "history -o json" tells it
	if err := json.Unmarshal([]byte(out.String()), &entry); err != nil || entry != e.HistoryEntry {
		t.Errorf("as an entry of a history it is %+v, %v", entry, err)
	}
}

// How long ago something was is said as the daemon says it in the same line, and is never in the future: the clock of NATS may be ahead.
func TestAgo(t *testing.T) {
	for before, want := range map[time.Duration]string{
		-time.Hour: "just now", 999 * time.Millisecond: "just now", 1500 * time.Millisecond: "2s ago", 61 * time.Second: "1m1s ago",
		time.Hour: "1h ago", 90 * time.Minute: "1h30m ago", 24 * time.Hour: "1d ago", 50 * time.Hour: "2d2h ago",
	} {
		if got := ago(noon.Add(-before), noon); got != want {
			t.Errorf("%s: got %s, want %s", before, got, want)
		}
	}
}
