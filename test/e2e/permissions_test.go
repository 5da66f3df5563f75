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
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// deployRBAC makes what deploy/base says about rights, in another namespace than idle-scaler and, what has none, under another name. It
// returns how the ServiceAccount reaches the cluster.
func deployRBAC(t *testing.T, namespace string) *rest.Config {
	t.Helper()
	ctx := t.Context()
	for _, file := range []string{"rbac.yaml", "leases.yaml"} {
		text, err := os.ReadFile("../../deploy/base/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(strings.ReplaceAll(string(text), "namespace: idle-scaler", "namespace: "+namespace), "\n---\n") {
			var meta metav1.TypeMeta
			err := yaml.Unmarshal([]byte(document), &meta)
			read := func(object any) {
				if err == nil {
					err = yaml.UnmarshalStrict([]byte(document), object)
				}
			}
			if err == nil {
				switch meta.Kind {
				case "ServiceAccount":
					var o corev1.ServiceAccount
					read(&o)
					_, err = kube.CoreV1().ServiceAccounts(o.Namespace).Create(ctx, &o, metav1.CreateOptions{})
				case "ClusterRole":
					var o rbacv1.ClusterRole
					read(&o)
					o.Name = namespace
					_, err = kube.RbacV1().ClusterRoles().Create(ctx, &o, metav1.CreateOptions{})
				case "ClusterRoleBinding":
					var o rbacv1.ClusterRoleBinding
					read(&o)
					o.Name, o.RoleRef.Name = namespace, namespace
					_, err = kube.RbacV1().ClusterRoleBindings().Create(ctx, &o, metav1.CreateOptions{})
				case "Role":
					var o rbacv1.Role
					read(&o)
					_, err = kube.RbacV1().Roles(o.Namespace).Create(ctx, &o, metav1.CreateOptions{})
				case "RoleBinding":
					var o rbacv1.RoleBinding
					read(&o)
					_, err = kube.RbacV1().RoleBindings(o.Namespace).Create(ctx, &o, metav1.CreateOptions{})
				default:
					t.Fatalf("%s: a %s, which this test does not know", file, meta.Kind)
				}
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	token, err := kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "idle-scaler", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = token.Status.Token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API server knows of the rights", func() error {
		if _, err := client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
		if _, err := client.CoordinationV1().Leases(namespace).Get(ctx, "idle-scaler", metav1.GetOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
	return config
}

func writeKubeconfig(t *testing.T, c *rest.Config) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	config.AuthInfos["daemon"] = &clientcmdapi.AuthInfo{Token: c.BearerToken}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "daemon"}
	config.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// The rights in deploy/base suffice for all that the daemon does.
func TestTheRightsInKubernetesSuffice(t *testing.T) {
	b := newBench(t)
	own := newNamespace(t, kube)
	b.deploy("alpha", replicas(2))
	b.deploy("slow", podAnnotation("stop-delay", "1h"))
	b.deploy("broken", replicas(0), image("example.com/fail/pull"))
	events := b.events()
	d := b.run(append(idle, "--kubeconfig", writeKubeconfig(t, deployRBAC(t, own)), "--lease-namespace", own)...)
	b.awaitReplicas("slow", 1)
	if a, err := b.Stop(t.Context(), b.id("slow"), true, wire.Sender{}); err != nil { // list and delete pods
		t.Errorf("answered %+v, %v", a, err)
	}
	eventually(t, "its pods are gone", func() error {
		if pods := b.pods("slow"); len(pods) > 0 {
			return fmt.Errorf("%d are there", len(pods))
		}
		return nil
	})
	b.ping("alpha")
	events.next(scaler.Slept, "alpha")
	b.awaitReplicas("alpha", 0)
	b.ping("alpha")
	events.next(scaler.Ready, "alpha")
	var failure *wire.Error // list ReplicaSets, watch pods
	if a, err := b.Start(t.Context(), b.id("broken"), patience, wire.Sender{}); !errors.As(err, &failure) || failure.Code != 503 || !strings.Contains(failure.Text, "ImagePull") {
		t.Errorf("answered %+v, %v", a, err)
	}
	eventually(t, "kubernetes has the events", func() error {
		list, err := kube.EventsV1().Events(b.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.ReportingController == "idle-scaler" && e.Reason == "Slept" {
				return nil
			}
		}
		return fmt.Errorf("none of the daemon among %d", len(list.Items))
	})
	lease, err := kube.CoordinationV1().Leases(own).Get(t.Context(), "idle-scaler", metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity == "" {
		t.Errorf("the lease is %v, %v", lease, err)
	}
	d.stop() // gives the lease up
	if lease, err = kube.CoordinationV1().Leases(own).Get(t.Context(), "idle-scaler", metav1.GetOptions{}); err != nil || *lease.Spec.HolderIdentity != "" {
		t.Errorf("the lease is %v, %v", lease, err)
	}
	if said := d.log.String(); strings.Contains(said, "refuses to") || strings.Contains(said, "forbidden") {
		t.Error("it was refused something")
	}
}

// The rights in deploy/base are no more than it needs: by them nobody can do harm that the daemon would not.
func TestTheRightsInKubernetesAreFew(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.awaitReplicas("alpha", 1)
	own := newNamespace(t, kube)
	daemon, err := kubernetes.NewForConfig(deployRBAC(t, own))
	if err != nil {
		t.Fatal(err)
	}
	ctx, ns := t.Context(), b.namespace
	if _, err := daemon.AppsV1().Deployments(ns).Get(ctx, "alpha", metav1.GetOptions{}); err != nil {
		t.Fatalf("what it may do fails too: %v", err)
	}
	if _, err := daemon.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		t.Fatalf("what it may do fails too: %v", err)
	}
	pod := b.pods("alpha")[0].Name
	patch := []byte(`{"metadata":{"labels":{"a":"b"}}}`)
	for what, try := range map[string]func() error{
		"delete a Deployment": func() error { return daemon.AppsV1().Deployments(ns).Delete(ctx, "alpha", metav1.DeleteOptions{}) },
		"delete all Deployments": func() error {
			return daemon.AppsV1().Deployments(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		},
		"create a Deployment": func() error {
			_, err := daemon.AppsV1().Deployments(ns).Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
			return err
		},
		"write a Deployment's scale": func() error {
			_, err := daemon.AppsV1().Deployments(ns).Patch(ctx, "alpha", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}, "scale")
			return err
		},
		"patch a ReplicaSet": func() error {
			_, err := daemon.AppsV1().ReplicaSets(ns).Patch(ctx, "x", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		"patch a pod": func() error {
			_, err := daemon.CoreV1().Pods(ns).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		"delete all pods": func() error {
			return daemon.CoreV1().Pods(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		},
		"create a pod": func() error {
			_, err := daemon.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
			return err
		},
		"read Secrets": func() error { _, err := daemon.CoreV1().Secrets(ns).List(ctx, metav1.ListOptions{}); return err },
		"read a Secret of its own": func() error {
			_, err := daemon.CoreV1().Secrets(own).Get(ctx, "idle-scaler-nats", metav1.GetOptions{})
			return err
		},
		"read ConfigMaps": func() error { _, err := daemon.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{}); return err },
		"patch a Service": func() error {
			_, err := daemon.CoreV1().Services(ns).Patch(ctx, "x", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		"read another's Lease": func() error {
			_, err := daemon.CoordinationV1().Leases(own).Get(ctx, "x", metav1.GetOptions{})
			return err
		},
		"have a Lease elsewhere": func() error {
			_, err := daemon.CoordinationV1().Leases(ns).Get(ctx, "idle-scaler", metav1.GetOptions{})
			return err
		},
		"get a token": func() error {
			_, err := daemon.CoreV1().ServiceAccounts(own).CreateToken(ctx, "idle-scaler", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

const (
	daemonPassword = "daemon-secret"
	teamPassword   = "team-secret"
)

// newTenant returns a bench with the NATS server of deploy/nats, where the test is the tenant team-a, and the flags with which the
// daemon is its user idle-scaler. The passwords are defined where NATS looks before the environment, which all tests share.
func newTenant(t *testing.T) (*bench, []string) {
	t.Helper()
	t.Parallel()
	text, err := os.ReadFile("../../deploy/nats/nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nats-server.conf")
	passwords := fmt.Sprintf("IDLE_SCALER_PASSWORD: %q\nTEAM_A_PASSWORD: %q\n", daemonPassword, teamPassword)
	if err := os.WriteFile(path, []byte(passwords+string(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	options.Host, options.Port, options.StoreDir, options.NoLog, options.NoSigs = "127.0.0.1", server.RANDOM_PORT, t.TempDir(), true, true
	b := &bench{t: t, namespace: "team-a", cluster: cluster{kubeconfig, kube}, options: options}
	_, err = kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	b.startNATS()
	b.connect(nats.UserInfo("team-a", teamPassword), nats.CustomInboxPrefix("_INBOX.team-a"))
	return b, []string{"--nats-user", "idle-scaler", "--nats-password", daemonPassword}
}

// With the permissions in deploy/nats the daemon can do all that it does, also after a restart of either, and a tenant all that he
// needs for the servers of his namespace.
func TestThePermissionsInNATSSuffice(t *testing.T) {
	b, user := newTenant(t)
	name := "tenant-" + strings.ToLower(strings.ReplaceAll(time.Now().Format("150405.000"), ".", "-"))
	b.deploy(name, replicas(2))
	t.Cleanup(func() {
		_ = kube.AppsV1().Deployments(b.namespace).Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	selected := slices.Concat(user, alone)
	events := b.events()
	d := b.run(selected...)

	b.ping(name)
	events.next(scaler.Slept, name)
	b.lease(name, time.Hour)
	if e := events.next(scaler.Woken, name); e.Cause != policy.CauseLease {
		t.Errorf("told %+v", e)
	}
	b.order("scale", name, `{"replicas":3,"id":"c1"}`)
	if e := events.next(scaler.Scaled, name); e.Command != "c1" {
		t.Errorf("told %+v", e)
	}
	requests := func() {
		t.Helper()
		if servers, err := b.List(t.Context(), b.namespace, ""); err != nil || len(servers) == 0 {
			t.Errorf("list: %v, %v", servers, err)
		}
		if _, err := b.status(name); err != nil {
			t.Error(err)
		}
		if _, err := b.Stop(t.Context(), b.id(name), true, wire.Sender{}); err != nil {
			t.Error(err)
		}
		if _, err := b.Start(t.Context(), b.id(name), patience, wire.Sender{}); err != nil {
			t.Error(err)
		}
		if _, err := b.Scale(t.Context(), b.id(name), 1, patience, wire.Sender{}); err != nil {
			t.Error(err)
		}
		if _, err := b.Hold(t.Context(), b.id(name), false, "1h", wire.Sender{}); err != nil {
			t.Error(err)
		}
		if _, err := b.Release(t.Context(), b.id(name), wire.Sender{}); err != nil {
			t.Error(err)
		}
		for _, scope := range []scaler.ID{b.id(name), {Namespace: b.namespace}} {
			if _, err := b.Pause(t.Context(), scope, wire.Sender{}); err != nil {
				t.Error(err)
			}
			if _, err := b.Resume(t.Context(), scope, wire.Sender{}); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.Wake(t.Context(), b.namespace, wire.Sender{}); err != nil {
			t.Error(err)
		}
	}
	requests()
	d.kill() // the next one finds streams, consumers and events
	d = b.run(selected...)
	requests()
	b.stopNATS()
	b.startNATS()
	eventually(t, "the daemon answers again", func() error { _, err := b.status(name); return err })
	eventually(t, "the daemon hears again", func() error { return d.metric("idle_scaler_blind 0") })
	requests()
	if said := d.log.String(); strings.Contains(said, "does not permit") || strings.Contains(said, "ermissions") {
		t.Error("it was refused something")
	}
}

// What a tenant must not: touch another namespace, read or change streams, forge events or answers, hear others' answers.
func TestATenantIsConfined(t *testing.T) {
	b, user := newTenant(t)
	b.run(slices.Concat(user, alone, []string{"--namespaces", newNamespace(t, kube)})...) // the other test's servers are not its
	refused := make(chan error, 100)
	b.nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	expect := func(what string) {
		t.Helper()
		if err := b.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		select { // the server has said it before it answered the flush
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
		"cortex.mcp.api.list", "cortex.mcp.api.list.team-b", "cortex.mcp.api.status.team-b.alpha", "cortex.mcp.api.stop.team-b.alpha",
		"cortex.mcp.command.hold.team-b.alpha", "cortex.mcp.api.hold.team-b.alpha", "cortex.mcp.api.release.team-b.alpha",
		"cortex.mcp.api.pause", "cortex.mcp.api.pause.team-b", "cortex.mcp.api.pause.team-b.alpha", "cortex.mcp.api.wake", "cortex.mcp.api.wake.team-b",
		"cortex.mcp.api.resume", "cortex.mcp.api.resume.team-b", "cortex.mcp.api.resume.team-b.alpha",
		"cortex.mcp.pause.all", "cortex.mcp.pause.namespace.team-a", "cortex.mcp.pause.server.team-a.alpha",
		"cortex.mcp.event.slept.team-a.alpha", "cortex.mcp.event.slept.team-b.alpha", "_INBOX.other.answer", "_INBOX.team-b.answer",
		"$JS.API.INFO", "$JS.API.STREAM.INFO.CORTEX_MCP_EVENTS", "$JS.API.STREAM.PURGE.CORTEX_MCP_ACTIVITY", "$JS.API.STREAM.DELETE.CORTEX_MCP_COMMANDS", "$JS.API.STREAM.PURGE.CORTEX_MCP_PAUSES",
		"$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.MSG.GET.CORTEX_MCP_EVENTS", "$JS.API.DIRECT.GET.CORTEX_MCP_EVENTS", "$JS.API.CONSUMER.CREATE.CORTEX_MCP_EVENTS",
		"$JS.ACK.CORTEX_MCP_COMMANDS.x.1.1.1.1.0", "$SYS.REQ.SERVER.PING", "$SRV.PING.idle-scaler",
	} {
		if err := b.nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		expect("to publish to " + subject)
	}
	for _, subject := range []string{
		"cortex.mcp.event.>", "cortex.mcp.event.*.team-b.>", "cortex.mcp.>", "cortex.mcp.command.>", "cortex.mcp.command.*.team-a.>",
		"cortex.mcp.activity.>", "cortex.mcp.pause.>", "cortex.mcp.api.>", "cortex.mcp.api.*.team-a.>", "_INBOX.>", "_INBOX.other.>", "$SRV.>", "$JS.>", ">",
	} {
		sub, err := b.nc.Subscribe(subject, func(*nats.Msg) {})
		if err != nil {
			t.Fatal(err)
		}
		expect("to subscribe to " + subject)
		_ = sub.Unsubscribe()
	}
	select {
	case err := <-refused:
		t.Errorf("refused is more than was tried: %v", err)
	default:
	}
}

// What NATS does not permit is told to a tenant on the command line at once, and whom to ask: no order, question or ping ends as if it was done,
// or as if nobody was there. A ping that no stream takes is no ping.
func TestATenantIsToldWhatNATSDoesNotPermit(t *testing.T) {
	b, user := newTenant(t)
	says := func(code int, says []string, args ...string) {
		t.Helper()
		began := time.Now()
		args = append(args, "--nats-user", "team-a", "--nats-password", teamPassword)
		got, out, errs := execute(t, []string{"NATS_URL=" + b.nats.ClientURL()}, args...)
		if got != code || out != "" || !containsAll(errs, says...) {
			t.Errorf("%q ends with %d and says %q%q, want %d and %q", args, got, out, errs, code, says)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%q took %s", args, took)
		}
	}
	inbox := []string{"--nats-inbox-prefix", "_INBOX.team-a"}
	ping := append([]string{"ping", "team-a/alpha"}, inbox...)
	says(3, []string{"no stream", "has idle-scaler ever run here"}, ping...)
	b.run(slices.Concat(user, alone, []string{"--namespaces", newNamespace(t, kube)})...)
	says(0, nil, ping...)
	for subject, args := range map[string][]string{
		"cortex.mcp.activity.team-b.alpha":  {"ping", "team-a/alpha", "team-b/alpha"},
		"cortex.mcp.api.list":               {"list"},
		"cortex.mcp.api.status.team-b.beta": {"status", "team-b/beta"},
		"cortex.mcp.api.start.team-b.beta":  {"start", "--wait", "1m", "team-b/beta"},
		"cortex.mcp.api.hold.team-b.beta":   {"hold", "--awake-until", "1h", "team-b/beta"},
		"cortex.mcp.api.pause":              {"pause", "--all"},
		"cortex.mcp.event.>":                {"watch"},
	} {
		says(1, []string{subject, "NATS does not permit", "deploy/nats"}, append(args, inbox...)...)
	}
	says(1, []string{"NATS does not permit", "inbox prefix"}, "status", "team-a/alpha")
}
