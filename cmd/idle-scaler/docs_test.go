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

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
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

// The table of codes is that of internal/bus/answer/code.go.
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

// The README has every client command and every type of event. TestDocs of policy holds its
// settings.
func TestReadme(t *testing.T) {
	_, parts := read(t, "../../README.md")
	for _, cmd := range clientCommands() {
		if !strings.Contains(parts["Run it"], "    idle-scaler "+cmd.Name()+" ") {
			t.Errorf("the command %s is not in the README", cmd.Name())
		}
	}
	for _, kind := range eventTypes(t) {
		if !strings.Contains(parts["Subjects"], "`"+kind+"`") {
			t.Errorf("the event %s is not in the README", kind)
		}
	}
}
