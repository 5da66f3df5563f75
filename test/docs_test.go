package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	link     = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	testName = regexp.MustCompile(`\bTest[A-Z]\w*`)
	goFile   = regexp.MustCompile("`((?:activity|cmd|internal|policy|scaler|test)/[\\w/-]+\\.go)`(?:\\s+\\(([^)]*)\\))?")
	codeSpan = regexp.MustCompile("`([^`]+)`")
)

// anchor is the name under which a heading can be linked to.
func anchor(heading string) string {
	return "#" + strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case strings.ContainsRune("`.,:;?!()/'\"<>*…", r):
			return -1
		}
		return r
	}, strings.ToLower(heading))
}

// documents returns the Markdown files of the project by name, and the names of its test files.
func documents(t *testing.T) (docs map[string]string, tests []string) {
	t.Helper()
	out, err := exec.Command("git", "-C", "..", "ls-files", "*.md", "*_test.go").Output()
	if err != nil {
		t.Skipf("no git repository: %v", err)
	}
	docs = make(map[string]string)
	for name := range strings.FieldsSeq(string(out)) {
		if name = filepath.Join("..", name); strings.HasSuffix(name, ".md") {
			docs[name] = read(t, name)
		} else {
			tests = append(tests, name)
		}
	}
	return docs, tests
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the documents name is there: the files and headings that they link to, the Go files, what they name in
// brackets after a Go file, and the tests.
func TestDocs(t *testing.T) {
	docs, testFiles := documents(t)
	var tests strings.Builder
	for _, name := range testFiles {
		tests.WriteString(read(t, name))
	}
	for name, text := range docs {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target := name
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(name), found[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", name, found[1])
				continue
			}
			known := found[2] == ""
			if !known {
				for _, h := range heading.FindAllStringSubmatch(read(t, target), -1) {
					known = known || anchor(h[1]) == found[2]
				}
			}
			if !known {
				t.Errorf("%s links to %s%s: there is no such heading", name, found[1], found[2])
			}
		}
		for _, found := range goFile.FindAllStringSubmatch(text, -1) {
			file := filepath.Join("..", found[1])
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s names %s, which is not there", name, found[1])
				continue
			}
			declared := declarations(t, file)
			for _, word := range codeSpan.FindAllStringSubmatch(found[2], -1) {
				if !declared[word[1]] {
					t.Errorf("%s says that %s has %s: it does not", name, found[1], word[1])
				}
			}
		}
		for _, found := range testName.FindAllString(text, -1) {
			if !strings.Contains(tests.String(), "func "+found) { // a name may stand for all that begin with it
				t.Errorf("%s names %s: there is no such test", name, found)
			}
		}
	}
}

// declarations are the functions, methods (as Type.method), types, variables and constants of a Go file.
func declarations(t *testing.T, name string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := make(map[string]bool)
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			declared[receiver(d)+d.Name.Name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					declared[spec.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						declared[name.Name] = true
					}
				}
			}
		}
	}
	return declared
}

// receiver is the type of a method with a dot after it; empty for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	kind := f.Recv.List[0].Type
	if pointer, ok := kind.(*ast.StarExpr); ok {
		kind = pointer.X
	}
	if generic, ok := kind.(*ast.IndexExpr); ok {
		kind = generic.X
	}
	if name, ok := kind.(*ast.Ident); ok {
		return name.Name + "."
	}
	return ""
}

// Prose is wrapped: only tables, code and what is generated may be wider than 120 columns, and the README is
// narrower.
func TestDocsAreWrapped(t *testing.T) {
	docs, _ := documents(t)
	for name, text := range docs {
		widest := 120
		if name == "../README.md" {
			widest = 100
		}
		fenced := false
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if fenced || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "    ") {
				continue
			}
			if n := utf8.RuneCountInString(line); n > widest {
				t.Errorf("%s:%d has %d columns, at most are %d", name, i+1, n, widest)
			}
		}
	}
}

// The README is a page, the glossary is short, and the index leaves out no document.
func TestDocsAreShort(t *testing.T) {
	docs, _ := documents(t)
	if n := strings.Count(docs["../README.md"], "\n"); n > 120 {
		t.Errorf("the README has %d lines, at most are 120", n)
	}
	if n := strings.Count(docs["../docs/glossary.md"], "\n| ") - 1; n > 15 {
		t.Errorf("the glossary has %d terms, at most are 15", n)
	}
	index := docs["../docs/README.md"]
	for name := range docs {
		path, err := filepath.Rel("../docs", name)
		if err != nil {
			t.Fatal(err)
		}
		if path != "README.md" && path != "../README.md" && !strings.Contains(index, "]("+path) {
			t.Errorf("docs/README.md does not list %s", path)
		}
	}
}

// The tutorial is the demo's story: it has each sentence that the demo says, and each command that it runs.
func TestTutorial(t *testing.T) {
	tutorial := strings.Join(strings.Fields(read(t, "../docs/tutorial.md")), " ")
	file, err := parser.ParseFile(token.NewFileSet(), "demo/main.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	ast.Inspect(file, func(n ast.Node) bool {
		step, ok := n.(*ast.CompositeLit)
		if !ok || step.Type != nil || len(step.Elts) != 3 {
			return true
		}
		args, ok := step.Elts[1].(*ast.CompositeLit)
		if !ok {
			return true
		}
		steps++
		command := "$ idle-scaler"
		for _, arg := range args.Elts {
			text := literal(t, arg)
			if strings.Contains(text, " ") {
				text = strconv.Quote(text)
			}
			command += " " + text
		}
		for _, text := range []string{literal(t, step.Elts[0]), command} {
			if !strings.Contains(tutorial, text) {
				t.Errorf("the demo says %q, docs/tutorial.md does not", text)
			}
		}
		return false
	})
	if steps < 5 {
		t.Errorf("found only %d steps: does this test still know the demo?", steps)
	}
}

func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		t.Fatalf("not a literal: %T", e)
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
