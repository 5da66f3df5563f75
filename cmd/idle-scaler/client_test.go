package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/test/wait"
)

// lands is how long after a pause a write to Kubernetes that began before it puts servers to sleep.
const lands = time.Second

// fakeDaemon knows three servers. Two of them fall asleep soon after a pause, until they are woken.
// It refuses all requests about a server "broken".
type fakeDaemon struct {
	mu     sync.Mutex
	asked  []string  // subjects without the prefix, and payloads
	paused time.Time // since when all servers are paused
	woken  bool
}

// startFakeDaemon runs a fakeDaemon until the test ends.
func startFakeDaemon(t *testing.T, url string) *fakeDaemon {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var d fakeDaemon
	_, err = nc.Subscribe("cortex.mcp.api.>", func(m *nats.Msg) { _ = nc.PublishMsg(d.answer(m)) })
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &d
}

func (d *fakeDaemon) answer(m *nats.Msg) *nats.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	subject := strings.TrimPrefix(m.Subject, "cortex.mcp.api.")
	d.asked = append(d.asked, strings.TrimSpace(subject+" "+string(m.Data)))
	answer := nats.NewMsg(m.Reply)
	say := func(format string, args ...any) { answer.Data = fmt.Appendf(nil, format, args...) }
	summary := `{"namespace":"%s","name":"%s","status":"running","replicas":1,"ready_replicas":1,"endpoints":[]}`
	switch verb := strings.Split(subject, "."); {
	case len(verb) == 3 && verb[2] == "broken":
		answer.Header.Set("Nats-Service-Error-Code", "503")
		answer.Header.Set("Nats-Service-Error", "failed: ImagePullBackOff")
		say(`{"error":{"code":503,"text":"failed: ImagePullBackOff"}}`)
	case verb[0] == "list":
		var servers []string
		for _, id := range [][2]string{{"team-a", "files"}, {"team-a", "web"}, {"team-b", "web"}} {
			if len(verb) == 1 || verb[1] == id[0] {
				servers = append(servers, fmt.Sprintf(summary, id[0], id[1]))
			}
		}
		say(`{"servers":[%s]}`, strings.Join(servers, ","))
	case verb[0] == "status":
		say(summary, verb[1], verb[2])
	case verb[0] == "explain":
		say(`{"server":`+summary+`,"decision":{"action":"keep","reason":"awake","text":"stays awake"},`+
			`"text":"%[2]s stays awake\nbecause it is used\n"}`, verb[1], verb[2])
	case verb[0] == "pause", verb[0] == "resume":
		if d.paused = (time.Time{}); subject == "pause" {
			d.paused = time.Now()
		}
		servers := 2
		if len(verb) > 1 && verb[1] == "tema-a" {
			servers = 0
		}
		say(`{"scope":"some","paused":%t,"servers":%d}`, verb[0] == "pause", servers)
	case verb[0] == "wake" && !d.woken && time.Since(d.paused) > lands:
		d.woken = true
		say(`{"started":2,"servers":["team-a/files","team-b/web"],"left":["team-a/web: stopped by \"ann\""]}`)
	case verb[0] == "wake":
		say(`{"started":0,"left":["team-a/web: stopped by \"ann\""]}`)
	default:
		text := map[string]string{
			"hold":    `,"text":"held awake until 2026-01-02T17:00:00Z; this ends that \"bob\" held it asleep"`,
			"release": `,"text":"there was no hold"`,
		}[verb[0]]
		say(`{"server":`+summary+`,"event":{"type":"woken","from":0,"to":1%s}}`, verb[1], verb[2], text)
	}
	return answer
}

// orders returns the requests since the last call, without lists.
func (d *fakeDaemon) orders() (orders []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.asked {
		if !strings.HasPrefix(one, "list") {
			orders = append(orders, one)
		}
	}
	d.asked = nil
	return orders
}

// A server is NAMESPACE/NAME, or NAME with -n. A namespace before the name wins.
func TestNames(t *testing.T) {
	for _, test := range []struct {
		namespace, text string
		want            wire.ID
		wrong           string
	}{
		{"", "team-a/web", wire.ID{Namespace: "team-a", Name: "web"}, ""},
		{"team-a", "web", wire.ID{Namespace: "team-a", Name: "web"}, ""},
		{"team-a", "team-b/web", wire.ID{Namespace: "team-b", Name: "web"}, ""},
		{"team-a", "web.v2", wire.ID{Namespace: "team-a", Name: "web.v2"}, ""},
		{"", "web", wire.ID{}, "name its namespace too: NAMESPACE/web"},
		{"", "/web", wire.ID{}, "name its namespace too"},
		{"", "team-a/", wire.ID{}, `name ""`},
		{"", "team-a/web/x", wire.ID{}, `name "web/x"`},
		{"team.a", "web", wire.ID{}, `namespace "team.a"`},
		{"team-a", "*", wire.ID{}, `name "*"`},
	} {
		id, err := (&caller{namespace: test.namespace}).server(test.text)
		switch {
		case test.wrong == "" && (err != nil || id != test.want),
			test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("-n %q %q: got %v, %v", test.namespace, test.text, id, err)
		}
	}
}

// Several servers are asked at once, and printed in the order of the command line. An error about
// one of them changes nothing for the others.
func TestSeveralServers(t *testing.T) {
	url := startNATS(t)
	startFakeDaemon(t, url)
	code, out, errs := execute("start", "--nats", url, "-n", "team-a", "web", "broken", "files")
	want := "team-a/web woken: 0 → 1 replica, 1 ready\nteam-a/files woken: 0 → 1 replica, 1 ready\n"
	if code != exitFailed || out != want || !strings.Contains(errs, "team-a/broken: failed: ImagePullBackOff (code 503)") {
		t.Errorf("ended with %d and said\n%s%s", code, out, errs)
	}
	code, out, errs = execute("status", "--nats", url, "-o", "yaml", "team-a/web", "team-b/web")
	if code != 0 || strings.Count(out, "---\n") != 2 || strings.Count(out, "\nname: web\n") != 2 {
		t.Errorf("want two documents: ended with %d and said\n%s%s", code, out, errs)
	}
}

// The shell gets the names of the servers that fit. When nobody answers it gets none, no error, and
// no names of files.
func TestCompletion(t *testing.T) {
	url := startNATS(t)
	startFakeDaemon(t, url)
	for _, test := range []struct {
		name string
		env  string // NATS_URL
		args []string
		want []string
	}{
		{"all", url, []string{"status", ""}, []string{"team-a/files", "team-a/web", "team-b/web"}},
		{"by NATS flag", "", []string{"status", "--nats", url, "team-b"}, []string{"team-b/web"}},
		{"of a namespace", url, []string{"start", "-n", "team-a", ""}, []string{"files", "web"}},
		{"not one that is there already", url, []string{"stop", "team-a/web", "team-a/"}, []string{"team-a/files"}},
		{"scale: a number first", url, []string{"scale", ""}, nil},
		{"scale: then names", url, []string{"scale", "3", "team-b"}, []string{"team-b/web"}},
		{"hold", url, []string{"hold", "--awake-until", "2h", "team-b"}, []string{"team-b/web"}},
		{"pause", url, []string{"pause", "team-a/f"}, []string{"team-a/files"}},
		{"resume", url, []string{"resume", "team-a/f"}, []string{"team-a/files"}},
		{"explain", url, []string{"explain", "team-a/w"}, []string{"team-a/web"}},
		{"history", url, []string{"history", "team-a/w"}, []string{"team-a/web"}},
		{"wake takes no name", url, []string{"wake", ""}, nil},
		{"disable takes no name", url, []string{"disable", ""}, nil},
		{"list takes no name", url, []string{"list", ""}, nil},
		{"no NATS", "", []string{"status", ""}, nil},
		{"NATS away", nowhere, []string{"status", ""}, nil},
		{"NATS of the daemon", "embedded", []string{"status", ""}, nil},
		{"another prefix", url, []string{"status", "--prefix", "other", ""}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NATS_URL", test.env)
			code, out, _ := execute(append([]string{"__complete"}, test.args...)...)
			want := strings.Join(append(test.want, ":4\n"), "\n") // 4: no file names
			if code != 0 || out != want {
				t.Errorf("ended with %d and offered\n%s\nwant\n%s", code, out, want)
			}
		})
	}
}

// The help of every client command has an example, and the command accepts each example.
func TestExamples(t *testing.T) {
	for _, cmd := range clientCommands() {
		if !strings.Contains(cmd.Example, "idle-scaler "+cmd.Name()) {
			t.Errorf("%s has the example %q", cmd.Name(), cmd.Example)
		}
		for line := range strings.Lines(cmd.Example) {
			line, _, _ = strings.Cut(line, " && ")
			line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
			var words []string
			for i, part := range strings.Split(line, `"`) { // every second part is in quotes
				if i%2 == 1 {
					words = append(words, part)
				} else {
					words = append(words, strings.Fields(part)...)
				}
			}
			found, args, err := rootCommand().Find(words[1:])
			if err == nil {
				err = found.ParseFlags(args)
			}
			if err == nil {
				err = found.Args(found, found.Flags().Args())
			}
			if err != nil || found.Name() != cmd.Name() {
				t.Errorf("%s: %q: %v", cmd.Name(), line, err)
			}
		}
	}
}

// Each order is sent to the daemon with who asks and why, and prints what it did.
func TestOrders(t *testing.T) {
	url := startNATS(t)
	d := startFakeDaemon(t, url)
	by := `"actor":"ann","reason":"demo"}`
	heldAwake := "team-a/web woken: 0 → 1 replica, 1 ready: held awake until 2026-01-02T17:00:00Z; " +
		"this ends that \"bob\" held it asleep\n"
	for _, test := range []struct {
		args   []string
		orders []string
		says   string
	}{
		{
			[]string{"hold", "--awake-until", "18:00", "team-a/web"},
			[]string{`hold.team-a.web {"awake_until":"18:00",` + by},
			heldAwake,
		},
		{
			[]string{"hold", "--asleep-until", "2h", "-n", "team-a", "web"},
			[]string{`hold.team-a.web {"asleep_until":"2h",` + by},
			heldAwake,
		},
		{
			[]string{"release", "team-a/web"},
			[]string{"release.team-a.web {" + by},
			"team-a/web woken: 0 → 1 replica, 1 ready: there was no hold\n",
		},
		{[]string{"pause", "--all"}, []string{"pause {" + by}, "paused: all servers\n"},
		{[]string{"pause", "-n", "team-a"}, []string{"pause.team-a {" + by}, "paused: all servers of team-a\n"},
		{
			[]string{"pause", "-n", "tema-a"},
			[]string{"pause.tema-a {" + by},
			"paused: all servers of tema-a, of which there are none now\n",
		},
		{[]string{"pause", "-n", "team-a", "web"}, []string{"pause.team-a.web {" + by}, "paused: team-a/web\n"},
		{[]string{"resume", "team-a/web"}, []string{"resume.team-a.web {" + by}, "resumed: team-a/web\n"},
		{[]string{"resume", "--all"}, []string{"resume {" + by}, "resumed: all servers\n"},
		{
			[]string{"wake", "--all", "-n", "team-a", "--wait", "10s"},
			[]string{"wake.team-a {" + by},
			"started: 2 servers\nleft at zero: 1 server\n  team-a/web: stopped by \"ann\"\n",
		},
	} {
		code, out, errs := execute(append(test.args, "--nats", url, "--actor", "ann", "--reason", "demo")...)
		if orders := d.orders(); code != 0 || out != test.says || !slices.Equal(orders, test.orders) {
			t.Errorf("%q: ended with %d, ordered %q, and said\n%s%s", test.args, code, orders, out, errs)
		}
	}
}

// Every command takes -n from the environment. Only commands for all servers don't: a variable must
// not make the emergency switch smaller, without an error. There only a -n on the command line
// counts.
func TestNamespaceOfTheEnvironment(t *testing.T) {
	url := startNATS(t)
	d := startFakeDaemon(t, url)
	t.Setenv("IDLE_SCALER_NAMESPACE", "team-a")
	by := `{"actor":"ann"}`
	for _, test := range []struct {
		args []string
		code int
		want string // what is ordered
		says string
	}{
		{[]string{"pause", "--all"}, 0, "pause " + by, "paused: all servers\n"},
		{[]string{"resume", "--all"}, 0, "resume " + by, "resumed: all servers\n"},
		{[]string{"pause"}, 0, "pause.team-a " + by, "paused: all servers of team-a\n"},
		{[]string{"resume"}, 0, "resume.team-a " + by, "resumed: all servers of team-a\n"},
		{[]string{"pause", "-n", "team-b"}, 0, "pause.team-b " + by, "paused: all servers of team-b\n"},
		{[]string{"pause", "web"}, 0, "pause.team-a.web " + by, "paused: team-a/web\n"},
		{[]string{"wake", "--all"}, 0, "wake " + by, "started: 2 servers\n"},
		{[]string{"wake", "--all", "-n", "team-b"}, 0, "wake.team-b " + by, "started: 0 servers\n"},
		{[]string{"pause", "--all", "-n", "team-a"}, exitUsage, "", "--all is all servers: leave out the names and -n"},
		{[]string{"pause", "--all", "web"}, exitUsage, "", "--all is all servers: leave out the names and -n"},
		{[]string{"pause", "-n", ""}, exitUsage, "", "say which servers"},
		{[]string{"disable", "-n", "team-a"}, exitUsage, "", "disable is about all servers"},
	} {
		code, out, errs := execute(append(test.args, "--nats", url, "--actor", "ann")...)
		got := strings.Join(d.orders(), ", ")
		if code != test.code || got != test.want || !strings.Contains(out+errs, test.says) {
			t.Errorf("%q: ended with %d, ordered %q, and said\n%s%s", test.args, code, got, out, errs)
		}
	}
}

// "disable" pauses all servers and wakes those that sleep, until there are none: also a server that
// falls asleep while the pause begins. It lists the servers that somebody stopped.
func TestDisable(t *testing.T) {
	t.Setenv("IDLE_SCALER_NAMESPACE", "team-a") // it is for other commands
	url := startNATS(t)
	d := startFakeDaemon(t, url)
	want := `paused: all servers
started: 2 servers
started: 0 servers
left at zero: 1 server
  team-a/web: stopped by "ann"
`
	code, out, errs := execute("disable", "--nats", url, "--actor", "ann")
	if code != 0 || !strings.HasPrefix(out, want) ||
		!strings.Contains(out, "kubectl -n NAMESPACE scale deployment NAME --replicas 1") ||
		!strings.HasSuffix(out, "idle-scaler can be removed\n") {
		t.Errorf("ended with %d and said\n%s%s", code, out, errs)
	}
	d.mu.Lock()
	if slices.ContainsFunc(d.asked, func(one string) bool { return strings.HasPrefix(one, "list.") }) {
		t.Errorf("it waited for the servers of one namespace only: %q", d.asked)
	}
	d.mu.Unlock()
	ordered := []string{`pause {"actor":"ann"}`, `wake {"actor":"ann"}`, `wake {"actor":"ann"}`}
	if orders := d.orders(); !slices.Equal(orders, ordered) {
		t.Errorf("ordered %q, want %q", orders, ordered)
	}
}

// The answer to a pause comes when the pause is in force, so it gets more time than --timeout says.
// The answer to a resume gets no more.
func TestPauseTakesAWhile(t *testing.T) {
	url := startNATS(t)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, err = nc.Subscribe("cortex.mcp.api.>", func(m *nats.Msg) {
		time.Sleep(time.Second)
		_ = m.Respond([]byte(`{"scope":"all servers","paused":true,"servers":1}`))
	})
	if err = errors.Join(err, nc.Flush()); err != nil {
		t.Fatal(err)
	}
	for verb, want := range map[string]int{"pause": 0, "resume": exitNoAnswer} {
		if code, out, errs := execute(verb, "--all", "--nats", url, "--timeout", "200ms"); code != want {
			t.Errorf("%s: ended with %d, want %d, and said\n%s%s", verb, code, want, out, errs)
		}
	}
}

// The stream has a lease for each server, with its holder and its time; --end stores its end.
// Without --holder the user on this machine is the holder.
func TestLease(t *testing.T) {
	url := startNATS(t)
	makeStreams(t, url)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	leases, err := nc.SubscribeSync("cortex.mcp.lease.>")
	if err = errors.Join(err, nc.Flush()); err != nil {
		t.Fatal(err)
	}
	own := ownHolder()
	for _, test := range []struct {
		args   []string
		stored []string
		says   string
	}{
		{
			[]string{"--ttl", "1h", "--holder", "gw-1", "team-a/web"},
			[]string{`gw-1.team-a.web {"ttl":"1h0m0s"}`},
			"team-a/web is leased to gw-1 for 1h\n",
		},
		{
			[]string{"-n", "team-a", "--end", "--holder", "gw-1", "web", "team-b/web"},
			[]string{`gw-1.team-a.web {"ttl":"0s"}`, `gw-1.team-b.web {"ttl":"0s"}`},
			"team-a/web is not leased to gw-1 any more\nteam-b/web is not leased to gw-1 any more\n",
		},
		{
			[]string{"team-a/web"},
			[]string{own + `.team-a.web {"ttl":"5m0s"}`},
			"team-a/web is leased to " + own + " for 5m\n",
		},
	} {
		code, out, errs := execute(append([]string{"lease", "--nats", url}, test.args...)...)
		var stored []string
		for range test.stored {
			m, err := leases.NextMsg(time.Second)
			if err != nil {
				break
			}
			stored = append(stored, strings.TrimPrefix(m.Subject, "cortex.mcp.lease.")+" "+string(m.Data))
		}
		slices.Sort(stored)
		if code != 0 || out != test.says || !slices.Equal(stored, test.stored) {
			t.Errorf("%q: ended with %d, stored %q, and said\n%s%s", test.args, code, stored, out, errs)
		}
	}
}

// newCaller returns a caller with a connection.
func newCaller(t *testing.T, url string) *caller {
	t.Helper()
	c := &caller{natsConfig: natsConfig{NATS: url, Prefix: wire.DefaultPrefix}}
	if err := errors.Join(c.validate().err(), c.open()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.nc.Close)
	return c
}

// A wait for several servers names each that is not ready in time, and why. It forgets a server
// that was deleted. An interruption is not the end of the time.
func TestAwait(t *testing.T) {
	url := startNATS(t)
	startFakeDaemon(t, url)
	c := newCaller(t, url)
	all := []string{"team-a/web", "team-b/web", "team-a/gone"}
	ready := func(wire.ServerSummary) bool { return true }
	if err := c.await(t.Context(), all, time.Minute, "ready", ready); err != nil {
		t.Error(err)
	}
	ready = func(s wire.ServerSummary) bool { return s.Namespace == "team-a" }
	err := c.await(t.Context(), all, time.Millisecond, "ready", ready)
	if err == nil || err.Error() != "team-b/web: not ready after 0s" {
		t.Errorf("got %v", err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	ready = func(wire.ServerSummary) bool { interrupt(); return false }
	if err := c.await(ctx, all, time.Minute, "ready", ready); !errors.Is(err, client.ErrInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
}

// The error of an interrupted command says that the interruption takes nothing back. It blames
// neither NATS nor the daemon.
func TestInterrupted(t *testing.T) {
	url := startNATS(t)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	_, err = nc.Subscribe("cortex.mcp.api.>", func(*nats.Msg) { interrupt() })
	if err = errors.Join(err, nc.Flush()); err != nil {
		t.Fatal(err)
	}
	root := rootCommand()
	root.SetArgs([]string{"start", "--nats", url, "--wait", "1m", "team-a/web"})
	err = root.ExecuteContext(ctx)
	if _, ok := errors.AsType[coded](err); ok || err == nil || !strings.Contains(err.Error(), "takes nothing back") {
		t.Errorf("got %v", err)
	}
}

// A wait shows the progress of its own servers: of no others in their namespaces, and nothing of
// other namespaces, which a tenant may not watch. It shows nothing where no person watches.
func TestProgress(t *testing.T) {
	c := newCaller(t, startNATS(t))
	shown, out := io.Pipe()
	defer shown.Close()
	c.wait, c.errs = time.Minute, out
	c.showProgress(t.Context(), []string{"team-c/web"})
	c.terminal = true
	c.showProgress(t.Context(), []string{"team-a/web", "team-b/web", "team-a/files"})
	wait.Until(t, "two watched namespaces", func() bool { return c.nc.NumSubscriptions() == 2 })
	publish := func(subject, server string) {
		t.Helper()
		data := fmt.Appendf(nil, `{"specversion":"1.0","id":"1","type":"progress","subject":%q,`+
			`"data":{"text":"no node"}}`, server)
		if err := c.nc.Publish("cortex.mcp.event."+subject, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.nc.Publish("cortex.mcp.event.progress.team-c.web", []byte("not to be read")); err != nil {
		t.Fatal(err)
	}
	publish("progress.team-a.other", "team-a/other")
	publish("progress.team-a.web", "team-a/web")
	lines := bufio.NewScanner(shown)
	for _, want := range []string{"team-a/web waits: no node", "team-b/web waits: no node"} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("shown is %q, want %q", lines.Text(), want)
		}
		publish("progress.team-b.web", "team-b/web")
	}
}
