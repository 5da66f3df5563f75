package policy_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "idle-scaler/policy"
)

var updateDocs = flag.Bool("update-docs", false, "write the tables of the documentation again from the cases of the tests, and from the settings")

// defaults are the settings of a server of which nothing is written.
var defaults = Defaults(30 * time.Minute)

const docs = "../docs/policy.md"

// generated matches what stands between the marks of a generated part.
var generated = regexp.MustCompile(`(?s)<!-- ([a-z ]+) -->\n(.*?)<!-- end -->`)

// The documentation says what the tests say: each table of docs/policy.md is made from their cases.
// Those of the settings, wherever they are, are made from the settings.
func TestDocs(t *testing.T) {
	makeDocs(t, docs, map[string]string{
		"awake":        rulesTable(awakeRules),
		"before":       rulesTable(sleepRules),
		"asleep":       rulesTable(asleepRules),
		"sentences":    sentencesTable(),
		"settings":     settingsTable("| key | default | meaning | for example |", keyCell, defaultCell, meaningCell, examplesCell),
		"errors":       errorsTable(t),
		"windows":      windowsTable(t, windowCases),
		"clocks":       windowsTable(t, clockChangeCases),
		"holds":        holdsTable(t),
		"awake edges":  edgesTable(awakeEdges),
		"before edges": edgesTable(sleepEdges),
		"asleep edges": edgesTable(asleepEdges),
	})
	makeDocs(t, "../README.md", map[string]string{
		"settings": settingsTable("| annotation | default | also on | meaning | for example |",
			annotationCell, defaultCell, placesCell, meaningCell, exampleCell),
	})
	makeDocs(t, "../docs/wire.md", map[string]string{
		"settings": settingsTable("| field | unit | meaning |", fieldCell, unitCell, meaningCell),
	})
}

// makeDocs compares the generated parts of a file with what they should be, by name, or writes them
// again.
func makeDocs(t *testing.T, file string, parts map[string]string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	text := generated.ReplaceAllStringFunc(string(data), func(old string) string {
		name := generated.FindStringSubmatch(old)[1]
		part, ok := parts[name]
		if !ok || seen[name] {
			t.Errorf("%s has a part %q that no test makes, or twice", file, name)
		}
		seen[name] = true
		return fmt.Sprintf("<!-- %s -->\n%s<!-- end -->", name, part)
	})
	for name := range parts {
		if !seen[name] {
			t.Errorf("%s has no part %q", file, name)
		}
	}
	if text == string(data) {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s is not what the tests and the settings say: go test ./policy -update-docs", file)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
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
	Keep: "stays", Sleep: "**sleeps**", Wake: "**wakes**", Notify: "stays; an event says that it sleeps soon", WouldSleep: "stays; an event says that it would sleep",
}

// table writes rows of cells under a head; a | in a cell would end it.
func table(head string, rows ...[]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s|\n", head, strings.Repeat("|---", strings.Count(head, "|")-1))
	for _, cells := range rows {
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", "\\|")
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

func rulesTable(rules []row) string {
	var rows [][]string
	for i, r := range rules {
		rows = append(rows, []string{fmt.Sprint(i + 1), r.name, what[r.action], code(string(r.reason))})
	}
	return table("| | if | it | reason |", rows...)
}

func edgesTable(edges []row) string {
	var rows [][]string
	for _, r := range edges {
		rows = append(rows, []string{r.name, what[r.action], code(string(r.reason)), r.next})
	}
	return table("| | it | reason | until |", rows...)
}

func sentencesTable() string {
	var rows [][]string
	for _, c := range explainCases {
		rows = append(rows, []string{code(string(rules.Decide(c.facts, noon).Reason)), c.sentence, c.short})
	}
	return table("| reason | explain | list |", rows...)
}

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
	return table(head, rows...)
}

func keyCell(row *Setting) string        { return code(row.Key) }
func annotationCell(row *Setting) string { return code("idle-scaler/" + row.Key) }
func fieldCell(row *Setting) string      { return code(strings.ReplaceAll(row.Key, "-", "_")) }
func meaningCell(row *Setting) string    { return row.Meaning }
func exampleCell(row *Setting) string    { return code(row.Examples[0]) }

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

func code(text string) string { return fmt.Sprintf("`%s`", text) }

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
	return table("| | `keep-warm` | `time-zone` | asked at | open |", rows...)
}

func holdsTable(t *testing.T) string {
	var rows [][]string
	for _, c := range untilCases {
		rows = append(rows, []string{c.name, code(c.text), c.zone, onDay(instant(t, c.from)), onDay(instant(t, c.until))})
	}
	return table("| | written | `time-zone` | at | until |", rows...)
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
