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
		LastActivity: noon.Add(-time.Minute), Reason: "awake", Next: "sleeps in 29m",
	}
	if change != nil {
		change(&s)
	}
	return s
}

// A list has one line for each server. Servers of one status differ in the words about what comes
// next. Programs get an empty list, never null.
func TestListOutput(t *testing.T) {
	failed := web(func(s *wire.ServerSummary) {
		s.Name, s.Status, s.ReadyReplicas, s.LastActivity = "a", "failed", 0, time.Time{}
		s.Failure = "ImagePullBackOff: no such image"
	})
	stopped := func(name, next string) wire.ServerSummary {
		return wire.ServerSummary{
			Namespace: "team-b", Name: name, Status: "stopped", LastActivity: noon.Add(-49 * time.Hour), Next: next,
		}
	}
	for _, test := range []struct {
		name, kind string
		servers    []wire.ServerSummary
		want       string
	}{
		{"table", "table", []wire.ServerSummary{
			failed, web(nil), stopped("a", "asleep until used"), stopped("b", "stopped by a command"),
			stopped("c", "held asleep until 18:00:00 UTC"),
		}, `
NAMESPACE   NAME   STATUS    READY   LAST USED    NEXT
team-a      a      failed    0/2     never seen   ImagePullBackOff: no such image
team-a      web    running   2/2     1m ago       sleeps in 29m
team-b      a      stopped   0/0     2d1h ago     asleep until used
team-b      b      stopped   0/0     2d1h ago     stopped by a command
team-b      c      stopped   0/0     2d1h ago     held asleep until 18:00:00 UTC
`},
		{"an empty table", "table", nil, "\nNAMESPACE   NAME   STATUS   READY   LAST USED   NEXT\n"},
		{"names", "name", []wire.ServerSummary{failed, web(nil)}, "\nteam-a/a\nteam-a/web\n"},
		{"no JSON", "json", nil, "\n[]\n"},
		{"no YAML", "yaml", nil, "\n[]\n"},
		{"JSON", "json", []wire.ServerSummary{{
			Name: "web", Namespace: "team-a", Status: "stopped", Endpoints: []wire.Endpoint{}, Reason: "asleep", Next: "asleep",
		}}, `
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

// An event is one line, with everything that it says.
func TestWatchOutput(t *testing.T) {
	event := func(kind string, change func(*wire.Event)) wire.Event {
		e := wire.Event{Server: wire.ID{Namespace: "team-a", Name: "web"}}
		e.Type, e.At = kind, noon
		change(&e)
		return e
	}
	for _, test := range []struct {
		event wire.Event
		want  string
	}{
		{
			event("slept", func(e *wire.Event) { e.From, e.Cause, e.Text = 2, "idle", "unused for 30m" }),
			"12:00:00  slept     team-a/web  2 → 0 replicas: unused for 30m",
		},
		{
			event("woken", func(e *wire.Event) { e.To, e.Cause, e.Actor, e.Reason = 1, "command", "ann", "demo" }),
			"12:00:00  woken     team-a/web  0 → 1 replica, by a command of \"ann\" (\"demo\")",
		},
		{
			event("ready", func(e *wire.Event) { e.From, e.To, e.Cause, e.Took = 1, 1, "activity", "1.23456789s" }),
			"12:00:00  ready     team-a/web  1 replica, by a ping, after 1.235s",
		},
		{event("rejected", func(e *wire.Event) { e.Text = "unknown verb" }), "12:00:00  rejected  team-a/web  unknown verb"},
	} {
		if got := sentence(time.TimeOnly, test.event); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}

	var out strings.Builder
	e := event("slept", func(e *wire.Event) {
		e.At, e.From, e.Cause, e.Idle, e.ID = noon.UTC(), 2, "idle", "31m0s", "e-1"
	})
	if err := encodeLine(&out, e); err != nil {
		t.Fatal(err)
	}
	want := `{"server":"team-a/web","at":"` + noon.UTC().Format(time.RFC3339) + `","type":"slept","from":2,"to":0,` +
		`"cause":"idle","idle":"31m0s","id":"e-1"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", &out, want)
	}
	var entry wire.HistoryEntry // as "history -o json" has it
	if err := json.Unmarshal([]byte(out.String()), &entry); err != nil || entry != e.HistoryEntry {
		t.Errorf("as an entry of a history it is %+v, %v", entry, err)
	}
}

// "ago" has the words of the daemon. It is never in the future, although the clock of NATS may be
// ahead.
func TestAgo(t *testing.T) {
	for before, want := range map[time.Duration]string{
		-time.Hour: "just now", 999 * time.Millisecond: "just now",
		1500 * time.Millisecond: "2s ago", 61 * time.Second: "1m1s ago", time.Hour: "1h ago",
		90 * time.Minute: "1h30m ago", 24 * time.Hour: "1d ago", 50 * time.Hour: "2d2h ago",
	} {
		if got := ago(noon.Add(-before), noon); got != want {
			t.Errorf("%s: got %s, want %s", before, got, want)
		}
	}
}
