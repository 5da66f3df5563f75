package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// What is wrong with a message: what it says after the verb and the namespace, and what has to be answered to it.
type badInput struct {
	about   string
	verb    string
	name    string // of the server
	payload string
	code    int
	says    []string // what the sender needs to know to do better
}

var (
	tooLarge    = `{"reason":"` + strings.Repeat("x", 65<<10-13) + `"}`
	invalidUTF8 = "{\"actor\":\"\xff\xfe\"}"
)

// badOrders are commands that make no sense, or are not allowed. All are about Deployments that exist, unless they can't.
var badOrders = []badInput{
	{"a Deployment without the label", "start", "stranger", ``, 403, []string{"does not carry the label app.kubernetes.io/component=mcp-server", "kubectl -n"}},
	{"a name in capitals", "start", "Alpha", ``, 400, []string{`"Alpha"`, "lower case"}},
	{"a name with an underscore", "stop", "al_pha", ``, 400, []string{`"al_pha"`, "lower case"}},
	{"a name that ends with a hyphen", "stop", "alpha-", ``, 400, []string{`"alpha-"`}},
	{"a name that is too long", "start", strings.Repeat("a", 254), ``, 400, []string{"at most 253"}},
	{"negative replicas", "scale", "alpha", `{"replicas":-1}`, 422, []string{"replicas -1", "0 or more"}},
	{"too many replicas", "scale", "alpha", `{"replicas":11}`, 422, []string{"replicas 11", "at most 10", "idle-scaler/max-replicas"}},
	{"far too many replicas", "scale", "alpha", `{"replicas":99999999999999999999}`, 422, []string{"at most 10"}},
	{"half a replica", "scale", "alpha", `{"replicas":1.5}`, 400, []string{"replicas 1.5", "whole number"}},
	{"replicas as text", "scale", "alpha", `{"replicas":"3"}`, 400, []string{`replicas "3"`, "without quotes"}},
	{"no replicas", "scale", "alpha", `{}`, 400, []string{`{"replicas":3}`}},
	{"no payload where one is needed", "scale", "alpha", ``, 400, []string{`{"replicas":3}`}},
	{"replicas that are null", "scale", "alpha", `{"replicas":null}`, 400, []string{"whole number"}},
	{"an unknown field", "stop", "alpha", `{"forse":true}`, 400, []string{`"forse"`, "use only actor, force, id, reason"}},
	{"a field in capitals", "scale", "alpha", `{"Replicas":3}`, 400, []string{`"Replicas"`, "replicas"}},
	{"a field of another verb", "stop", "alpha", `{"replicas":0}`, 400, []string{`"replicas"`}},
	{"a field twice", "scale", "alpha", `{"replicas":3,"replicas":4}`, 400, []string{"twice"}},
	{"force as text", "stop", "alpha", `{"force":"yes"}`, 400, []string{"true or false"}},
	{"no object", "start", "alpha", `[]`, 400, []string{"not a JSON object"}},
	{"no JSON", "start", "alpha", `please`, 400, []string{"not a JSON object"}},
	{"half an object", "start", "alpha", `{"wait":"1s"`, 400, []string{"not valid JSON"}},
	{"two objects", "stop", "alpha", `{}{}`, 400, []string{"one object"}},
	{"65 KiB", "start", "alpha", tooLarge, 400, []string{"66560 bytes", "at most 65536"}},
	{"invalid UTF-8", "stop", "alpha", invalidUTF8, 400, []string{"not valid UTF-8"}},
	{"an actor that is too long", "stop", "alpha", `{"actor":"` + strings.Repeat("x", 257) + `"}`, 400, []string{"actor has 257 bytes", "at most 256"}},
	{"a negative wait", "start", "alpha", `{"wait":"-1s"}`, 400, []string{"wait -1s", "negative"}},
	{"a wait that is too long", "start", "alpha", `{"wait":"10h"}`, 422, []string{"wait 10h0m0s", "at most 5m0s"}},
	{"a wait without a unit", "scale", "alpha", `{"replicas":2,"wait":60}`, 400, []string{"wait 60", `"60s"`}},
	{"an unknown verb", "destroy", "alpha", ``, 400, []string{`"destroy"`, "start, stop, scale, hold"}},
}

// A request that makes no sense, or is not allowed, is answered with a code and with what to do about it, in the headers and in the
// body. Nothing else comes of it: no Deployment is touched, no command is stored; the next good request is served.
func TestBadRequests(t *testing.T) {
	b, same := badInputBench(t)
	for _, c := range slices.Concat(badOrders, []badInput{
		{"an unknown server", "start", "alhpa", ``, 404, []string{`"alhpa" not found`, "near it are: alpha"}},
		{"the status of an unknown server", "status", "alpa", ``, 404, []string{"near it are: alpha"}},
		{"the status of a stranger", "status", "stranger", ``, 403, []string{"does not carry the label"}},
		{"a payload for a status", "status", "alpha", `{"verbose":true}`, 400, []string{`"verbose"`}},
		{"a name for a list", "list", "alpha", ``, 400, []string{"one namespace, or none"}},
	}) {
		b.checkRefusal(c, c.verb+"."+b.namespace+"."+c.name)
	}
	for _, c := range []badInput{
		{about: "a namespace that is not watched", name: "start.default.alpha", code: 403, says: []string{"does not watch the namespace default", "--namespaces"}},
		{about: "a namespace that can't be", name: "start.Team.alpha", code: 400, says: []string{`namespace "Team"`}},
		{about: "no server", name: "start." + b.namespace, code: 400, says: []string{"needs a server", "cortex.mcp.api.start.NAMESPACE.NAME"}},
		{about: "no namespace", name: "start", code: 400, says: []string{"needs a server"}},
		{about: "a list of a namespace that can't be", name: "list.Team", code: 400, says: []string{`namespace "Team"`}},
		{about: "a limit that is none", name: "list", payload: `{"limit":0}`, code: 422, says: []string{"limit 0"}},
		{about: "a selector that is none", name: "list", payload: `{"selector":"a in ("}`, code: 400, says: []string{`selector "a in ("`}},
		{about: "a page that is none", name: "list", payload: `{"after":"alpha"}`, code: 400, says: []string{`after "alpha"`}},
		{about: "an unknown verb alone", name: "shutdown", code: 400, says: []string{`"shutdown"`, "list, status, explain, history, report, start, stop, scale, hold, release, pause, resume or wake"}},
	} {
		b.checkRefusal(c, c.name)
	}
	same()
	if n := b.waitingCommands(); n != 0 {
		t.Errorf("%d commands are stored", n)
	}
	if _, err := b.Scale(t.Context(), b.id("alpha"), 2, time.Minute, wire.Sender{}); err != nil {
		t.Error(err)
	}
}

// A subject with an empty token is no subject of NATS: nobody gets the message, its sender is told so at once, and the daemon, who
// never sees it, goes on.
func TestEmptyTokens(t *testing.T) {
	b, same := badInputBench(t)
	for _, subject := range []string{"cortex.mcp.api.start..alpha", "cortex.mcp.api.start." + b.namespace + ".", "cortex.mcp.api..alpha", "cortex.mcp.command.stop." + b.namespace + "..alpha"} {
		if m, err := b.nc.Request(subject, nil, patience); !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrBadSubject) {
			t.Errorf("%s: answered %+v, %v", subject, m, err)
		}
	}
	same()
	if _, err := b.Scale(t.Context(), b.id("alpha"), 2, time.Minute, wire.Sender{}); err != nil {
		t.Error(err)
	}
}

// A published command has nobody to answer to: what is wrong with it is told in an event, to whom it may concern. Nothing else comes
// of it, and it does not stand in the way of those that come after it.
func TestBadCommands(t *testing.T) {
	b, same := badInputBench(t)
	events := b.events()
	type sent struct {
		badInput
		id string // what the id of its event begins with
	}
	var all []sent
	for _, c := range badOrders {
		m, err := b.nc.Request(fmt.Sprintf("cortex.mcp.command.%s.%s.%s", c.verb, b.namespace, c.name), []byte(c.payload), patience)
		var stored jetstream.PubAck
		if err == nil {
			err = json.Unmarshal(m.Data, &stored)
		}
		if err != nil || stored.Sequence == 0 {
			t.Fatalf("%s: not stored: %v", c.about, err)
		}
		all = append(all, sent{c, fmt.Sprintf("command-%d@", stored.Sequence)})
	}
	for _, c := range all {
		e := events.find(c.about+" is told", func(e scaler.Event) bool { return strings.HasPrefix(e.ID, c.id) })
		server := b.id(c.name)
		if begin, cut := strings.CutSuffix(e.Server.Name, "..."); cut && len(c.name) > 253 && strings.HasPrefix(c.name, begin) {
			server.Name = e.Server.Name // what is too long to be a name is told in part
		}
		if e.Type != scaler.Rejected || !containsAll(e.Text, c.says...) || e.Server != server || e.From != e.To {
			t.Errorf("%s: told %+v, want %q", c.about, e, c.says)
		}
		if len(e.Text) > 1024 {
			t.Errorf("%s: told in %d bytes", c.about, len(e.Text))
		}
	}
	same()
	b.order("scale", "alpha", `{"replicas":2,"id":"good"}`)
	events.find("a good command is applied", func(e scaler.Event) bool { return e.Type == scaler.Scaled && e.Command == "good" })
	eventually(t, "no command is left in the stream", func() error {
		if n := b.waitingCommands(); n != 0 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

// Pings and leases that make no sense are counted, and nothing else comes of them; but a word about a lease that can't be read may have replaced
// one that is in force, so it counts as the longest.
func TestBadActivity(t *testing.T) {
	b, same := badInputBench(t)
	for _, m := range []struct{ subject, payload string }{ // of each subject the log keeps the last
		{"activity." + b.namespace, ``},
		{"activity." + b.namespace + ".Alpha", ``},
		{"lease.a." + b.namespace + ".alpha", ``},
		{"lease.b." + b.namespace + ".alpha", `{"ttl":"25h"}`},
		{"lease.c." + b.namespace + ".alpha", `{"ttl":"-1s"}`},
		{"lease.d." + b.namespace + ".alpha", `{"ttl":5}`},
		{"lease.me." + b.namespace, `{"ttl":"5m"}`},
	} {
		if err := b.nc.Publish("cortex.mcp."+m.subject, []byte(m.payload)); err != nil {
			t.Fatal(err)
		}
	}
	b.ping("alpha") // any payload is a ping, so is none
	eventually(t, "the ping after them is known", func() error {
		s, err := b.status("alpha")
		if err != nil || s.LastActivity.IsZero() {
			return fmt.Errorf("%+v %w", s, err)
		}
		if len(s.Leases) != 4 { // the subject of another one makes no sense
			return fmt.Errorf("there are %d leases: %+v", len(s.Leases), s.Leases)
		}
		return nil
	})
	eventually(t, "all are counted", func() error {
		if n := b.counts(t, "idle_scaler_malformed_total")[""]; n < 7 { // more when the log is read again
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	same()
}

// A setting that can't be read is never guessed: its server is left as it is, awake, and its status says what is wrong. The others
// sleep as ever; and so does this one, once it is put right.
func TestAnnotationThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	b.deploy("typo", annotation("idle-after", "soon"))
	b.deploy("unknown", annotation("idle-aftr", "never"))
	b.deploy("fine", annotation("idle-after", "2s"))
	b.run(idle...)
	for _, name := range []string{"typo", "unknown", "fine"} {
		b.awaitReady(name, 1)
	}
	for _, name := range []string{"typo", "unknown", "fine"} { // from the first ping on they may sleep
		b.ping(name)
	}
	b.awaitReplicas("fine", 0)
	for name, says := range map[string][]string{"typo": {`idle-after "soon"`, `"30m"`, "never"}, "unknown": {"idle-aftr", "unknown setting", "idle-after"}} {
		s, err := b.status(name)
		if err != nil || s.Replicas != 1 || s.Decision.Action != "keep" || s.Decision.Reason != "unreadable" || !containsAll(s.SettingsError, says...) {
			t.Errorf("%s: %+v, %q, %v; want %q", name, s.Decision, s.SettingsError, err, says)
		}
	}
	consistently(t, 4*time.Second, "its settings can't be read", b.staysAt("typo", 1)) // longer than the idle-after of all
	if err := b.staysAt("unknown", 1)(); err != nil {
		t.Error(err)
	}
	b.patch("typo", "kubectl", `{"metadata":{"annotations":{"idle-scaler/idle-after":"1s"}}}`)
	b.awaitReplicas("typo", 0)
}

// What the daemon can't work with it refuses at its start, before it does anything: with exit code 2, and a text that says what is
// wrong and what to write instead. All that is wrong is told at once.
func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags []string
		says  []string
	}{
		{[]string{"--schedule", "TZ=Europe/Rome"}, []string{"schedule", "only a time zone", "TZ=Europe/Rome 0 22 * * *"}},
		{[]string{"--schedule", "CRON_TZ=Europe/Rome "}, []string{"schedule", "only a time zone"}},
		{[]string{"--schedule", "CRON_TZ=Mars/Base 0 22 * * *"}, []string{"schedule", "Mars/Base"}},
		{[]string{"--schedule", "99 * * * *"}, []string{"schedule", "99"}},
		{[]string{"--schedule", "0 0 30 2 *"}, []string{"schedule", "never comes"}},
		{[]string{"--schedule", ""}, []string{"empty schedule", "@every 30s"}},
		{[]string{"--idle-after", "soon"}, []string{`idle-after "soon"`}},
		{[]string{"--idle-after", "1000h"}, []string{"idle-after", "never"}},
		{[]string{"--selector", "a in ("}, []string{"selector"}},
		{[]string{"--namespaces", "Team"}, []string{`namespaces: "Team"`}},
		{[]string{"--prefix", "cortex..mcp"}, []string{"prefix", "cortex.mcp"}},
		{[]string{"--nats", "localhost:one"}, []string{"nats:", "nats://HOST:4222"}},
		{[]string{"--max-wait", "soon"}, []string{"max-wait", "30s"}},
		{[]string{"--forse"}, []string{"--forse", "run --help"}},
		{[]string{"--schedule", "TZ=", "--idle-after", "soon", "--listen", "here"}, []string{"schedule", "idle-after", "listen"}},
	} {
		code, out, errs := execute(t, nil, append([]string{"run", "--nats", "nats://127.0.0.1:1", "--kubeconfig", kubeconfig}, c.flags...)...)
		if code != 2 || out != "" || !containsAll(errs, c.says...) || strings.Contains(errs, "panic") || strings.Contains(errs, "goroutine") {
			t.Errorf("%q ends with %d and says %q%q, want %q", c.flags, code, out, errs, c.says)
		}
	}
}

// Without JetStream nothing of what the daemon promises would hold: it does not start, and says how to switch it on.
func TestNATSWithoutJetStream(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	code, _, errs := execute(t, nil, "run", "--nats", s.ClientURL(), "--kubeconfig", kubeconfig, "--listen", "")
	if code != 1 || !containsAll(errs, "idle-scaler: ", "no JetStream", "-js", "jetstream {store_dir: ...}") {
		t.Errorf("it ends with %d and says %q", code, errs)
	}
}

// When the API server does not let the daemon write, its sender is told which right is missing, where; others can still read.
func TestAPIServerRefuses(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(2))
	b.run("--kubeconfig", b.account(rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments", "replicasets"}, Verbs: []string{"get", "list", "watch"}},
		rbacv1.PolicyRule{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: []string{"list", "watch"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services", "pods"}, Verbs: []string{"list", "watch"}}), "--leader-elect=false")
	b.awaitReplicas("alpha", 2)
	events := b.events()
	says := []string{"the API server refuses to patch deployments.apps in " + b.namespace, "Role of idle-scaler's ServiceAccount"}
	_, err := b.Stop(t.Context(), b.id("alpha"), false, wire.Sender{})
	refused(t, err, 500, says...)
	b.publish("scale", "alpha", `{"replicas":5,"id":"published"}`)
	e := events.find("it is told", func(e scaler.Event) bool { return e.Command == "published" })
	if e.Type != scaler.Rejected || !containsAll(e.Text, says...) {
		t.Errorf("told %+v", e)
	}
	if s, err := b.status("alpha"); err != nil || s.Status != "running" || s.Replicas != 2 {
		t.Errorf("status is %+v, %v", s, err)
	}
}

// badInputBench returns a bench with a server, alpha, a Deployment that is none, stranger, and a daemon, and what expects that neither
// was written since.
func badInputBench(t *testing.T) (b *bench, same func()) {
	t.Helper()
	b = newBench(t)
	b.deploy("alpha")
	b.deploy("stranger", func(d *appsv1.Deployment) { d.Labels = nil })
	b.run()
	before := make(map[string]*appsv1.Deployment)
	for _, name := range []string{"alpha", "stranger"} {
		b.awaitReplicas(name, 1)
		before[name] = b.deployment(name)
	}
	return b, func() {
		t.Helper()
		for name, was := range before {
			is := b.deployment(name)
			delete(was.Annotations, "deployment.kubernetes.io/revision")
			delete(is.Annotations, "deployment.kubernetes.io/revision")
			if *is.Spec.Replicas != *was.Spec.Replicas || !maps.Equal(is.Annotations, was.Annotations) || is.UID != was.UID {
				t.Errorf("%s was changed to %d replicas, %v", name, *is.Spec.Replicas, is.Annotations)
			}
		}
		if pods := b.pods("alpha"); len(pods) != 1 || pods[0].DeletionTimestamp != nil {
			t.Errorf("alpha has %d pods", len(pods))
		}
	}
}

// checkRefusal sends a request and checks that it is refused as it has to be.
func (b *bench) checkRefusal(c badInput, subject string) {
	b.t.Helper()
	m, err := b.nc.Request("cortex.mcp.api."+subject, []byte(c.payload), patience)
	if err != nil {
		b.t.Errorf("%s: %v", c.about, err)
		return
	}
	text := m.Header.Get("Nats-Service-Error")
	if got := m.Header.Get("Nats-Service-Error-Code"); got != strconv.Itoa(c.code) || !containsAll(text, c.says...) || len(text) > 1024 {
		b.t.Errorf("%s: answered %s %q, want %d and %q", c.about, got, text, c.code, c.says)
	}
	var a wire.Answer
	if err := json.Unmarshal(m.Data, &a); err != nil || a.Error == nil || *a.Error != (wire.Error{Code: c.code, Text: text}) {
		b.t.Errorf("%s: the body is %q", c.about, m.Data)
	}
}

// waitingCommands is how many commands wait in the stream.
func (b *bench) waitingCommands() uint64 {
	b.t.Helper()
	js, err := jetstream.New(b.nc)
	if err != nil {
		b.t.Fatal(err)
	}
	stream, err := js.Stream(b.t.Context(), "CORTEX_MCP_COMMANDS")
	if err != nil {
		b.t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// account makes a ServiceAccount that has these rights in the namespace, may read the namespace itself, and no others; it returns a kubeconfig of it.
func (b *bench) account(rules ...rbacv1.PolicyRule) string {
	b.t.Helper()
	ctx, meta := b.t.Context(), metav1.ObjectMeta{Name: "daemon"}
	_, err := b.kube.CoreV1().ServiceAccounts(b.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	if err == nil {
		_, err = b.kube.RbacV1().Roles(b.namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = b.kube.RbacV1().RoleBindings(b.namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: b.namespace, Name: meta.Name}},
		}, metav1.CreateOptions{})
	}
	if err == nil { // a namespace itself lies in none
		meta := metav1.ObjectMeta{Name: b.namespace + "-namespace"}
		_, err = b.kube.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{b.namespace}, Verbs: []string{"list", "watch"}},
		}}, metav1.CreateOptions{})
		if err == nil {
			_, err = b.kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
				ObjectMeta: meta,
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: b.namespace, Name: "daemon"}},
			}, metav1.CreateOptions{})
		}
	}
	if err != nil {
		b.t.Fatal(err)
	}
	token, err := b.kube.CoreV1().ServiceAccounts(b.namespace).CreateToken(ctx, meta.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join(b.t.TempDir(), "kubeconfig")
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		b.t.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		b.t.Fatal(err)
	}
	return file
}
