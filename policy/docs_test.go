package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "idle-scaler/policy"

	"idle-scaler/test/docstest"
)

// defaults are the settings of a server of which nothing is written.
var defaults = Defaults(30 * time.Minute)

const docs = "../docs/policy.md"

// The documentation says what the tests say: each table of docs/policy.md is made from their cases. The tables of the
// settings are made from policy.Table.
func TestDocs(t *testing.T) {
	docstest.Check(t, docs, map[string]string{
		"awake":        rulesTable(awakeRules),
		"before":       rulesTable(sleepRules),
		"asleep":       rulesTable(asleepRules),
		"sentences":    sentencesTable(),
		"windows":      windowsTable(t, windowCases),
		"clocks":       windowsTable(t, clockChangeCases),
		"holds":        holdsTable(t),
		"awake edges":  edgesTable(awakeEdges),
		"before edges": edgesTable(sleepEdges),
		"asleep edges": edgesTable(asleepEdges),
	})
	docstest.Check(t, "../docs/settings.md", map[string]string{
		"settings": settingsTable("| annotation | default | also on | meaning | for example |",
			annotationCell, defaultCell, placesCell, meaningCell, examplesCell),
		"errors": errorsTable(t),
	})
	docstest.Check(t, "../docs/wire.md", map[string]string{
		"settings": settingsTable("| field | unit | meaning |", fieldCell, unitCell, meaningCell),
	})
}

// The prose names rules of the first table by their numbers.
func TestDocsNumbers(t *testing.T) {
	for reason, number := range map[Reason]int{Autoscaled: 7, HeldAsleep: 8, MinAwake: 16, SleepAt: 17, Idle: 18} {
		if i := slices.IndexFunc(awakeRules, func(r row) bool { return r.reason == reason }); i+1 != number {
			t.Errorf("%s is rule %d, %s says %d", reason, i+1, docs, number)
		}
	}
}

// what says what an action is to somebody who watches the server.
var what = map[Action]string{
	Keep: "stays", Sleep: "**sleeps**", Wake: "**wakes**",
	Notify: "stays; `sleeping-soon` is published", WouldSleep: "stays; `would-sleep` is published",
}

func rulesTable(rules []row) string {
	var rows [][]string
	for i, r := range rules {
		rows = append(rows, []string{fmt.Sprint(i + 1), r.name, what[r.action], code(string(r.reason))})
	}
	return docstest.Table("| | if | it | reason |", rows...)
}

func edgesTable(edges []row) string {
	var rows [][]string
	for _, r := range edges {
		rows = append(rows, []string{r.name, what[r.action], code(string(r.reason)), r.next})
	}
	return docstest.Table("| | it | reason | until |", rows...)
}

func sentencesTable() string {
	var rows [][]string
	for _, c := range explainCases {
		rows = append(rows, []string{code(string(rules.Decide(c.facts, noon).Reason)), c.sentence, c.short})
	}
	return docstest.Table("| reason | explain | list |", rows...)
}

var code = docstest.Code

// settingsTable has a row for each setting, with these cells.
func settingsTable(head string, cells ...func(*Setting) string) string {
	var rows [][]string
	for i := range Table {
		var row []string
		for _, cell := range cells {
			row = append(row, cell(&Table[i]))
		}
		rows = append(rows, row)
	}
	return docstest.Table(head, rows...)
}

func annotationCell(row *Setting) string { return code("idle-scaler/" + row.Key) }
func fieldCell(row *Setting) string      { return code(strings.ReplaceAll(row.Key, "-", "_")) }
func meaningCell(row *Setting) string    { return row.Meaning }

// defaultCell is the default, as code where it can be written.
func defaultCell(row *Setting) string {
	text, s := row.Text(&defaults), defaults
	if err := row.Read(&s, text); err != nil || !same(s, defaults) {
		return text
	}
	return code(text)
}

func examplesCell(row *Setting) string {
	var examples []string
	for _, text := range row.Examples {
		examples = append(examples, code(text))
	}
	return strings.Join(examples, ", ")
}

func placesCell(row *Setting) string {
	var places []string
	for _, place := range row.Where {
		if name := map[Source]string{FromNamespace: "Namespace", FromConfig: "flag"}[place]; name != "" {
			places = append(places, name)
		}
	}
	return strings.Join(places, ", ")
}

// unitCell says what the value is on the wire, and which example is something else.
func unitCell(row *Setting) string {
	unit := func(value any) string {
		switch value.(type) {
		case time.Duration:
			return "duration"
		case int:
			return "count"
		case bool:
			return "`true`, `false`"
		case []string:
			return "list of names"
		}
		return "text"
	}
	usual := unit(row.Value(&defaults))
	for _, text := range row.Examples {
		s := defaults
		if err := row.Read(&s, text); err == nil && unit(row.Value(&s)) != usual {
			return usual + ", or " + code(text)
		}
	}
	return usual
}

func errorsTable(t *testing.T) string {
	var b strings.Builder
	for _, l := range []Layer{
		onServer("idle-after", "1d"), onServer("idle-afer", "never"), onServer("keep-warm", "9-18"), onServer("sleep-at", "22:00"), onServer("time-zone", "CEST+1"),
		layer(FromNamespace, "wake-on-activity", "no"), layer(FromNamespace, "group", "bots"), onServer("after", "db"),
	} {
		_, _, err := Parse(l)
		if err == nil {
			t.Fatalf("%v is no error", l)
		}
		fmt.Fprintf(&b, "    %s\n", err)
	}
	return "\n" + b.String() + "\n"
}

func windowsTable(t *testing.T, cases []windowCase) string {
	var rows [][]string
	for _, c := range cases {
		var open []string
		for _, span := range strings.Fields(c.open) {
			start, end, _ := strings.Cut(span, "/")
			open = append(open, between(instant(t, start), instant(t, end)))
		}
		if len(open) == 0 {
			open = []string{"never"}
		}
		rows = append(rows, []string{c.name, code(c.windows), c.zone, onDay(instant(t, c.after)), strings.Join(open, "<br>")})
	}
	return docstest.Table("| | `keep-warm` | `time-zone` | asked at | open |", rows...)
}

func holdsTable(t *testing.T) string {
	var rows [][]string
	for _, c := range untilCases {
		rows = append(rows, []string{c.name, code(c.text), c.zone, onDay(instant(t, c.from)), onDay(instant(t, c.until))})
	}
	return docstest.Table("| | written | `time-zone` | at | until |", rows...)
}

func onDay(at time.Time) string { return at.Format("Mon 2 Jan 2006 ") + clockAndOffset(at) }

func between(start, end time.Time) string {
	if start.Format(time.DateOnly) == end.Format(time.DateOnly) {
		return onDay(start) + " to " + clockAndOffset(end)
	}
	return onDay(start) + " to " + onDay(end)
}

func clockAndOffset(at time.Time) string {
	if at.Second() != 0 {
		return at.Format("15:04:05 -07:00")
	}
	return at.Format("15:04 -07:00")
}
