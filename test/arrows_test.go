// Package test holds what concerns the whole program: here the arrows between its packages, in its
// folders the tests on real servers.
package test

import (
	"go/parser"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed says what each package may import, of this module and of others. The domain knows no
// adapter, an adapter knows no other, and only cmd knows all. A path that ends in / stands for all
// below it; the standard library is always allowed.
var allowed = map[string][]string{
	"idle-scaler/activity":       {},
	"idle-scaler/policy":         {"idle-scaler/activity", "github.com/robfig/cron/v3"},
	"idle-scaler/policy/explain": {"idle-scaler/activity", "idle-scaler/policy"},
	"idle-scaler/scaler": {
		"idle-scaler/activity", "idle-scaler/policy", "idle-scaler/policy/explain", "idle-scaler/internal/share",
		"github.com/agnivade/levenshtein",
	},

	"idle-scaler/scaler/report": {"idle-scaler/policy", "idle-scaler/scaler"},

	"idle-scaler/internal/share": {},

	"idle-scaler/internal/kube": {
		"idle-scaler/activity", "idle-scaler/policy", "idle-scaler/scaler", "k8s.io/", "golang.org/x/sync/",
	},

	// What both ends of NATS share, and the other end.
	"idle-scaler/internal/wire":     {"idle-scaler/activity", "github.com/cloudevents/sdk-go/v2/"},
	"idle-scaler/internal/natsconn": {"idle-scaler/internal/wire", "github.com/nats-io/"},
	"idle-scaler/internal/client":   {"idle-scaler/internal/wire", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/", "golang.org/x/sync/"},

	// The daemon's side of NATS, from the bottom.
	"idle-scaler/internal/bus":          {},
	"idle-scaler/internal/bus/embedded": {"github.com/nats-io/nats-server/"},
	"idle-scaler/internal/bus/stream":   {"idle-scaler/activity", "idle-scaler/internal/natsconn", "idle-scaler/internal/wire", "github.com/nats-io/"},
	"idle-scaler/internal/bus/answer": {
		"idle-scaler/policy", "idle-scaler/policy/explain", "idle-scaler/scaler", "idle-scaler/internal/natsconn", "idle-scaler/internal/wire", "github.com/nats-io/",
	},
	"idle-scaler/internal/bus/event": {
		"idle-scaler/policy", "idle-scaler/scaler", "idle-scaler/internal/natsconn", "idle-scaler/internal/wire", "idle-scaler/internal/bus/stream", "github.com/nats-io/",
	},
	"idle-scaler/internal/bus/activitylog": {
		"idle-scaler/activity", "idle-scaler/policy", "idle-scaler/scaler",
		"idle-scaler/internal/natsconn", "idle-scaler/internal/wire", "idle-scaler/internal/bus/stream",
		"github.com/nats-io/", "golang.org/x/sync/",
	},
	"idle-scaler/internal/bus/command": {
		"idle-scaler/activity", "idle-scaler/scaler",
		"idle-scaler/internal/natsconn", "idle-scaler/internal/wire", "idle-scaler/internal/bus/stream", "idle-scaler/internal/bus/answer",
		"github.com/nats-io/",
	},
	"idle-scaler/internal/bus/api": {
		"idle-scaler/policy", "idle-scaler/scaler", "idle-scaler/scaler/report", "idle-scaler/internal/share",
		"idle-scaler/internal/wire", "idle-scaler/internal/bus/stream",
		"idle-scaler/internal/bus/answer", "idle-scaler/internal/bus/command", "idle-scaler/internal/bus/event",
		"github.com/nats-io/", "golang.org/x/sync/",
	},

	"idle-scaler/internal/ops": {"idle-scaler/policy", "idle-scaler/scaler", "github.com/prometheus/client_golang/"},
}

// faces are the files of cmd that speak to the daemon over NATS only, as anybody's program could.
var faces = []string{"client.go", "history.go", "holds.go", "leases.go", "orders.go", "pauses.go", "reads.go", "report.go", "status.go", "wakes.go"}

// Every package imports only what its row allows, and every package but cmd and the tests has a
// row.
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

// The client commands know the client and the wire. What else they import is for people: words of
// policy.
func TestFaces(t *testing.T) {
	for _, name := range faces {
		file, err := parser.ParseFile(token.NewFileSet(), "../cmd/idle-scaler/"+name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			known := []string{"idle-scaler/internal/client", "idle-scaler/internal/wire", "idle-scaler/policy", "idle-scaler/policy/explain"}
			if strings.HasPrefix(path, "idle-scaler/") && !slices.Contains(known, path) {
				t.Errorf("%s imports %s: it may know the client and the wire", name, path)
			}
		}
	}
}
