// Package docstest keeps parts of the documentation as the code says. A test makes the text of a part and calls [Check].
// It fails while the file says something else; with the flag -update-docs it writes the file instead.
package docstest

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update-docs", false, "write the generated parts of the documentation")

// generated matches what stands between the marks of a generated part.
var generated = regexp.MustCompile(`(?s)<!-- ([a-z ]+) -->\n(.*?)<!-- end -->`)

// Check compares the generated parts of a file, by name, with what they should be.
func Check(t *testing.T, file string, parts map[string]string) {
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
	if !*update {
		t.Fatalf("%s is not what the code says: go test ./policy ./cmd/idle-scaler -update-docs", file)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Table writes rows of cells under a head. A | in a cell would end it.
func Table(head string, rows ...[]string) string {
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

// Code writes a text as code, in Markdown.
func Code(text string) string { return fmt.Sprintf("`%s`", text) }
