package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// A start that waits is answered at the first ready pod, however many are wanted.
func TestStartAnswersAtTheFirstReadyPod(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(0), annotation("wake-replicas", "3"), image("fail/ready")) // ready when the test says so
	b.deploy("beta", replicas(0), podAnnotation("start-delay", "2s"))
	events := b.events()
	b.run()
	began := time.Now()
	alpha := later(func() (wire.Answer, error) { return b.Start(t.Context(), b.id("alpha"), time.Minute, wire.Sender{}) })
	beta := later(func() (wire.Answer, error) { return b.Start(t.Context(), b.id("beta"), time.Minute, wire.Sender{}) })

	a, err := beta.end(t)
	if took := time.Since(began); err != nil || a.Server.ReadyReplicas != 1 || a.Server.Status != "running" || took < 2*time.Second {
		t.Errorf("beta is answered after %s: %+v, %v", took, a.Server, err)
	}
	if e := events.next(scaler.Ready, "beta"); e.Took < 2*time.Second || e.Took > time.Since(began) {
		t.Errorf("beta is told to have taken %s", e.Took)
	}

	alpha.isOpen(t, 100*time.Millisecond)
	b.makeReady("alpha", 1)
	a, err = alpha.end(t)
	if err != nil || a.Event == nil || *a.Event != (wire.Transition{Type: "woken", From: 0, To: 3}) {
		t.Fatalf("alpha is answered %+v, %v", a, err)
	}
	if a.Server.Replicas != 3 || a.Server.ReadyReplicas != 1 || a.Server.Status != "scaling" {
		t.Errorf("alpha is answered with %+v", a.Server)
	}
	// It is running now: another start is answered at once.
	if a, err = b.Start(t.Context(), b.id("alpha"), time.Minute, wire.Sender{}); err != nil || a.Event.Type != "unchanged" {
		t.Errorf("the second start is answered %+v, %v", a, err)
	}
}

// A start that takes longer than its sender waits is answered with 504 at the deadline, says what that means, and goes on.
func TestStartAnswersAtItsDeadline(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(0), image("fail/ready")) // ready when the test says so
	events := b.events()
	b.run()
	began := time.Now()
	a, err := b.Start(t.Context(), b.id("alpha"), 2*time.Second, wire.Sender{})
	took := time.Since(began)
	refused(t, err, 504, b.namespace+"/alpha", "not ready after 2s", "goes on starting")
	if took < 2*time.Second || took > patience/2 {
		t.Errorf("answered after %s", took)
	}
	if a.Server == nil || a.Server.Status != "pending" || a.Server.Replicas != 1 || a.Event == nil || a.Event.Type != "woken" {
		t.Errorf("answered with %+v, %+v", a.Server, a.Event)
	}
	b.makeReady("alpha", 1)
	b.awaitReplicas("alpha", 1)
	events.next(scaler.Ready, "alpha")
}

// A start that can't end well is answered as soon as that is known, with the words of the cluster: no sender has to wait for his
// deadline, or to look at pods. Status and event say the same.
func TestStartSaysWhyNot(t *testing.T) {
	for _, c := range []struct {
		name, image string
		prepare     func(b *bench)
		says        []string
	}{
		{"no such image", "fail/pull", func(*bench) {}, []string{"ImagePullBackOff", `"fail/pull"`, "not found"}},
		{"it crashes", "fail/crash", func(*bench) {}, []string{"CrashLoopBackOff", "container mcp crashes", "exit code 1"}},
		{"no quota", "fine", noQuota, []string{"FailedCreate", "exceeded quota: tight"}},
		{"an admission policy", "fine", noAdmission, []string{"FailedCreate", "no pods on a sunday"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.deploy("alpha", replicas(0), image(c.image))
			c.prepare(b)
			events := b.events()
			b.run()
			began := time.Now()
			a, err := b.Start(t.Context(), b.id("alpha"), 2*time.Minute, wire.Sender{Actor: "ann"})
			if took := time.Since(began); took > patience {
				t.Errorf("answered after %s", took)
			}
			refused(t, err, 503, append(c.says, b.namespace+"/alpha will not get ready")...)
			if a.Event == nil || a.Event.Type != "woken" || a.Server == nil {
				t.Errorf("answered %+v", a)
			}
			if e := events.next(scaler.Failed, "alpha"); !containsAll(e.Text, c.says...) || e.Actor != "ann" {
				t.Errorf("told %+v", e)
			}
			eventually(t, "status says why", func() error {
				s, err := b.Status(t.Context(), b.id("alpha"))
				if err != nil || s.Status != "failed" || !containsAll(s.Failure, c.says...) {
					return fmt.Errorf("%s, %q, %w", s.Status, s.Failure, err)
				}
				return nil
			})
		})
	}
}

// A quota that lets in some of the pods does not fail a start: it is answered at the first ready one. A scale, which wants all
// of them, fails, and is answered with what holds the others back.
func TestStartWithinATightQuota(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(0), annotation("wake-replicas", "3"), podAnnotation("start-delay", "2s"))
	b.quota(1)
	events := b.events()
	b.run()
	a, err := b.Start(t.Context(), b.id("alpha"), time.Minute, wire.Sender{})
	if err != nil || a.Server.ReadyReplicas != 1 || a.Server.Replicas != 3 || a.Server.Status != "scaling" {
		t.Errorf("answered %+v, %v", a.Server, err)
	}
	if _, err = b.Scale(t.Context(), b.id("alpha"), 2, time.Minute, wire.Sender{}); err == nil || !strings.Contains(err.Error(), "exceeded quota") {
		t.Errorf("the scale is answered %v", err)
	}
	if e := events.next(scaler.Failed, "alpha"); e.From != 2 || !strings.Contains(e.Text, "exceeded quota") {
		t.Errorf("published %+v", e)
	}
}

// That no node takes a pod may pass: the start goes on, a progress event says why, and the sender is answered at his deadline.
func TestStartGoesOnWhileNoNodeTakesIt(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(0), image("fail/schedule"))
	events := b.events()
	b.run()
	start := later(func() (wire.Answer, error) { return b.Start(t.Context(), b.id("alpha"), 20*time.Second, wire.Sender{}) })
	events.find("alpha's progress is told with why", func(e scaler.Event) bool { // maybe not with the first: it may be that nobody has tried yet
		return e.Type == scaler.Progress && e.Server.Name == "alpha" && containsAll(e.Text, "Unschedulable", "still trying", "Insufficient memory")
	})
	start.isOpen(t, 100*time.Millisecond)
	a, err := start.end(t)
	refused(t, err, 504, "not ready after 20s")
	if a.Server == nil || a.Server.Status != "pending" || a.Server.Replicas != 1 {
		t.Errorf("answered with %+v", a.Server)
	}
}

// A start that waits while somebody sets the server to zero is answered at once, with 409 and his name.
func TestStartIsOvertaken(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"alpha", "beta"} {
		b.deploy(name, replicas(0), image("fail/ready"))
	}
	events := b.events()
	b.run()
	start := func(name string) *call {
		c := later(func() (wire.Answer, error) { return b.Start(t.Context(), b.id(name), time.Minute, wire.Sender{}) })
		events.next(scaler.Woken, name)
		return c
	}
	alpha, beta := start("alpha"), start("beta")
	b.patch("alpha", "anns-operator", `{"spec":{"replicas":0}}`)
	a, err := alpha.end(t)
	refused(t, err, 409, `"anns-operator"`, "set to zero")
	if a.Server == nil || a.Server.Status != "stopped" {
		t.Errorf("answered with %+v", a.Server)
	}
	b.order("stop", "beta", `{"actor":"bob"}`)
	_, err = beta.end(t)
	refused(t, err, 409, `command of "bob"`)
}

// A client that was away for some seconds is answered when its server gets ready.
func TestAClientThatIsAwayIsAnswered(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(0), image("fail/ready"))
	events := b.events()
	b.run(solo...)
	const away = 6 * time.Second
	b.connect(nats.CustomReconnectDelay(func(int) time.Duration { return away }))
	stays := later(func() (wire.Answer, error) { return b.Start(t.Context(), b.id("alpha"), 5*time.Minute, wire.Sender{}) })
	events.next(scaler.Woken, "alpha")
	id, err := b.nc.GetClientID()
	if err == nil {
		err = b.nats.DisconnectClientByID(id)
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client is back", func() error {
		if b.nc.Stats().Reconnects != 1 {
			return errors.New("it is away")
		}
		return nil
	})
	stays.isOpen(t, 100*time.Millisecond)
	b.makeReady("alpha", 1)
	if a, err := stays.end(t); err != nil || a.Server.ReadyReplicas != 1 {
		t.Errorf("answered %+v, %v", a, err)
	}
}

// List and Status say in one word how a server is, the same in both.
func TestStatuses(t *testing.T) {
	b := newBench(t)
	b.deploy("failed", replicas(0), image("fail/crash"))
	b.deploy("pending", replicas(2), image("fail/ready"))
	b.deploy("running", replicas(2))
	b.deploy("scaling", replicas(2), image("fail/ready"))
	b.deploy("stopped", replicas(0))
	b.run()
	b.awaitReplicas("running", 2)
	b.makeReady("scaling", 1)
	b.awaitReady("scaling", 1)
	_, err := b.Start(t.Context(), b.id("failed"), time.Minute, wire.Sender{})
	refused(t, err, 503, "CrashLoopBackOff")
	want := []string{"failed 0/1", "pending 0/2", "running 2/2", "scaling 1/2", "stopped 0/0"} // each under its name, in order
	eventually(t, "all are listed as they are", func() error {
		list, err := b.List(t.Context(), b.namespace, "")
		var got []string
		for _, s := range list {
			if s.Name != s.Status || s.Namespace != b.namespace || (s.Status == "failed") != (s.Failure != "") {
				return fmt.Errorf("%+v", s)
			}
			got = append(got, fmt.Sprintf("%s %d/%d", s.Status, s.ReadyReplicas, s.Replicas))
		}
		if err != nil || !slices.Equal(got, want) {
			return fmt.Errorf("%q, %w", got, err)
		}
		for _, listed := range list {
			s, err := b.Status(t.Context(), b.id(listed.Name))
			if err != nil || s.Status != listed.Status || s.Failure != listed.Failure || s.Decision.Text == "" {
				return fmt.Errorf("status %+v, %w", s, err)
			}
		}
		return nil
	})
}

// The endpoints of a server are those of every Service that selects its pods, whatever its name, also while the server sleeps.
func TestEndpoints(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(0))
	b.run()
	alpha := map[string]string{"app": "alpha"}
	http := corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}
	services := b.kube.CoreV1().Services(b.namespace)
	made := make(map[string]*corev1.Service)
	for name, spec := range map[string]corev1.ServiceSpec{
		"a-cluster-ip": {Selector: alpha, Ports: []corev1.ServicePort{http, {Name: "tls", Port: 443}, {Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP}}},
		"b-headless":   {Selector: alpha, ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{http}},
		"c-node-port":  {Selector: alpha, Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{http}},
		"d-balancer":   {Selector: alpha, Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{http}},
		"e-external":   {Selector: alpha, Type: corev1.ServiceTypeExternalName, ExternalName: "alpha.example.com"},
		"others":       {Selector: map[string]string{"app": "beta"}, Ports: []corev1.ServicePort{http}},
		"alpha":        {Selector: map[string]string{"app": "alpha", "tier": "gold"}, Ports: []corev1.ServicePort{http}},
		"by-hand":      {Ports: []corev1.ServicePort{http}},
	} {
		s, err := services.Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		made[name] = s
	}
	balancer := made["d-balancer"]
	balancer.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.7"}}
	if _, err := services.UpdateStatus(t.Context(), balancer, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	inside := "." + b.namespace + ".svc"
	want := []wire.Endpoint{
		{Service: "a-cluster-ip", Type: "ClusterIP", Port: "http", URL: "http://a-cluster-ip" + inside + ":80"},
		{Service: "a-cluster-ip", Type: "ClusterIP", Port: "tls", URL: "https://a-cluster-ip" + inside + ":443"},
		{Service: "b-headless", Type: "Headless", Port: "http", URL: "http://b-headless" + inside + ":8080"},
		{Service: "c-node-port", Type: "ClusterIP", Port: "http", URL: "http://c-node-port" + inside + ":80"},
		{Service: "c-node-port", Type: "NodePort", Port: "http", URL: fmt.Sprintf("http://NODE:%d", made["c-node-port"].Spec.Ports[0].NodePort)},
		{Service: "d-balancer", Type: "ClusterIP", Port: "http", URL: "http://d-balancer" + inside + ":80"},
		{Service: "d-balancer", Type: "LoadBalancer", Port: "http", URL: "http://192.0.2.7:80"},
		{Service: "e-external", Type: "ExternalName", URL: "http://alpha.example.com"},
	}
	eventually(t, "all endpoints are known", func() error {
		s, err := b.Status(t.Context(), b.id("alpha"))
		if err != nil || !slices.Equal(s.Endpoints, want) {
			return fmt.Errorf("%+v, %w", s.Endpoints, err)
		}
		list, err := b.List(t.Context(), b.namespace, "")
		if err != nil || len(list) != 1 || !slices.Equal(list[0].Endpoints, want) {
			return fmt.Errorf("listed %+v, %w", list, err)
		}
		return nil
	})
}

// noQuota lets no pod into the namespace, by a quota.
func noQuota(b *bench) {
	b.t.Helper()
	b.quota(0)
	b.awaitDenial("exceeded quota")
}

// quota lets so many pods into the namespace.
func (b *bench) quota(pods int64) {
	b.t.Helper()
	_, err := b.kube.CoreV1().ResourceQuotas(b.namespace).Create(b.t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "tight"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: *resource.NewQuantity(pods, resource.DecimalSI)}},
	}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	eventually(b.t, "the quota is in force", func() error {
		q, err := b.kube.CoreV1().ResourceQuotas(b.namespace).Get(b.t.Context(), "tight", metav1.GetOptions{})
		if err != nil || len(q.Status.Hard) == 0 {
			return fmt.Errorf("%+v, %w", q.Status, err)
		}
		return nil
	})
}

// noAdmission lets no pod into the namespace, by a policy.
func noAdmission(b *bench) {
	b.t.Helper()
	meta := metav1.ObjectMeta{Name: "closed-" + b.namespace}
	policies, bindings := b.kube.AdmissionregistrationV1().ValidatingAdmissionPolicies(), b.kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	fail := admissionv1.Fail
	_, err := policies.Create(b.t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: meta,
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: b.namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "no pods on a sunday"}},
		},
	}, metav1.CreateOptions{})
	if err == nil {
		_, err = bindings.Create(b.t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: meta,
			Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { // they are no namespace's, and would stay
		_ = bindings.Delete(context.Background(), meta.Name, metav1.DeleteOptions{})
		_ = policies.Delete(context.Background(), meta.Name, metav1.DeleteOptions{})
	})
	b.awaitDenial("no pods on a sunday")
}

// awaitDenial waits until the API server would let no pod into the namespace, for the given reason.
func (b *bench) awaitDenial(reason string) {
	b.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/probe"}}}}
	eventually(b.t, "no pod is let in", func() error {
		_, err := b.kube.CoreV1().Pods(b.namespace).Create(b.t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), reason) {
			return fmt.Errorf("it is answered %w", err)
		}
		return nil
	})
}

// refused expects that an answer is an error of a code with a text that says certain things.
func refused(t *testing.T, err error, code int, says ...string) {
	t.Helper()
	var answer *wire.Error
	if !errors.As(err, &answer) || answer.Code != code || !containsAll(answer.Text, says...) {
		t.Errorf("answered %v, want code %d and %q", err, code, says)
	}
}

// missing says which of the parts a text lacks, nil when it has all.
func missing(text string, parts ...string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("%q is not in %q", part, text)
		}
	}
	return nil
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}
