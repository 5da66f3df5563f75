// Package test holds what concerns the whole program: here the arrows between its packages, in its folders the tests on real servers.
package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed says what each package may import, of this module and of others. The domain knows no adapter, an adapter knows no other,
// and only cmd knows all. A path that ends in / stands for all below it; the standard library is always allowed.
var allowed = map[string][]string{
	"idle-scaler/activity": {},
	"idle-scaler/policy":   {"idle-scaler/activity", "github.com/robfig/cron/v3"},
	"idle-scaler/scaler":   {"idle-scaler/activity", "idle-scaler/policy", "github.com/agnivade/levenshtein"},
	"idle-scaler/internal/kube": {
		"idle-scaler/activity", "idle-scaler/policy", "idle-scaler/scaler", "k8s.io/", "golang.org/x/sync/",
	},
	"idle-scaler/internal/bus": {
		"idle-scaler/activity", "idle-scaler/policy", "idle-scaler/scaler", "github.com/nats-io/", "github.com/cloudevents/sdk-go/v2/", "golang.org/x/sync/",
	},
	"idle-scaler/internal/ops": {"idle-scaler/scaler", "github.com/prometheus/client_golang/"},
}

// Every package imports only what its row allows, and every package but cmd and the tests has a row.
func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "idle-scaler/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(pkg, "idle-scaler/cmd/") || strings.HasPrefix(pkg, "idle-scaler/test") {
			continue
		}
		rules, known := allowed[pkg]
		if !known {
			t.Errorf("%s has no row: say here what it may import", pkg)
		}
		for imported := range strings.FieldsSeq(imports) {
			if standard(imported) || slices.ContainsFunc(rules, func(rule string) bool { return matches(rule, imported) }) {
				continue
			}
			t.Errorf("%s imports %s, which its row here does not allow", pkg, imported)
		}
	}
}

func matches(rule, path string) bool {
	return path == rule || strings.HasSuffix(rule, "/") && strings.HasPrefix(path, rule)
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != "idle-scaler"
}
