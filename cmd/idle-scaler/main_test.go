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

// TestMain removes the variables that would configure the program.
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

// makeStreams makes the daemon's streams, as if it had run once.
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

// nowhere is the URL of a NATS server that does not exist.
const nowhere = "nats://127.0.0.1:1"

// The exit code says who has to act: 2 the user of the command, 3 the administrator of NATS or of
// the daemon. A wrong command is an error also while NATS is away: nobody repairs NATS only to read
// that.
func TestExitCodes(t *testing.T) {
	url, kept := startNATS(t), startNATS(t)
	makeStreams(t, kept)
	for _, test := range []struct {
		name string
		nats string // NATS_URL
		args string
		want int
		says string // on either output
	}{
		{"help", "", "help", 0, "Usage:"},
		{"nothing", "", "", 0, "Usage:"},
		{"the version", "", "--version", 0, "idle-scaler version"},
		{"a valid configuration", nowhere, "config", 0, "cluster:"},
		{"an unknown command", "", "lst", exitUsage, `unknown command "lst": see "idle-scaler --help"`},
		{"an unknown flag", "", "list --nat nats://a", exitUsage, `unknown flag: --nat: see "idle-scaler list --help"`},
		{"run takes no arguments", "", "run now", exitUsage, `idle-scaler run takes no arguments, it was given "now"`},
		{"list takes no arguments", "", "list team-a", exitUsage, `it is "idle-scaler list"`},
		{"status of nobody", "", "status", exitUsage, `it is "idle-scaler status NAME..."`},
		{"scale without a name", "", "scale 3", exitUsage, `it is "idle-scaler scale REPLICAS NAME..."`},
		{
			"names before replicas", nowhere, "scale team-a/web 3",
			exitUsage, "write a whole number of 0 or more, before the names",
		},
		{"a hold without a time", nowhere, "hold team-a/web", exitUsage, "either --awake-until or --asleep-until"},
		{
			"a hold both ways", nowhere, "hold --awake-until 2h --asleep-until 2h team-a/web",
			exitUsage, "either --awake-until or --asleep-until",
		},
		{
			"a pause of nothing", nowhere, "pause",
			exitUsage, "say which servers: names, -n NAMESPACE for all of a namespace, or --all",
		},
		{"a pause of all and one", nowhere, "pause --all team-a/web", exitUsage, "--all is all servers"},
		{"a pause of all of one", nowhere, "resume --all -n team-a", exitUsage, "--all is all servers"},
		{"wake without all", nowhere, "wake", exitUsage, `it is "idle-scaler wake --all"`},
		{"wake one", nowhere, "wake --all team-a/web", exitUsage, `"idle-scaler start NAME"`},
		{"disable one namespace", nowhere, "disable -n team-a", exitUsage, "disable is about all servers"},
		{"no wait for all", nowhere, "disable --wait 0s", exitUsage, "--wait 0s is not above 0"},
		{
			"no time in a history", nowhere, "history --since yesterday team-a/web",
			exitUsage, `write how long, like "24h" or "7d"`,
		},
		{"nothing in a history", nowhere, "history --limit 0 team-a/web", exitUsage, "--limit 0: ask for at least 1"},
		{"no time in a report", nowhere, "report --over -1h", exitUsage, `write how long, like "24h" or "7d"`},
		{"an unknown output", nowhere, "list -o xml", exitUsage, "write one of table, json, yaml, name"},
		{
			"a lease for no time", nowhere, "lease --ttl 0s team-a/web",
			exitUsage, "--ttl 0s is not above 0: write how long it is in use, like 5m, or --end",
		},
		{
			"a lease for too long", nowhere, "lease --ttl 25h team-a/web",
			exitUsage, "write at most 24h0m0s, and renew the lease in time",
		},
		{"a lease that ends and lasts", nowhere, "lease --ttl 1h --end team-a/web", exitUsage, "either --ttl or --end"},
		{
			"a lease of a bad holder", nowhere, "lease --holder gw.1 team-a/web",
			exitUsage, `lease holder "gw.1": write visible ASCII`,
		},
		{"a lease of nobody", nowhere, "lease --holder= team-a/web", exitUsage, "write who uses it: --holder ID"},
		{"a lease that no stream takes", url, "lease team-a/web", exitNoAnswer, "has idle-scaler ever run here"},
		{"a lease needs no daemon", kept, "lease --holder gw-1 team-a/web", 0, "team-a/web is leased to gw-1 for 5m\n"},
		{"a negative wait for a number", nowhere, "scale --wait -1s 3 team-a/web", exitUsage, "--wait -1s is negative"},
		{"a negative wait for all", nowhere, "wake --all --wait -1s", exitUsage, "--wait -1s is negative"},
		{"a ping of a bad name", nowhere, "ping team-a/Web", exitUsage, `name "Web"`},
		{"a pause of a bad name", nowhere, "pause web", exitUsage, `NAMESPACE/web, or -n NAMESPACE`},
		{"a watch has no answer to wait for", nowhere, "watch --timeout 5s", exitUsage, "unknown flag: --timeout"},
		{"a negative wait", nowhere, "start --wait -1s team-a/web", exitUsage, "--wait -1s is negative"},
		{
			"a wait without how long", nowhere, "start --wait team-a/web",
			exitUsage, "--wait team-a/web: write how long, like --wait 60s",
		},
		{
			"a wait without how long for all", nowhere, "wake --all --wait now",
			exitUsage, "--wait now: write how long, like --wait 60s",
		},
		{
			"a wait of a number", nowhere, "scale --wait=60 3 team-a/web",
			exitUsage, "--wait 60: write how long, like --wait 60s",
		},
		{"no time to answer", nowhere, "list --timeout 0s", exitUsage, "timeout: 0s is not above 0"},
		{"a name without a namespace", nowhere, "status web", exitUsage, `NAMESPACE/web, or -n NAMESPACE`},
		{"every bad name", nowhere, "status web A/b", exitUsage, `namespace "A"`},
		{"the client without NATS", "", "list", exitUsage, "nats: not set"},
		{"the daemon without NATS", "", "run", exitUsage, "nats: not set"},
		{"the daemon's own NATS, from outside", "embedded", "list", exitUsage, `"embedded" is for the daemon`},
		{"NATS away", nowhere, "list", exitNoAnswer, "connect to NATS"},
		{"the daemon away", url, "list", exitNoAnswer, "is idle-scaler running"},
		{"a ping that no stream takes", url, "ping team-a/web", exitNoAnswer, "has idle-scaler ever run here"},
		{"a ping needs no daemon", kept, "ping team-a/web", 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NATS_URL", test.nats)
			code, out, errs := execute(strings.Fields(test.args)...)
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

// Without a URL of NATS there is an error, and never a private server that nobody else can reach.
func TestNATSIsNeverGuessed(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, value := range []string{
		"", ",", " ", "http://host", "nats://", "nats://:4222", "embedded,nats://a", "nats://a:b:c",
	} {
		for _, command := range []string{"run", "config", "list"} {
			code, out, errs := execute(command, "--nats", value)
			if code != exitUsage || !strings.Contains(errs, "nats: ") {
				t.Errorf("%s --nats %q: ended with %d and said:\n%s%s", command, value, code, out, errs)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v: was a server started?", left, err)
	}
}
