package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"idle-scaler/internal/ops"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/test/docstest"
)

// wireDocs returns docs/wire.md, in parts by heading.
func wireDocs(t *testing.T) (text string, parts map[string]string) {
	t.Helper()
	return read(t, "../../docs/wire.md")
}

// read returns a document, in parts by heading.
func read(t *testing.T, file string) (text string, parts map[string]string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts = make(map[string]string)
	for part := range strings.SplitSeq("\n"+string(data), "\n#") {
		heading, body, _ := strings.Cut(strings.TrimLeft(part, "#"), "\n")
		parts[strings.Trim(heading, " `")] = body
	}
	return string(data), parts
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// column returns the code spans in one column of the tables of a part.
func column(part string, n int) (words []string) {
	for line := range strings.Lines(part) {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "|") && len(cells) > n+1 {
			for _, match := range codeSpan.FindAllStringSubmatch(cells[n+1], -1) {
				words = append(words, match[1])
			}
		}
	}
	return words
}

func mustBeEqual(t *testing.T, what string, documented, inCode []string) {
	t.Helper()
	slices.Sort(documented)
	slices.Sort(inCode)
	if documented, inCode = slices.Compact(documented), slices.Compact(inCode); !slices.Equal(documented, inCode) {
		t.Errorf("%s: the documentation has %q, the code has %q", what, documented, inCode)
	}
}

// source returns the files of a package, without its tests.
func source(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func inspect(files []*ast.File, visit func(ast.Node)) {
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool { visit(n); return true })
	}
}

func unquote(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	text, _ := strconv.Unquote(literal.Value)
	return text
}

// docs/wire.md has every field of every answer, under the name of its type, and no other field. The
// same holds for payloads.
func TestWireFields(t *testing.T) {
	_, parts := wireDocs(t)
	structs := make(map[string][]string)
	var payload []string
	inspect(source(t, "../../internal/wire"), func(n ast.Node) {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if s, ok := n.Type.(*ast.StructType); ok && n.Name.IsExported() {
				for _, field := range s.Fields.List {
					if field.Tag == nil {
						continue
					}
					name, _, _ := strings.Cut(reflect.StructTag(unquote(field.Tag)).Get("json"), ",")
					structs[n.Name.Name] = append(structs[n.Name.Name], name)
				}
			}
		case *ast.CompositeLit: // fields{"id": ...}
			if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "fields" {
				for _, e := range n.Elts {
					payload = append(payload, unquote(e.(*ast.KeyValueExpr).Key))
				}
			}
		case *ast.AssignStmt: // to["wait"] = ...
			for _, left := range n.Lhs {
				if at, ok := left.(*ast.IndexExpr); ok {
					if to, ok := at.X.(*ast.Ident); ok && to.Name == "to" {
						payload = append(payload, unquote(at.Index))
					}
				}
			}
		}
	})
	maps.DeleteFunc(structs, func(name string, _ []string) bool { // payloads, which are below
		return name == "Sender" || strings.HasSuffix(name, "Request")
	})
	if len(structs) < 10 || len(payload) < 10 {
		t.Fatalf("found only %v and %q: does this test still know the code?", structs, payload)
	}
	for name, fields := range structs {
		mustBeEqual(t, name, column(parts[name], 0), fields)
	}
	var settings []string
	for _, setting := range policy.Table {
		settings = append(settings, wire.Field(setting.Key))
	}
	mustBeEqual(t, "Settings", column(parts["Settings"], 0), settings)
	mustBeEqual(t, "the fields of payloads", slices.Concat(column(parts["Commands"], 0), column(parts["Leases"], 0),
		column(parts["Questions"], 0), column(parts["PauseOrder"], 0)), payload)
}

// The table of codes in docs/wire.md is that of internal/bus/answer.
func TestWireCodes(t *testing.T) {
	_, parts := wireDocs(t)
	texts := make(map[string]string) // by the name of the error
	errs := slices.Concat(source(t, "../../scaler"), source(t, "../../internal/wire"))
	table := source(t, "../../internal/bus/answer")
	var inCode []string
	inspect(slices.Concat(errs, table), func(n ast.Node) {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == 1 && len(v.Values) == 1 {
			if call, ok := v.Values[0].(*ast.CallExpr); ok && len(call.Args) == 1 {
				texts[v.Names[0].Name] = unquote(call.Args[0])
			}
		}
	})
	inspect(table, func(n ast.Node) {
		v, ok := n.(*ast.ValueSpec)
		if !ok || v.Names[0].Name != "codes" {
			return
		}
		for _, row := range v.Values[0].(*ast.CompositeLit).Elts {
			row := row.(*ast.CompositeLit)
			var name string
			switch e := row.Elts[0].(type) {
			case *ast.SelectorExpr:
				name = e.Sel.Name
			case *ast.Ident:
				name = e.Name
			}
			inCode = append(inCode, row.Elts[1].(*ast.BasicLit).Value+" "+texts[name])
		}
	})
	var documented []string
	for line := range strings.Lines(parts["Codes"]) {
		if code := strings.TrimSpace(strings.Trim(line, "|")); len(code) > 3 && code[0] >= '1' && code[0] <= '9' {
			for _, word := range column(line, 1) {
				documented = append(documented, code[:3]+" "+word)
			}
		}
	}
	mustBeEqual(t, "codes", documented, inCode)
}

// eventTypes returns the types of events of the domain.
func eventTypes(t *testing.T) (types []string) {
	t.Helper()
	inspect(source(t, "../../scaler"), func(n ast.Node) {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "EventType" {
				types = append(types, unquote(v.Values[0]))
			}
		}
	})
	return types
}

// docs/wire.md has all types of events. Its examples are JSON, and a table explains each of their
// fields.
func TestWireExamples(t *testing.T) {
	text, parts := wireDocs(t)
	_, table, _ := strings.Cut(parts["Events"], "| type |")
	mustBeEqual(t, "types of events", column(table, 0), eventTypes(t))

	known := make(map[string]bool)
	for _, part := range parts {
		for _, word := range column(part, 0) {
			known[word] = true
		}
	}
	var check func(v any)
	check = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if !known[key] {
					t.Errorf("an example has %q, which no table explains", key)
				}
				if key != "labels" {
					check(value)
				}
			}
		case []any:
			for _, value := range v {
				check(value)
			}
		}
	}
	examples := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(examples) < 5 {
		t.Errorf("there are only %d examples", len(examples))
	}
	for _, example := range examples {
		var v any
		if err := json.Unmarshal([]byte(example[1]), &v); err != nil {
			t.Errorf("an example is no JSON: %v\n%s", err, example[1])
		}
		check(v)
	}
}

// The tables of flags and commands are made from the flags and commands.
func TestReference(t *testing.T) {
	var daemon Config
	var flags pflag.FlagSet
	flags.SortFlags = false
	daemon.register(&flags)
	settings := policy.Keys(policy.FromConfig)
	isSetting := func(f *pflag.Flag) bool { return slices.Contains(settings, f.Name) }
	isNATS := func(f *pflag.Flag) bool { return strings.HasPrefix(f.Name, "nats") || f.Name == "prefix" }
	docstest.Check(t, "../../docs/flags.md", map[string]string{
		"nats flags":     flagTable(&flags, isNATS),
		"settings flags": flagTable(&flags, isSetting),
		"daemon flags":   flagTable(&flags, func(f *pflag.Flag) bool { return !isNATS(f) && !isSetting(f) }),
	})
	var commands, own [][]string
	rows := make(map[string]int) // of own, by what they say of a flag
	for _, cmd := range slices.Concat([]*cobra.Command{daemonCommand(), configCommand()}, clientCommands()) {
		commands = append(commands, []string{docstest.Code("idle-scaler " + cmd.Use), cmd.Short})
		if cmd.Name() == "run" || cmd.Name() == "config" { // theirs are in docs/flags.md
			continue
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if isNATS(f) {
				return
			}
			cells := flagCells(f)
			key := strings.Join(cells, "|")
			at, known := rows[key]
			if !known {
				at = len(own)
				rows[key] = at
				own = append(own, append([]string{""}, cells...))
			}
			own[at][0] = strings.TrimPrefix(own[at][0]+", "+docstest.Code(cmd.Name()), ", ")
		})
	}
	for _, row := range own { // the longest lists say the least
		if n := strings.Count(row[0], ",") + 1; n >= len(clientCommands())-1 {
			row[0] = "all"
			if n < len(clientCommands()) {
				row[0] = "all except `watch`"
			}
		}
	}
	name := func(row []string) string { return strings.TrimLeft(row[1], "`-") }
	slices.SortStableFunc(own, func(a, b []string) int { return strings.Compare(name(a), name(b)) })
	docstest.Check(t, "../../docs/commands.md", map[string]string{
		"commands":      docstest.Table("| command | meaning |", commands...),
		"command flags": docstest.Table("| of | flag | default | meaning |", own...),
	})
}

// flagTable has the flags that are chosen, in the order of their registration.
func flagTable(flags *pflag.FlagSet, chosen func(*pflag.Flag) bool) string {
	var rows [][]string
	flags.VisitAll(func(f *pflag.Flag) {
		if chosen(f) {
			rows = append(rows, flagCells(f))
		}
	})
	return docstest.Table("| flag | default | meaning |", rows...)
}

// flagCells say what a flag is called, its default and its meaning. The defaults that name the user are not those of the
// machine on which the test runs.
func flagCells(f *pflag.Flag) []string {
	value, meaning := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	standard := strings.Trim(f.DefValue, "[]")
	switch {
	case f.Name == "actor":
		standard = "USER"
	case f.Name == "holder":
		standard = "USER@HOST"
	case strings.HasSuffix(standard, "m0s"):
		standard = strings.TrimSuffix(standard, "0s")
	}
	if standard != "" {
		standard = docstest.Code(standard)
	}
	return []string{docstest.Code(strings.TrimSpace(name + " " + value)), standard, meaning}
}

// The exit codes of docs/commands.md are those of the program.
func TestExitCodesOfTheDocs(t *testing.T) {
	_, parts := read(t, "../../docs/commands.md")
	var inCode []string
	for _, code := range []int{0, exitFailed, exitUsage, exitNoAnswer} {
		inCode = append(inCode, strconv.Itoa(code))
	}
	mustBeEqual(t, "exit codes", column(parts["Exit codes"], 0), inCode)
}

// docs/metrics.md has every metric with its labels. By convention a counter, and nothing else, ends in _total.
func TestMetricsOfTheDocs(t *testing.T) {
	_, parts := read(t, "../../docs/metrics.md")
	var documented []string
	for line := range strings.Lines(parts["Metrics"]) {
		names := column(line, 0)
		if len(names) == 0 {
			continue
		}
		labels := column(line, 2)
		slices.Sort(labels)
		documented = append(documented, names[0]+" "+strings.Join(labels, ","))
		kind := strings.TrimSpace(strings.Split(line, "|")[2])
		if strings.HasSuffix(names[0], "_total") != (kind == "counter") {
			t.Errorf("%s is documented as a %s", names[0], kind)
		}
	}
	metrics := ops.NewMetrics("test")
	observe(metrics, nil, nil, nil, nil) // which reads them at a scrape only
	found := make(chan *prometheus.Desc)
	go func() { metrics.Registry.Describe(found); close(found) }()
	text := regexp.MustCompile(`fqName: "(idle_scaler_\w+)".* constLabels: {(.*)}, variableLabels: {(.*)}}`)
	var inCode []string
	for desc := range found {
		match := text.FindStringSubmatch(desc.String())
		if match == nil { // those of Go and of the process
			continue
		}
		var labels []string
		for label := range strings.SplitSeq(match[2]+","+match[3], ",") {
			if label, _, _ = strings.Cut(label, "="); label != "" {
				labels = append(labels, label)
			}
		}
		slices.Sort(labels)
		inCode = append(inCode, match[1]+" "+strings.Join(labels, ","))
	}
	mustBeEqual(t, "metrics", documented, inCode)
}

// docs/settings.md has every annotation that the daemon writes.
func TestAnnotationsOfTheDaemon(t *testing.T) {
	_, parts := read(t, "../../docs/settings.md")
	values := make(map[string]string) // of constants, by name
	var names []string
	inspect(source(t, "../../internal/kube"), func(n ast.Node) {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return
		}
		for i, value := range v.Values {
			values[v.Names[i].Name] = unquote(value)
			if list, ok := value.(*ast.CompositeLit); ok && v.Names[i].Name == "markKeys" {
				for _, e := range list.Elts {
					names = append(names, e.(*ast.Ident).Name)
				}
			}
		}
	})
	var inCode []string
	for _, name := range names {
		inCode = append(inCode, "idle-scaler/"+values[name])
	}
	if len(inCode) < 5 {
		t.Fatalf("found only %q: does this test still know the code?", inCode)
	}
	mustBeEqual(t, "annotations of the daemon", column(parts["What the daemon writes"], 0), inCode)
}

// A line of code that calls idle-scaler is one that it takes, in every document.
func TestCommandLinesOfTheDocs(t *testing.T) {
	checked := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md", "../../deploy/*.md", "../../deploy/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, _ := read(t, file)
			fenced := false
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "```") {
					fenced = !fenced
				}
				code := fenced || strings.HasPrefix(line, "    ")
				line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "bin/")
				if !code || !strings.HasPrefix(line, "idle-scaler ") {
					continue
				}
				checked++
				if err := takes(words(line)); err != nil {
					t.Errorf("%s: %q: %v", file, line, err)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("checked only %d lines", checked)
	}
}

// words are those of a line for a shell, up to a comment or another command.
func words(line string) (words []string) {
	for i, part := range strings.Split(line, `"`) { // every other is in quotes
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		for word := range strings.FieldsSeq(part) {
			if strings.HasPrefix(word, "#") || word == "&&" || word == "|" || word == ">" {
				return words
			}
			words = append(words, word)
		}
	}
	return words
}

// takes returns what is wrong with the words of a call of idle-scaler.
func takes(words []string) error {
	cmd, args, err := rootCommand().Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil && cmd.Args != nil {
		err = cmd.Args(cmd, cmd.Flags().Args())
	}
	return err
}
