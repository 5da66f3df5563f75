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

	"github.com/nats-io/nats-server/v2/server"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// execute runs the program to its end, with more environment, and returns its exit code and what it
// said.
func execute(t *testing.T, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*wait.Patience)
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

// says runs a client command, which has to end with a code, and returns what it said on its
// standard output. It has more time for an answer than by default, because a test machine may be
// slow.
func (w *world) says(code int, args ...string) string {
	w.t.Helper()
	args = append([]string{args[0], "--timeout", "30s"}, args[1:]...)
	got, out, errs := execute(w.t, []string{"NATS_URL=" + w.nats.ClientURL()}, args...)
	if got != code || errs != "" {
		w.t.Fatalf("%q ends with %d and says %q, want %d", args, got, errs, code)
	}
	return out
}

// watch starts "watch" and returns what it says. It ends with the test, well, when it is
// interrupted.
func (w *world) watch(args ...string) *wait.Buffer {
	w.t.Helper()
	out := &wait.Buffer{}
	p := exec.Command(program, append([]string{"watch", "--nats", w.nats.ClientURL()}, args...)...)
	p.Stdout, p.Stderr = out, out
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	natstest.Check(w.t, p.Start())
	w.t.Cleanup(func() {
		_ = p.Process.Signal(os.Interrupt)
		late := time.AfterFunc(wait.Patience, func() { _ = p.Process.Kill() })
		defer late.Stop()
		if err := p.Wait(); err != nil {
			w.t.Errorf("watch %q ended with %v", args, err)
		}
	})
	return out
}

// The commands that read show what the answers on NATS say: as a table, as text, and for programs.
func TestClientReads(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha", replicas(2))
	w.deploy("beta", replicas(0), func(d *appsv1.Deployment) { d.Labels["tier"] = "free" })
	_, err := w.kube.CoreV1().Services(w.namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "alpha"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}},
		},
	}, metav1.CreateOptions{})
	natstest.Check(t, err)
	w.run()
	w.awaitReplicas("alpha", 2)
	w.ping("alpha")
	alpha, beta := w.namespace+"/alpha", w.namespace+"/beta"
	wait.Eventually(t, "all are listed as they are", func() error {
		list, err := w.List(t.Context(), w.namespace, "")
		if err != nil || len(list) != 2 {
			return fmt.Errorf("%+v %w", list, err)
		}
		alpha, beta := list[0], list[1]
		if alpha.Status != "running" || alpha.LastActivity.IsZero() || beta.Status != "stopped" ||
			len(alpha.Endpoints) != 1 || alpha.Endpoints[0].URL != "http://web."+w.namespace+".svc:80" {
			return fmt.Errorf("%+v", list)
		}
		return nil
	})

	rows := strings.Split(w.says(0, "list"), "\n")
	for i, want := range [][]string{
		{"NAMESPACE", "NAME", "STATUS", "READY", "LAST", "USED", "NEXT"},
		{w.namespace, "alpha", "running", "2/2"},
		{w.namespace, "beta", "stopped", "0/0", "never", "seen", "made", "zero", "by", "others"},
		{},
	} {
		if len(rows) != 4 || !slices.Equal(strings.Fields(rows[i])[:len(want)], want) {
			t.Fatalf("the table is %q, want %q", rows, want)
		}
	}
	if got := w.says(0, "list", "-o", "name", "-n", w.namespace, "-l", "tier=free"); got != beta+"\n" {
		t.Errorf("by label it lists %q", got)
	}
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		var list []wire.ServerSummary
		err := decode([]byte(w.says(0, "list", "-o", format)), &list)
		if err != nil || len(list) != 2 || list[0].Name != "alpha" || list[0].ReadyReplicas != 2 {
			t.Errorf("list -o %s is %+v, %v", format, list, err)
		}
		var status wire.ServerStatus
		err = decode([]byte(w.says(0, "status", "-o", format, alpha)), &status)
		if err != nil || status.Name != "alpha" || status.Status != "running" || status.Decision.Text == "" {
			t.Errorf("status -o %s is %+v, %v", format, status, err)
		}
	}
	text := w.says(0, "status", "-n", w.namespace, "alpha", beta)
	first, second, ok := strings.Cut(text, beta+": stopped, 0 of 0 ready\n")
	if !ok || !strings.HasPrefix(first, alpha+": running, 2 of 2 ready\n") ||
		!containsAll(first, "decision", "last used", "settings", "idle-after 30m") ||
		!containsAll(second, "decision", "somebody else made it zero") {
		t.Errorf("status says %q", text)
	}
	if err := missing(w.says(0, "explain", alpha), "is running with 2 replicas", "last used"); err != nil {
		t.Errorf("explain: %v", err)
	}

	lines, values := w.watch("-n", w.namespace), w.watch("-o", "json")
	wait.Eventually(t, "both see an event", func() error { // nobody says when they have begun
		w.publish("start", "alpha", `{"id":"c-1","actor":"ann","reason":"a test"}`)
		if lines.String() == "" || !strings.Contains(values.String(), "\n") {
			return errors.New("not yet")
		}
		return nil
	})
	line, _, _ := strings.Cut(lines.String(), "\n")
	if !strings.HasSuffix(line, "  unchanged "+alpha+`  2 replicas, by a command of "ann" ("a test"), command c-1`) {
		t.Errorf("the line is %q", line)
	}
	// The history survives the daemon, and tells an event as watch does.
	w.kill()
	w.run()
	line, _, _ = strings.Cut(values.String(), "\n")
	var seen wire.HistoryEntry
	natstest.Check(t, json.Unmarshal([]byte(line), &seen))
	var past wire.History
	natstest.Check(t, json.Unmarshal([]byte(w.says(0, "history", "-o", "json", alpha)), &past))
	if seen.Actor != "ann" || seen.Command != "c-1" || !slices.Contains(past.Events, seen) {
		t.Errorf("watch shows %+v, the history %+v", seen, past)
	}
	if err := missing(w.says(0, "history", alpha), "unchanged", "ann", "a test"); err != nil {
		t.Errorf("history: %v", err)
	}
}

// "start", "stop", "scale" and "ping" do what they say to each of several servers, and say what
// came of it; who asked is published. With --wait they return when the server is ready.
func TestClientOrders(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha", replicas(2), podAnnotation("start-delay", "1s"), podAnnotation("stop-delay", "1h"))
	w.deploy("beta")
	events := w.events()
	w.run(idle...)
	w.awaitReplicas("alpha", 2)
	w.awaitReplicas("beta", 1)
	alpha, beta := w.namespace+"/alpha", w.namespace+"/beta"
	expect := func(says string, args ...string) {
		t.Helper()
		if got := w.says(0, args...); got != says {
			t.Errorf("%q says %q, want %q", args, got, says)
		}
	}
	expect(alpha+" slept: 2 → 0 replicas\n"+beta+" slept: 1 → 0 replicas\n",
		"stop", "--force", "--actor", "ann", "--reason", "a test", "--id", "c-1", alpha, beta)
	if e := events.next(scaler.Slept, "beta"); e.Actor != "ann" || e.Reason != "a test" || e.Command != "c-1" {
		t.Errorf("published %+v", e)
	}
	w.awaitPods("alpha", 0) // force has ended them
	began := time.Now()
	got := w.says(0, "start", "--wait", "30s", "-n", w.namespace, "alpha")
	took := time.Since(began)
	woken := strings.HasPrefix(got, alpha+" woken: 0 → 2 replicas, ")
	if took < time.Second || !woken || strings.HasSuffix(got, " 0 ready\n") {
		t.Errorf("start --wait says %q after %s", got, took)
	}
	if e := events.next(scaler.Woken, "alpha"); e.Actor == "" {
		t.Errorf("published %+v, without the name of the user", e)
	}
	expect(alpha+" scaled: 2 → 3 replicas, 3 ready\n", "scale", "--wait", "30s", "3", alpha)
	expect(alpha+" unchanged: 3 replicas, 3 ready\n", "start", alpha)

	w.says(0, "start", "--wait", "30s", beta)
	w.ping("beta") // a log that never held a ping proves no silence
	w.awaitReplicas("beta", 0)
	events = w.events()
	expect("", "ping", alpha, beta)
	if e := events.next(scaler.Woken, "beta"); e.Cause != policy.CauseActivity {
		t.Errorf("published %+v", e)
	}
}

// The exit code says what kind of failure it was, and the text what to do: 1 the daemon has
// refused, or can't work, 2 the command line is wrong, 3 nobody has answered, and whether NATS or
// the daemon is missing.
func TestExitCodes(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	w.deploy("slow", replicas(0), podAnnotation("start-delay", "1h"))
	plain, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	natstest.Check(t, err)
	go plain.Start()
	t.Cleanup(plain.Shutdown)
	if !plain.ReadyForConnections(wait.Patience) {
		t.Fatal("NATS does not start")
	}
	url, alpha := w.nats.ClientURL(), w.namespace+"/alpha"
	expect := func(code int, nats string, says []string, args ...string) {
		t.Helper()
		got, out, errs := execute(t, []string{"NATS_URL=" + nats, "KUBECONFIG=" + w.kubeconfig}, args...)
		if got != code || out != "" || !containsAll(errs, says...) {
			t.Errorf("%q ends with %d and says %q%q, want %d and %q", args, got, out, errs, code, says)
		}
		for line := range strings.Lines(errs) {
			if !strings.HasPrefix(line, "idle-scaler: ") {
				t.Errorf("%q says the line %q", args, line)
			}
		}
	}
	const nowhere = "nats://127.0.0.1:1"
	for _, args := range [][]string{{"list"}, {"start", alpha}} {
		expect(3, nowhere, []string{"connect to NATS", "127.0.0.1:1"}, args...)
		expect(3, url, []string{"is idle-scaler running"}, args...)
	}
	expect(3, nowhere, []string{"connect to NATS"}, "watch")
	expect(3, nowhere, []string{"connect to NATS"}, "ping", alpha)
	expect(2, "", []string{"nats: not set", "NATS_URL"}, "list")
	expect(2, url, []string{"--forse"}, "stop", "--forse", alpha)
	expect(2, url, []string{"schedule", "only a time zone", `idle-after "soon"`},
		"run", "--schedule", "TZ=Europe/Rome", "--idle-after", "soon")
	expect(1, plain.ClientURL(), []string{"no JetStream", "-js", "jetstream {store_dir: ...}"},
		"run", "--listen", "", "--log-level", "error")

	w.run()
	w.awaitReplicas("alpha", 1)
	expect(1, url, []string{"alhpa", "near it are: alpha", "404"}, "status", "--timeout", "30s", w.namespace+"/alhpa")
	expect(1, url, []string{"not ready after 1s", "504"}, "start", "--timeout", "30s", "--wait", "1s", w.namespace+"/slow")
	if *w.deployment("alpha").Spec.Replicas != 1 || w.mark("alpha", "command") != "" {
		t.Errorf("alpha was changed: %v", w.deployment("alpha").Annotations)
	}
}
