package main

import (
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/wire"
)

// A history prints the events of a server like "watch", with the date. It says when there were more
// events, or none.
func TestHistoryOutput(t *testing.T) {
	id := wire.ID{Namespace: "team-a", Name: "web"}
	week := span(7 * day)
	for _, test := range []struct {
		history wire.History
		want    string
	}{
		{wire.History{}, "team-a/web: nothing happened in the last 7d\n"},
		{wire.History{Truncated: true, Events: []wire.HistoryEntry{
			{At: noon, Type: "slept", EventData: wire.EventData{From: 2, Cause: "idle", Text: "unused for 30m"}},
			{At: noon.Add(time.Hour), Type: "woken", EventData: wire.EventData{
				To: 2, Cause: "command", Actor: "ann", Reason: "demo",
			}},
			{At: noon.Add(time.Hour), Type: "ready", EventData: wire.EventData{From: 2, To: 2, Cause: "command", Took: "1.5s"}},
		}}, `team-a/web: there were more before these: see --limit
2026-11-22 12:00:00  slept     team-a/web  2 → 0 replicas: unused for 30m
2026-11-22 13:00:00  woken     team-a/web  0 → 2 replicas, by a command of "ann" ("demo")
2026-11-22 13:00:00  ready     team-a/web  2 replicas, by a command, after 1.5s
`},
	} {
		var out strings.Builder
		printHistory(&out, id, test.history, &week)
		if out.String() != test.want {
			t.Errorf("got\n%swant\n%s", &out, test.want)
		}
	}
}

// "explain" prints several servers one after another.
func TestExplain(t *testing.T) {
	url := startNATS(t)
	startFakeDaemon(t, url)
	code, out, errs := execute("explain", "--nats", url, "-n", "team-a", "web", "files")
	if want := "web stays awake\nbecause it is used\nfiles stays awake\nbecause it is used\n"; code != 0 || out != want {
		t.Errorf("ended with %d and said\n%s%s", code, out, errs)
	}
	code, out, errs = execute("explain", "--nats", url, "-o", "json", "team-a/web", "team-a/broken")
	if code != exitFailed || !strings.Contains(out, `"reason": "awake"`) ||
		!strings.Contains(errs, "team-a/broken: failed") {
		t.Errorf("ended with %d and said\n%s%s", code, out, errs)
	}
}
