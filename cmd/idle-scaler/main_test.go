package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/embedded"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
)

var quiet = slog.New(slog.DiscardHandler)

// TestMain takes away what the environment of the tests says to the program.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "IDLE_SCALER_") || name == "NATS_URL" || name == "KUBECONFIG" {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// execute runs the program.
func execute(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// startNATS starts a NATS server for one test, and returns its URL.
func startNATS(t *testing.T) string {
	t.Helper()
	s, err := embedded.Start(t.TempDir(), 0, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s.URL()
}

// makeStreams makes the streams of the daemon, as if it had run once.
func makeStreams(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	if err == nil {
		err = stream.Ensure(t.Context(), nc, stream.Options{Subjects: subjects, Owner: "default", Replicas: 1}, quiet)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// nowhere is a NATS server that is not there.
const nowhere = "nats://127.0.0.1:1"

// The exit code says who has to do something: 2 the user of the program, 3 whoever runs NATS or the daemon. What is wrong with the command is
// said before NATS is asked for: who repairs NATS first would be told then.
func TestExitCodes(t *testing.T) {
	url, kept := startNATS(t), startNATS(t)
	makeStreams(t, kept)
	for _, test := range []struct {
		name string
		args []string
		want int
		says string // on either output
	}{
		{"help", []string{"help"}, 0, "Usage:"},
		{"nothing", nil, 0, "Usage:"},
		{"the version", []string{"--version"}, 0, "idle-scaler version"},
		{"a valid configuration", []string{"config", "--nats", nowhere}, 0, "cluster:"},
		{"an unknown command", []string{"lst"}, exitUsage, `unknown command "lst": see "idle-scaler --help"`},
		{"an unknown flag", []string{"list", "--nat", nowhere}, exitUsage, `unknown flag: --nat: see "idle-scaler list --help"`},
		{"run takes no arguments", []string{"run", "now"}, exitUsage, `idle-scaler run takes no arguments, it was given "now"`},
		{"list takes no arguments", []string{"list", "team-a"}, exitUsage, `it is "idle-scaler list"`},
		{"status of nobody", []string{"status"}, exitUsage, `it is "idle-scaler status NAME..."`},
		{"scale without a name", []string{"scale", "3"}, exitUsage, `it is "idle-scaler scale REPLICAS NAME..."`},
		{"names before replicas", []string{"scale", "--nats", nowhere, "team-a/web", "3"}, exitUsage, "write a whole number of 0 or more, before the names"},
		{"a hold without a time", []string{"hold", "--nats", nowhere, "team-a/web"}, exitUsage, "either --awake-until or --asleep-until"},
		{"a hold both ways", []string{"hold", "--nats", nowhere, "--awake-until", "2h", "--asleep-until", "2h", "team-a/web"}, exitUsage, "either --awake-until or --asleep-until"},
		{"a pause of nothing", []string{"pause", "--nats", nowhere}, exitUsage, "say which servers: names, -n NAMESPACE for all of a namespace, or --all"},
		{"a pause of all and one", []string{"pause", "--nats", nowhere, "--all", "team-a/web"}, exitUsage, "--all is all servers"},
		{"a pause of all of one", []string{"resume", "--nats", nowhere, "--all", "-n", "team-a"}, exitUsage, "--all is all servers"},
		{"wake without all", []string{"wake", "--nats", nowhere}, exitUsage, `it is "idle-scaler wake --all"`},
		{"wake one", []string{"wake", "--nats", nowhere, "--all", "team-a/web"}, exitUsage, `"idle-scaler start NAME"`},
		{"disable one namespace", []string{"disable", "--nats", nowhere, "-n", "team-a"}, exitUsage, "disable is about all servers"},
		{"no wait for all", []string{"disable", "--nats", nowhere, "--wait", "0s"}, exitUsage, "--wait 0s is not above 0"},
		{"no time in a history", []string{"history", "--nats", nowhere, "--since", "last week", "team-a/web"}, exitUsage, `write how long, like "24h" or "7d"`},
		{"nothing in a history", []string{"history", "--nats", nowhere, "--limit", "0", "team-a/web"}, exitUsage, "--limit 0: ask for at least 1"},
		{"no time in a report", []string{"report", "--nats", nowhere, "--over", "-1h"}, exitUsage, `write how long, like "24h" or "7d"`},
		{"an unknown output", []string{"list", "--nats", nowhere, "-o", "xml"}, exitUsage, "write one of table, json, yaml, name"},
		{"a lease for no time", []string{"lease", "--nats", nowhere, "--ttl", "0s", "team-a/web"}, exitUsage, "--ttl 0s is not above 0: write how long it is in use, like 5m, or --end"},
		{"a lease for too long", []string{"lease", "--nats", nowhere, "--ttl", "25h", "team-a/web"}, exitUsage, "write at most 24h0m0s, and renew the lease in time"},
		{"a lease that ends and lasts", []string{"lease", "--nats", nowhere, "--ttl", "1h", "--end", "team-a/web"}, exitUsage, "either --ttl or --end"},
		{"a lease of a bad holder", []string{"lease", "--nats", nowhere, "--holder", "gw.1", "team-a/web"}, exitUsage, `lease holder "gw.1": write visible ASCII`},
		{"a lease of nobody", []string{"lease", "--nats", nowhere, "--holder", "", "team-a/web"}, exitUsage, "write who uses it: --holder ID"},
		{"a lease that no stream takes", []string{"lease", "--nats", url, "team-a/web"}, exitNoAnswer, "has idle-scaler ever run here"},
		{"a lease needs no daemon", []string{"lease", "--nats", kept, "--holder", "gw-1", "team-a/web"}, 0, "team-a/web is leased to gw-1 for 5m\n"},
		{"a negative wait for a number", []string{"scale", "--nats", nowhere, "--wait", "-1s", "3", "team-a/web"}, exitUsage, "--wait -1s is negative"},
		{"a negative wait for all", []string{"wake", "--all", "--nats", nowhere, "--wait", "-1s"}, exitUsage, "--wait -1s is negative"},
		{"a ping of a bad name", []string{"ping", "--nats", nowhere, "team-a/Web"}, exitUsage, `name "Web"`},
		{"a pause of a bad name", []string{"pause", "--nats", nowhere, "web"}, exitUsage, `NAMESPACE/web, or -n NAMESPACE`},
		{"a watch has no answer to wait for", []string{"watch", "--nats", nowhere, "--timeout", "5s"}, exitUsage, "unknown flag: --timeout"},
		{"a negative wait", []string{"start", "--nats", nowhere, "--wait", "-1s", "team-a/web"}, exitUsage, "--wait -1s is negative"},
		{"a wait without how long", []string{"start", "--nats", nowhere, "--wait", "team-a/web"}, exitUsage, "--wait team-a/web: write how long, like --wait 60s"},
		{"a wait without how long for all", []string{"wake", "--all", "--nats", nowhere, "--wait", "now"}, exitUsage, "--wait now: write how long, like --wait 60s"},
		{"a wait of a number", []string{"scale", "--nats", nowhere, "--wait=60", "3", "team-a/web"}, exitUsage, "--wait 60: write how long, like --wait 60s"},
		{"no time to answer", []string{"list", "--nats", nowhere, "--timeout", "0s"}, exitUsage, "timeout: 0s is not above 0"},
		{"a name without a namespace", []string{"status", "--nats", nowhere, "web"}, exitUsage, `NAMESPACE/web, or -n NAMESPACE`},
		{"every bad name", []string{"status", "--nats", nowhere, "web", "A/b"}, exitUsage, `namespace "A"`},
		{"the client without NATS", []string{"list"}, exitUsage, "nats: not set"},
		{"the daemon without NATS", []string{"run"}, exitUsage, "nats: not set"},
		{"the daemon's own NATS, from outside", []string{"list", "--nats", "embedded"}, exitUsage, `"embedded" is for the daemon`},
		{"NATS away", []string{"list", "--nats", nowhere}, exitNoAnswer, "connect to NATS"},
		{"the daemon away", []string{"list", "--nats", url}, exitNoAnswer, "is idle-scaler running"},
		{"a ping that no stream takes", []string{"ping", "--nats", url, "team-a/web"}, exitNoAnswer, "has idle-scaler ever run here"},
		{"a ping needs no daemon", []string{"ping", "--nats", kept, "team-a/web"}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, out, errs := execute(test.args...)
			if code != test.want || !strings.Contains(out+errs, test.says) {
				t.Errorf("%q ended with %d, want %d and %q, and said:\n%s%s", test.args, code, test.want, test.says, out, errs)
			}
			for line := range strings.Lines(errs) {
				if !strings.HasPrefix(line, "idle-scaler: ") {
					t.Errorf("the error %q does not say whose it is", line)
				}
			}
		})
	}
}

// Without a setting of NATS there is an error, never a private server that nobody else reaches.
func TestNATSIsNeverGuessed(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, value := range []string{"", ",", " ", "http://host", "nats://", "nats://:4222", "embedded,nats://a", "nats://a:b:c"} {
		for _, command := range []string{"run", "config", "list"} {
			if code, out, errs := execute(command, "--nats", value); code != exitUsage || !strings.Contains(errs, "nats: ") {
				t.Errorf("%s --nats %q: ended with %d and said:\n%s%s", command, value, code, out, errs)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v: was a server started?", left, err)
	}
}
