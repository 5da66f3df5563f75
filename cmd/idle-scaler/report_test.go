package main

import (
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/wire"
)

// A report has a line for each server and one for all. Figures that would be true without dry-run
// are in brackets.
func TestReportOutput(t *testing.T) {
	r := wire.Report{
		Servers: []wire.ReportRow{
			{
				Namespace: "team-a", Name: "web", Asleep: wire.ReportedSleep{Seconds: 5400, CPUCoreHours: .75, MemoryGiBHours: 1.5},
				Sleeps: 4, Wakes: 3, WakeP50Seconds: 1.25, WakeP95Seconds: 12,
				AutomaticSleeps: 3, MisSleeps: 1, MisSleepRate: 1. / 3,
			},
			{
				Namespace: "team-b", Name: "dry",
				WouldBeAsleep: wire.ReportedSleep{Seconds: 7200, CPUCoreHours: 2, MemoryGiBHours: 4},
				WouldSleeps:   2, AutomaticSleeps: 2,
			},
			{Namespace: "team-b", Name: "old", Gone: true},
		},
		Total: wire.ReportRow{
			Asleep:        wire.ReportedSleep{Seconds: 5400, CPUCoreHours: .75, MemoryGiBHours: 1.5},
			WouldBeAsleep: wire.ReportedSleep{Seconds: 7200, CPUCoreHours: 2, MemoryGiBHours: 4},
			Sleeps:        4, WouldSleeps: 2, Wakes: 3, WakeP50Seconds: 1.25, WakeP95Seconds: 12,
			AutomaticSleeps: 5, MisSleeps: 1, MisSleepRate: .2,
		},
	}
	var out strings.Builder
	if err := printReport(&out, r); err != nil {
		t.Fatal(err)
	}
	want := `
SERVER             ASLEEP   WOULD BE   SLEEPS   WAKES   P50    P95     MIS-SLEEPS     CORE-HOURS    GIB-HOURS
team-a/web         1h30m    -          4        3       1.2s   12.0s   1 of 3 (33%)   0.75          1.50
team-b/dry         -        2h       0 (2)    0       -      -       0 of 2 (0%)    0.00 (2.00)   0.00 (4.00)
team-b/old (gone)  -        -          0        0       -      -       0              0.00          0.00
total              1h30m    2h       4 (2)    3       1.2s   12.0s   1 of 5 (20%)   0.75 (2.00)   1.50 (4.00)
`
	want = strings.ReplaceAll(want, "(gone)  -", "(gone)   -")
	if got := "\n" + out.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got%swant%s", got, want)
	}
}

// A span may be written in days.
func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"24h": day, "7d": 7 * day, "90m": 90 * time.Minute, "1d": day} {
		var s span
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%s: got %s, %v", text, time.Duration(s), err)
		}
	}
	for _, text := range []string{"", "d", "7", "0d", "-1d", "1.5d", "7days", "0s", "-1h", "367d", "99999999999999d"} {
		var s span
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken as %s", text, time.Duration(s))
		}
	}
	week := span(7 * day)
	if hours := span(90 * time.Minute); week.String() != "7d" || hours.String() != "1h30m0s" {
		t.Errorf("got %s, %s", &week, &hours)
	}
}
