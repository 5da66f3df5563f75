package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

const (
	daemonPassword = "daemon-secret"
	teamPassword   = "team-secret"
)

// newTenant returns a world with the NATS server of deploy/nats, where the test is the tenant
// team-a, and the flags with which the daemon is its user idle-scaler. The passwords stand where
// NATS looks before the environment, which all tests share.
func newTenant(t *testing.T) (*world, []string) {
	t.Helper()
	t.Parallel()
	text, err := os.ReadFile("../../deploy/nats/nats-server.conf")
	natstest.Check(t, err)
	path := filepath.Join(t.TempDir(), "nats-server.conf")
	passwords := fmt.Sprintf("IDLE_SCALER_PASSWORD: %q\nTEAM_A_PASSWORD: %q\n", daemonPassword, teamPassword)
	natstest.Check(t, os.WriteFile(path, []byte(passwords+string(text)), 0o600))
	options, err := server.ProcessConfigFile(path)
	natstest.Check(t, err)
	options.Host, options.Port, options.StoreDir = "127.0.0.1", server.RANDOM_PORT, t.TempDir()
	options.NoLog, options.NoSigs = true, true
	w := &world{t: t, namespace: "team-a", cluster: cluster{kubeconfig, kube}, options: options}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	_, err = kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	w.startNATS()
	w.connect(nats.UserInfo("team-a", teamPassword), nats.CustomInboxPrefix("_INBOX.team-a"))
	return w, slices.Concat(alone, []string{"--nats-user", "idle-scaler", "--nats-password", daemonPassword})
}

// With the permissions in deploy/nats the daemon can do all that it does, also after a restart of
// either, and a tenant all that he needs for the servers of his namespace.
func TestThePermissionsInNATSSuffice(t *testing.T) {
	w, flags := newTenant(t)
	name := "tenant-" + strings.ToLower(strings.ReplaceAll(time.Now().Format("150405.000"), ".", "-"))
	w.deploy(name, replicas(2))
	t.Cleanup(func() {
		_ = kube.AppsV1().Deployments(w.namespace).Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	events := w.events()
	d := w.run(flags...)

	w.ping(name)
	events.next(scaler.Slept, name)
	w.lease(name, time.Hour)
	if e := events.next(scaler.Woken, name); e.Cause != policy.CauseLease {
		t.Errorf("published %+v", e)
	}
	w.publish("scale", name, `{"replicas":3,"id":"c1"}`)
	if e := events.next(scaler.Scaled, name); e.Command != "c1" {
		t.Errorf("published %+v", e)
	}
	requests := func() {
		t.Helper()
		ctx, id, by := t.Context(), w.id(name), wire.Sender{}
		if servers, err := w.List(ctx, w.namespace, ""); err != nil || len(servers) == 0 {
			t.Errorf("list: %v, %v", servers, err)
		}
		for what, ask := range map[string]func() error{
			"status":  func() error { _, err := w.status(name); return err },
			"history": func() error { _, err := w.History(ctx, id, time.Hour, 10); return err },
			"wake":    func() error { _, err := w.Wake(ctx, w.namespace, by); return err },
			"pause": func() error {
				_, err := w.Pause(ctx, id, by)
				_, again := w.Resume(ctx, id, by)
				return errors.Join(err, again)
			},
			"pause of all": func() error {
				_, err := w.Pause(ctx, scaler.ID{Namespace: w.namespace}, by)
				_, again := w.Resume(ctx, scaler.ID{Namespace: w.namespace}, by)
				return errors.Join(err, again)
			},
			"orders": func() error {
				_, stop := w.Stop(ctx, id, true, by)
				_, start := w.Start(ctx, id, wait.Patience, by)
				_, scale := w.Scale(ctx, id, 1, wait.Patience, by)
				_, hold := w.Hold(ctx, id, false, "1h", by)
				_, release := w.Release(ctx, id, by)
				return errors.Join(stop, start, scale, hold, release)
			},
		} {
			if err := ask(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	requests()
	d.kill() // the next one finds streams, consumers and events
	d = w.run(flags...)
	requests()
	w.stopNATS()
	w.startNATS()
	wait.Eventually(t, "the daemon answers again", func() error { _, err := w.status(name); return err })
	wait.Eventually(t, "the daemon has caught up", func() error { return d.metric("idle_scaler_blind 0") })
	requests()
	if said := d.log.String(); strings.Contains(said, "does not permit") || strings.Contains(said, "ermissions") {
		t.Error("NATS has refused something")
	}
}

// A tenant must not touch another namespace, read or change streams, forge events or answers, or
// hear the answers of others. On the command line he learns at once what NATS does not permit, and
// whom to ask: nothing ends as if it was done, or as if nobody was there.
func TestATenantIsConfined(t *testing.T) {
	w, flags := newTenant(t)
	w.run(append(flags, "--namespaces", newNamespace(t, kube))...) // the other test's servers are not its
	refused := make(chan error, 100)
	w.nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	expect := func(what string) {
		t.Helper()
		natstest.Check(t, w.nc.Flush()) // NATS has said it before it answers that
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s is permitted", what)
		}
	}
	for _, subject := range []string{
		"cortex.mcp.command.stop.team-b.alpha", "cortex.mcp.activity.team-b.alpha", "cortex.mcp.lease.x.team-b.alpha",
		"cortex.mcp.api.list", "cortex.mcp.api.list.team-b",
		"cortex.mcp.api.status.team-b.alpha", "cortex.mcp.api.stop.team-b.alpha",
		"cortex.mcp.command.hold.team-b.alpha", "cortex.mcp.api.hold.team-b.alpha", "cortex.mcp.api.release.team-b.alpha",
		"cortex.mcp.api.pause", "cortex.mcp.api.pause.team-b", "cortex.mcp.api.pause.team-b.alpha",
		"cortex.mcp.api.wake", "cortex.mcp.api.wake.team-b",
		"cortex.mcp.api.resume", "cortex.mcp.api.resume.team-b", "cortex.mcp.api.resume.team-b.alpha",
		"cortex.mcp.pause.all", "cortex.mcp.pause.namespace.team-a", "cortex.mcp.pause.server.team-a.alpha",
		"cortex.mcp.event.slept.team-a.alpha", "cortex.mcp.event.slept.team-b.alpha",
		"_INBOX.other.answer", "_INBOX.team-b.answer",
		"$JS.API.INFO", "$JS.API.STREAM.INFO.CORTEX_MCP_EVENTS", "$JS.API.STREAM.PURGE.CORTEX_MCP_ACTIVITY",
		"$JS.API.STREAM.DELETE.CORTEX_MCP_COMMANDS", "$JS.API.STREAM.PURGE.CORTEX_MCP_PAUSES", "$JS.API.STREAM.CREATE.MINE",
		"$JS.API.STREAM.MSG.GET.CORTEX_MCP_EVENTS", "$JS.API.DIRECT.GET.CORTEX_MCP_EVENTS",
		"$JS.API.CONSUMER.CREATE.CORTEX_MCP_EVENTS",
		"$JS.ACK.CORTEX_MCP_COMMANDS.x.1.1.1.1.0", "$SYS.REQ.SERVER.PING", "$SRV.PING.idle-scaler",
	} {
		natstest.Check(t, w.nc.Publish(subject, nil))
		expect("to publish to " + subject)
	}
	for _, subject := range []string{
		"cortex.mcp.event.>", "cortex.mcp.event.*.team-b.>", "cortex.mcp.>",
		"cortex.mcp.command.>", "cortex.mcp.command.*.team-a.>",
		"cortex.mcp.activity.>", "cortex.mcp.pause.>", "cortex.mcp.api.>", "cortex.mcp.api.*.team-a.>",
		"_INBOX.>", "_INBOX.other.>", "$SRV.>", "$JS.>", ">",
	} {
		sub, err := w.nc.Subscribe(subject, func(*nats.Msg) {})
		natstest.Check(t, err)
		expect("to subscribe to " + subject)
		_ = sub.Unsubscribe()
	}
	select {
	case err := <-refused:
		t.Errorf("refused is more than was tried: %v", err)
	default:
	}

	says := func(code int, says []string, args ...string) {
		t.Helper()
		env := []string{"NATS_URL=" + w.nats.ClientURL()}
		args = append(args, "--nats-user", "team-a", "--nats-password", teamPassword)
		got, out, errs := execute(t, env, args...)
		if got != code || out != "" || !containsAll(errs, says...) {
			t.Errorf("%q ends with %d and says %q%q, want %d and %q", args, got, out, errs, code, says)
		}
	}
	inbox := []string{"--nats-inbox-prefix", "_INBOX.team-a"}
	says(0, nil, append([]string{"ping", "team-a/alpha"}, inbox...)...)
	for subject, args := range map[string][]string{
		"cortex.mcp.activity.team-b.alpha": {"ping", "team-a/alpha", "team-b/alpha"},
		"cortex.mcp.api.list":              {"list"},
		"cortex.mcp.api.start.team-b.beta": {"start", "--wait", "1m", "team-b/beta"},
		"cortex.mcp.event.>":               {"watch"},
	} {
		says(1, []string{subject, "NATS does not permit", "deploy/nats"}, append(args, inbox...)...)
	}
	says(1, []string{"NATS does not permit", "inbox prefix"}, "status", "team-a/alpha")
}
