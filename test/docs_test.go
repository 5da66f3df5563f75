package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link     = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	testName = regexp.MustCompile(`\bTest[A-Z]\w*`)
	goFile   = regexp.MustCompile("`((?:activity|cmd|internal|policy|scaler|test)/[\\w/-]+\\.go)`")
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

// What the documents name is there: the files and headings that they link to, the Go files, and the
// tests.
func TestDocs(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files", "*.md", "*_test.go").Output()
	if err != nil {
		t.Skipf("no git repository: %v", err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var docs []string
	var tests strings.Builder
	for name := range strings.FieldsSeq(string(out)) {
		if name = filepath.Join("..", name); strings.HasSuffix(name, ".md") {
			docs = append(docs, name)
		} else {
			tests.WriteString(read(name))
		}
	}
	for _, name := range docs {
		text := read(name)
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
				for _, h := range heading.FindAllStringSubmatch(read(target), -1) {
					known = known || anchor(h[1]) == found[2]
				}
			}
			if !known {
				t.Errorf("%s links to %s%s: there is no such heading", name, found[1], found[2])
			}
		}
		for _, found := range goFile.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", found[1])); err != nil {
				t.Errorf("%s names %s, which is not there", name, found[1])
			}
		}
		for _, found := range testName.FindAllString(text, -1) {
			if !strings.Contains(tests.String(), "func "+found) { // a name may stand for all that begin with it
				t.Errorf("%s names %s: there is no such test", name, found)
			}
		}
	}
}
