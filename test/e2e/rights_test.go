package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// grant makes what deploy/base says about rights, in another namespace than idle-scaler and, where
// an object has no namespace, under another name. It returns how the ServiceAccount reaches the
// cluster.
func grant(t *testing.T, namespace string) *rest.Config {
	t.Helper()
	ctx, none := t.Context(), metav1.CreateOptions{}
	for _, file := range []string{"rbac.yaml", "leases.yaml"} {
		text, err := os.ReadFile("../../deploy/base/" + file)
		natstest.Check(t, err)
		moved := strings.ReplaceAll(string(text), "namespace: idle-scaler", "namespace: "+namespace)
		for document := range strings.SplitSeq(moved, "\n---\n") {
			read := func(object any) { natstest.Check(t, yaml.UnmarshalStrict([]byte(document), object)) }
			var meta metav1.TypeMeta
			natstest.Check(t, yaml.Unmarshal([]byte(document), &meta))
			switch meta.Kind {
			case "ServiceAccount":
				var o corev1.ServiceAccount
				read(&o)
				_, err = kube.CoreV1().ServiceAccounts(o.Namespace).Create(ctx, &o, none)
			case "ClusterRole":
				var o rbacv1.ClusterRole
				read(&o)
				o.Name = namespace
				_, err = kube.RbacV1().ClusterRoles().Create(ctx, &o, none)
			case "ClusterRoleBinding":
				var o rbacv1.ClusterRoleBinding
				read(&o)
				o.Name, o.RoleRef.Name = namespace, namespace
				_, err = kube.RbacV1().ClusterRoleBindings().Create(ctx, &o, none)
			case "Role":
				var o rbacv1.Role
				read(&o)
				_, err = kube.RbacV1().Roles(o.Namespace).Create(ctx, &o, none)
			case "RoleBinding":
				var o rbacv1.RoleBinding
				read(&o)
				_, err = kube.RbacV1().RoleBindings(o.Namespace).Create(ctx, &o, none)
			default:
				t.Fatalf("%s: a %s, which this test does not know", file, meta.Kind)
			}
			natstest.Check(t, err)
		}
	}
	var request authenticationv1.TokenRequest
	token, err := kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "idle-scaler", &request, none)
	natstest.Check(t, err)
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = token.Status.Token
	client, err := kubernetes.NewForConfig(config)
	natstest.Check(t, err)
	wait.Eventually(t, "the API server knows of the rights", func() error {
		if _, err := client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
		_, err := client.CoordinationV1().Leases(namespace).Get(ctx, "idle-scaler", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
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
	natstest.Check(t, clientcmd.WriteToFile(*config, path))
	return path
}

// The rights in deploy/base suffice for all that the daemon does.
func TestTheRightsInKubernetesSuffice(t *testing.T) {
	w := newWorld(t)
	own := newNamespace(t, kube)
	w.deploy("alpha", replicas(2))
	w.deploy("slow", podAnnotation("stop-delay", "1h"))
	w.deploy("broken", replicas(0), image("example.com/fail/pull"))
	events := w.events()
	d := w.run(append(idle, "--kubeconfig", writeKubeconfig(t, grant(t, own)), "--lease-namespace", own)...)
	w.awaitReplicas("slow", 1)
	_, err := w.Stop(t.Context(), w.id("slow"), true, wire.Sender{}) // list and delete pods
	natstest.Check(t, err)
	w.awaitPods("slow", 0)
	w.ping("alpha")
	events.next(scaler.Slept, "alpha")
	w.awaitReplicas("alpha", 0)
	w.ping("alpha")
	events.next(scaler.Ready, "alpha")
	_, err = w.Start(t.Context(), w.id("broken"), wait.Patience, wire.Sender{}) // list ReplicaSets, watch pods
	refused(t, err, 503, "ImagePull")
	wait.Eventually(t, "Kubernetes has the events", func() error {
		list, err := kube.EventsV1().Events(w.namespace).List(t.Context(), metav1.ListOptions{})
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
	holder := func() string {
		lease, err := kube.CoordinationV1().Leases(own).Get(t.Context(), "idle-scaler", metav1.GetOptions{})
		natstest.Check(t, err)
		return *lease.Spec.HolderIdentity
	}
	if holder() == "" {
		t.Error("nobody has the lease")
	}
	d.stop()
	if left := holder(); left != "" {
		t.Errorf("the lease is still that of %s", left)
	}
	if said := d.log.String(); strings.Contains(said, "refuses to") || strings.Contains(said, "forbidden") {
		t.Error("the API server has refused something")
	}
}

// The rights in deploy/base are no more than the daemon needs: with them nobody can do harm that
// the daemon would not.
func TestTheRightsInKubernetesAreFew(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	w.awaitReplicas("alpha", 1)
	own := newNamespace(t, kube)
	daemon, err := kubernetes.NewForConfig(grant(t, own))
	natstest.Check(t, err)
	ctx, ns := t.Context(), w.namespace
	create, change := metav1.CreateOptions{}, metav1.PatchOptions{}
	apps, core := daemon.AppsV1(), daemon.CoreV1()
	if _, err := apps.Deployments(ns).Get(ctx, "alpha", metav1.GetOptions{}); err != nil {
		t.Fatalf("what it may do fails, too: %v", err)
	}
	pod := w.pods("alpha")[0].Name
	patch := []byte(`{"metadata":{"labels":{"a":"b"}}}`)
	for what, try := range map[string]func() error{
		"delete a Deployment": func() error { return apps.Deployments(ns).Delete(ctx, "alpha", metav1.DeleteOptions{}) },
		"delete all Deployments": func() error {
			return apps.Deployments(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		},
		"create a Deployment": func() error {
			_, err := apps.Deployments(ns).Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, create)
			return err
		},
		"write a Deployment's scale": func() error {
			scale := []byte(`{"spec":{"replicas":3}}`)
			_, err := apps.Deployments(ns).Patch(ctx, "alpha", types.MergePatchType, scale, change, "scale")
			return err
		},
		"patch a ReplicaSet": func() error {
			_, err := apps.ReplicaSets(ns).Patch(ctx, "x", types.MergePatchType, patch, change)
			return err
		},
		"patch a pod": func() error {
			_, err := core.Pods(ns).Patch(ctx, pod, types.MergePatchType, patch, change)
			return err
		},
		"delete all pods": func() error {
			return core.Pods(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		},
		"create a pod": func() error {
			_, err := core.Pods(ns).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, create)
			return err
		},
		"read Secrets": func() error { _, err := core.Secrets(ns).List(ctx, metav1.ListOptions{}); return err },
		"read a Secret of its own": func() error {
			_, err := core.Secrets(own).Get(ctx, "idle-scaler-nats", metav1.GetOptions{})
			return err
		},
		"read ConfigMaps": func() error { _, err := core.ConfigMaps(ns).List(ctx, metav1.ListOptions{}); return err },
		"patch a Service": func() error {
			_, err := core.Services(ns).Patch(ctx, "x", types.MergePatchType, patch, change)
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
			var request authenticationv1.TokenRequest
			_, err := core.ServiceAccounts(own).CreateToken(ctx, "idle-scaler", &request, create)
			return err
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
