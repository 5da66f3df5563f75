package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// "list" shows the servers of a namespace in order, and those that a selector takes: for people, and for programs with the fields of the
// answer on NATS. "status" shows one or several.
func TestClientReads(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(2))
	b.deploy("beta", replicas(0), func(d *appsv1.Deployment) { d.Labels["tier"] = "free" })
	b.run()
	b.awaitReplicas("alpha", 2)
	b.ping("alpha")
	eventually(t, "all are listed as they are", func() error {
		list, err := b.List(t.Context(), b.namespace, "")
		if err != nil || len(list) != 2 || list[0].Status != "running" || list[0].LastActivity.IsZero() || list[1].Status != "stopped" {
			return fmt.Errorf("%+v %w", list, err)
		}
		return nil
	})
	alpha, beta := b.namespace+"/alpha", b.namespace+"/beta"

	rows := lines(b.says(0, "list"))
	if len(rows) != 3 || !slices.Equal(strings.Fields(rows[0]), []string{"NAMESPACE", "NAME", "STATUS", "READY", "LAST", "USED", "NEXT"}) ||
		!slices.Equal(strings.Fields(rows[1])[:4], []string{b.namespace, "alpha", "running", "2/2"}) ||
		!slices.Equal(strings.Fields(rows[2])[:4], []string{b.namespace, "beta", "stopped", "0/0"}) || !strings.HasSuffix(rows[2], "never seen   made zero by others") {
		t.Errorf("the table is %q", rows)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"list", "-o", "name"}, []string{alpha, beta}},
		{[]string{"list", "-o", "name", "-n", b.namespace, "-l", "tier=free"}, []string{beta}},
		{[]string{"list", "-o", "name", "-l", "tier!=free"}, []string{alpha}},
		{[]string{"list", "-o", "name", "-l", "tier=gold"}, nil},
		{[]string{"list", "-o", "name", "-n", "default"}, nil},
	} {
		if got := lines(b.says(0, c.args...)); !slices.Equal(got, c.want) {
			t.Errorf("%q says %q, want %q", c.args, got, c.want)
		}
	}
	for kind, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		var list []wire.ServerSummary
		if err := decode([]byte(b.says(0, "list", "-o", kind)), &list); err != nil || len(list) != 2 || list[0].Name != "alpha" || list[0].ReadyReplicas != 2 || list[0].LastActivity.IsZero() {
			t.Errorf("list -o %s is %+v, %v", kind, list, err)
		}
		var none []wire.ServerSummary
		if err := decode([]byte(b.says(0, "list", "-o", kind, "-l", "tier=gold")), &none); err != nil || none == nil || len(none) > 0 {
			t.Errorf("list -o %s of nothing is %+v, %v", kind, none, err)
		}
		var status wire.ServerStatus
		if err := decode([]byte(b.says(0, "status", "-o", kind, alpha)), &status); err != nil || status.Name != "alpha" || status.Status != "running" || status.Decision.Text == "" {
			t.Errorf("status -o %s is %+v, %v", kind, status, err)
		}
	}
	text := b.says(0, "status", "-n", b.namespace, "alpha", beta)
	if first, second, ok := strings.Cut(text, beta+": stopped, 0 of 0 ready\n"); !ok || !strings.HasPrefix(first, alpha+": running, 2 of 2 ready\n") ||
		!containsAll(first, "decision", "last used", "settings", "idle-after 30m") || !containsAll(second, "decision", "somebody else made it zero") {
		t.Errorf("status says %q", text)
	}
}

// "start", "stop", "scale" and "ping" do what they say to each of several servers, and say what came of it; who asked is told. With
// --wait they return when the server is ready.
func TestClientOrders(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(2), podAnnotation("start-delay", "1s"), podAnnotation("stop-delay", "1h"))
	b.deploy("beta")
	events := b.events()
	b.run(idle...)
	b.awaitReplicas("alpha", 2)
	b.awaitReplicas("beta", 1)
	alpha, beta := b.namespace+"/alpha", b.namespace+"/beta"
	expect := func(says string, args ...string) {
		t.Helper()
		if got := b.says(0, args...); got != says {
			t.Errorf("%q says %q, want %q", args, got, says)
		}
	}
	expect(alpha+" slept: 2 → 0 replicas\n"+beta+" slept: 1 → 0 replicas\n",
		"stop", "--force", "--actor", "ann", "--reason", "a test", "--id", "c-1", alpha, beta)
	if e := events.next(scaler.Slept, "beta"); e.Actor != "ann" || e.Reason != "a test" || e.Command != "c-1" {
		t.Errorf("told %+v", e)
	}
	eventually(t, "force has ended the pods", func() error {
		if n := len(b.pods("alpha")); n > 0 {
			return fmt.Errorf("%d are there", n)
		}
		return nil
	})
	began := time.Now()
	got := b.says(0, "start", "--wait", "30s", "-n", b.namespace, "alpha")
	if took := time.Since(began); took < time.Second || !strings.HasPrefix(got, alpha+" woken: 0 → 2 replicas, ") || strings.HasSuffix(got, " 0 ready\n") {
		t.Errorf("start --wait says %q after %s", got, took)
	}
	if e := events.next(scaler.Woken, "alpha"); e.Actor == "" {
		t.Errorf("told %+v, without the name of the user", e)
	}
	expect(alpha+" scaled: 2 → 3 replicas, 3 ready\n", "scale", "--wait", "30s", "3", alpha)
	expect(alpha+" unchanged: 3 replicas, 3 ready\n", "start", alpha)

	// A ping wakes what sleeps, but not what was stopped.
	b.says(0, "start", "--wait", "30s", beta)
	b.ping("beta") // a log that never held a ping proves no silence
	b.awaitReplicas("beta", 0)
	expect("", "ping", alpha, beta)
	events.find("beta is woken by its ping", func(e scaler.Event) bool {
		return e.Type == scaler.Woken && e.Server.Name == "beta" && e.Cause == policy.CauseActivity
	})
}

// "lease" wakes a server, says in its status who holds it, and keeps it awake without a ping until the lease is ended.
func TestClientLeases(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.run(idle...)
	b.ping("alpha")
	b.awaitReplicas("alpha", 0)
	events, alpha := b.events(), b.namespace+"/alpha"
	if said := b.says(0, "lease", "--ttl", "1h", "--holder", "ann@laptop", alpha); said != alpha+" is leased to ann@laptop for 1h\n" {
		t.Errorf("lease says %q", said)
	}
	if e := events.next(scaler.Woken, "alpha"); e.Cause != policy.CauseLease {
		t.Errorf("told %+v", e)
	}
	b.awaitReason("alpha", policy.Leased)
	if said := b.says(0, "status", alpha); !containsAll(said, "ann@laptop, for another 59m") {
		t.Errorf("status says %q", said)
	}
	consistently(t, 5*time.Second, "kept awake", b.staysAt("alpha", 1))
	if said := b.says(0, "lease", "--end", "--holder", "ann@laptop", alpha); said != alpha+" is not leased to ann@laptop any more\n" {
		t.Errorf("lease --end says %q", said)
	}
	events.next(scaler.Slept, "alpha")
}

// "watch" shows events as they come, one in a line, until it is told to end.
func TestClientWatches(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.run()
	b.awaitReplicas("alpha", 1)
	text, asJSON := b.watch("-n", b.namespace), b.watch("-o", "json")
	var seen []map[string]any
	eventually(t, "both see an event", func() error { // they tell nobody when they have begun
		b.order("start", "alpha", `{"id":"c-1","actor":"ann","reason":"a test"}`)
		time.Sleep(100 * time.Millisecond) // between two commands
		seen = nil
		for line := range strings.Lines(asJSON.String()) {
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return err
			}
			seen = append(seen, e)
		}
		if len(seen) == 0 || text.String() == "" {
			return errors.New("not yet")
		}
		return nil
	})
	if line, _, _ := strings.Cut(text.String(), "\n"); !strings.HasSuffix(line, "  unchanged "+b.namespace+`/alpha  1 replica, by a command of "ann" ("a test"), command c-1`) {
		t.Errorf("the line is %q", line)
	}
	for field, want := range map[string]any{
		"type": "unchanged", "server": b.namespace + "/alpha", "from": 1.0, "to": 1.0, "cause": "command", "command": "c-1", "actor": "ann", "reason": "a test",
	} {
		if seen[0][field] != want {
			t.Errorf("%s is %v, want %v", field, seen[0][field], want)
		}
	}
	var told wire.HistoryEntry
	var past wire.History
	first, _, _ := strings.Cut(asJSON.String(), "\n")
	if err := json.Unmarshal([]byte(first), &told); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b.says(0, "history", "-o", "json", b.namespace+"/alpha")), &past); err != nil || !slices.Contains(past.Events, told) {
		t.Errorf("watch tells %+v, which the history does not have: %+v, %v", told, past, err)
	}
}

// The exit code says what kind of failure it was, and the text what to do: 1 the daemon has refused, 2 the command line is wrong, 3 nobody
// has answered, and whether it is NATS or the daemon that is missing. Of several servers each is told.
func TestClientExitCodes(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.deploy("slow", replicas(0), podAnnotation("start-delay", "1h"))
	url := b.nats.ClientURL()
	alone := func(code int, nats string, says []string, args ...string) {
		t.Helper()
		if code == 1 { // it has to be answered
			args = append([]string{args[0], "--timeout", "30s"}, args[1:]...)
		}
		got, out, errs := execute(t, []string{"NATS_URL=" + nats}, args...)
		if got != code || out != "" || !containsAll(errs, says...) || strings.Contains(errs, "panic") {
			t.Errorf("%q ends with %d and says %q%q, want %d and %q", args, got, out, errs, code, says)
		}
		for line := range strings.Lines(errs) {
			if !strings.HasPrefix(line, "idle-scaler: ") {
				t.Errorf("%q says the line %q", args, line)
			}
		}
	}
	alpha := b.namespace + "/alpha"
	for _, args := range [][]string{{"list"}, {"status", alpha}, {"start", alpha}, {"stop", alpha}, {"scale", "2", alpha}} {
		alone(3, "nats://127.0.0.1:1", []string{"connect to NATS", "127.0.0.1:1"}, args...)
		alone(3, url, []string{"is idle-scaler running"}, args...)
	}
	alone(3, "nats://127.0.0.1:1", []string{"connect to NATS"}, "watch")
	alone(3, "nats://127.0.0.1:1", []string{"connect to NATS"}, "ping", alpha)

	b.run()
	b.awaitReplicas("alpha", 1)
	alone(1, url, []string{"alhpa", "near it are: alpha", "404"}, "status", b.namespace+"/alhpa")
	alone(1, url, []string{"at most 10", "422"}, "scale", "11", alpha)
	alone(1, url, []string{"not ready after 1s", "504"}, "start", "--wait", "1s", b.namespace+"/slow")
	alone(1, url, []string{"at most 5m0s", "422"}, "start", "--wait", "1h", alpha)
	alone(1, url, []string{`selector "a in ("`, "400"}, "list", "-l", "a in (")
	if code, out, errs := execute(t, []string{"NATS_URL=" + url}, "start", "--timeout", "30s", "-n", b.namespace, "alpha", "nobody", "noone"); code != 1 ||
		!strings.HasPrefix(out, alpha+" unchanged") || !containsAll(errs, "idle-scaler: "+b.namespace+"/nobody: ", "idle-scaler: "+b.namespace+"/noone: ") {
		t.Errorf("of three servers, two unknown: %d, %q, %q", code, out, errs)
	}

	for _, c := range []struct {
		nats string
		says []string
		args []string
	}{
		{"", []string{"nats: not set", "NATS_URL"}, []string{"list"}},
		{"embedded", []string{"embedded", "URL"}, []string{"list"}},
		{url, []string{"NAMESPACE/alpha", "-n"}, []string{"status", "alpha"}},
		{url, []string{`"Alpha"`, "lower case"}, []string{"start", b.namespace + "/Alpha"}},
		{url, []string{"idle-scaler start NAME..."}, []string{"start"}},
		{url, []string{"idle-scaler list"}, []string{"list", alpha}},
		{url, []string{`"three"`, "whole number"}, []string{"scale", "three", alpha}},
		{url, []string{"-1"}, []string{"scale", "--", "-1", alpha}},
		{url, []string{"-1s", "negative"}, []string{"start", "--wait", "-1s", alpha}},
		{url, []string{"--forse"}, []string{"stop", "--forse", alpha}},
		{url, []string{`"xml"`, "table, json, yaml, name"}, []string{"list", "-o", "xml"}},
		{url, []string{`"5"`, "30s"}, []string{"list", "--timeout", "5"}},
		{url, []string{`"lst"`, "--help"}, []string{"lst"}},
	} {
		alone(2, c.nats, c.says, c.args...)
	}
	if b.deployment("alpha").Annotations["idle-scaler/command"] == "" || *b.deployment("alpha").Spec.Replicas != 1 {
		t.Error("alpha was changed, or never started") // by the one start above
	}
}

// execute runs the program to its end, with more environment, and returns its exit code and what it said.
func execute(t *testing.T, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	p := exec.CommandContext(ctx, program, args...)
	p.Env, p.Stdout, p.Stderr = append(os.Environ(), env...), &stdout, &stderr
	err := p.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%q: %v, %v", args, err, ctx.Err())
	}
	return p.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// says runs a client command, which has to end with a code, and returns what it said on its standard output. It waits for an answer longer
// than it does by itself, which is not long enough on every machine.
func (b *bench) says(code int, args ...string) string {
	b.t.Helper()
	args = append([]string{args[0], "--timeout", "30s"}, args[1:]...)
	got, out, errs := execute(b.t, []string{"NATS_URL=" + b.nats.ClientURL()}, args...)
	if got != code || errs != "" {
		b.t.Fatalf("%q ends with %d and says %q, want %d", args, got, errs, code)
	}
	return out
}

// watch starts "watch" and returns what it says. It ends with the test, well, when it is interrupted.
func (b *bench) watch(args ...string) *wait.Buffer {
	b.t.Helper()
	out := &wait.Buffer{}
	p := exec.Command(program, append([]string{"watch", "--nats", b.nats.ClientURL()}, args...)...)
	p.Stdout, p.Stderr = out, out
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = p.Process.Signal(os.Interrupt)
		late := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
		defer late.Stop()
		if err := p.Wait(); err != nil {
			b.t.Errorf("watch %q ended with %v", args, err)
		}
	})
	return out
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
