package kube

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

func ports(ports ...corev1.ServicePort) []corev1.ServicePort { return ports }

// Each kind of Service is told under the addresses that work for it.
func TestAddresses(t *testing.T) {
	secure := "https"
	for _, c := range []struct {
		name string
		spec corev1.ServiceSpec
		lb   []corev1.LoadBalancerIngress
		want []string // Type Port URL
	}{
		{"plain", corev1.ServiceSpec{ClusterIP: "10.0.0.1", Ports: ports(corev1.ServicePort{Port: 80})}, nil, []string{"ClusterIP  http://web.team-a.svc:80"}},
		{
			"several ports keep their order and names",
			corev1.ServiceSpec{Ports: ports(corev1.ServicePort{Name: "mcp", Port: 8080}, corev1.ServicePort{Name: "admin", Port: 81})},
			nil,
			[]string{"ClusterIP mcp http://web.team-a.svc:8080", "ClusterIP admin http://web.team-a.svc:81"},
		},
		{
			"secure by number, name, protocol",
			corev1.ServiceSpec{Ports: ports(corev1.ServicePort{Port: 443}, corev1.ServicePort{Name: "https-mcp", Port: 1}, corev1.ServicePort{AppProtocol: &secure, Port: 2})},
			nil,
			[]string{"ClusterIP  https://web.team-a.svc:443", "ClusterIP https-mcp https://web.team-a.svc:1", "ClusterIP  https://web.team-a.svc:2"},
		},
		{
			"other protocols are not HTTP",
			corev1.ServiceSpec{Ports: ports(corev1.ServicePort{Protocol: "UDP", Port: 53}, corev1.ServicePort{Protocol: "TCP", Port: 80})},
			nil,
			[]string{"ClusterIP  http://web.team-a.svc:80"},
		},
		{
			"headless leads to the pods' own port",
			corev1.ServiceSpec{ClusterIP: "None", Ports: ports(corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8080)})},
			nil,
			[]string{"Headless  http://web.team-a.svc:8080"},
		},
		{
			"headless with a port that the pods name",
			corev1.ServiceSpec{ClusterIP: "None", Ports: ports(corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("http")})},
			nil,
			[]string{"Headless  http://web.team-a.svc:80"},
		},
		{
			"node port",
			corev1.ServiceSpec{Type: "NodePort", Ports: ports(corev1.ServicePort{Port: 80, NodePort: 30080})},
			nil,
			[]string{"ClusterIP  http://web.team-a.svc:80", "NodePort  http://NODE:30080"},
		},
		{
			"load balancer",
			corev1.ServiceSpec{Type: "LoadBalancer", Ports: ports(corev1.ServicePort{Port: 443, NodePort: 30443})},
			[]corev1.LoadBalancerIngress{{IP: "203.0.113.7"}, {Hostname: "lb.example.com"}, {IP: "2001:db8::1"}},
			[]string{"ClusterIP  https://web.team-a.svc:443", "LoadBalancer  https://203.0.113.7:443", "LoadBalancer  https://lb.example.com:443", "LoadBalancer  https://[2001:db8::1]:443"},
		},
		{"load balancer without an address yet", corev1.ServiceSpec{Type: "LoadBalancer", Ports: ports(corev1.ServicePort{Port: 80})}, nil, []string{"ClusterIP  http://web.team-a.svc:80"}},
		{
			"external name",
			corev1.ServiceSpec{Type: "ExternalName", ExternalName: "mcp.example.com", Ports: ports(corev1.ServicePort{Name: "https", Port: 8443})},
			nil,
			[]string{"ExternalName https https://mcp.example.com:8443"},
		},
		{"external name without ports", corev1.ServiceSpec{Type: "ExternalName", ExternalName: "mcp.example.com"}, nil, []string{"ExternalName  http://mcp.example.com"}},
	} {
		got := texts(addresses(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web"}, Spec: c.spec,
			Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: c.lb}},
		}))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func texts(endpoints []scaler.Endpoint) []string {
	var texts []string
	for _, e := range endpoints {
		texts = append(texts, e.Type+" "+e.Port+" "+e.URL)
	}
	return texts
}

func TestSelects(t *testing.T) {
	labels := map[string]string{"app": "search", "tier": "a"}
	for _, c := range []struct {
		name     string
		selector map[string]string
		want     bool
	}{
		{"all match", map[string]string{"app": "search"}, true},
		{"one does not", map[string]string{"app": "search", "tier": "b"}, false},
		{"one is not there", map[string]string{"app": "search", "zone": ""}, false},
		{"an empty selector selects nothing", nil, false},
	} {
		if got := selects(c.selector, labels); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// A server is reached through the Services that select its pods, whatever their names, and through none of another namespace.
func TestEndpoints(t *testing.T) {
	cache := newTestCache(t)
	d := at(9, "u", 0)
	d.Spec.Template.Labels = map[string]string{"app": "search"}
	server := cache.put(d)
	ctx, stop := context.WithCancel(t.Context())
	for _, s := range []struct{ namespace, name, app string }{
		{"team-a", "zebra", "search"}, {"team-a", "ant", "search"}, {"team-a", "search", "other"}, {"team-b", "search", "search"},
	} {
		_, err := cache.client.CoreV1().Services(s.namespace).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: s.name},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": s.app}, Ports: ports(corev1.ServicePort{Port: 80})},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	services := NewServices(cache)
	ended := make(chan error)
	go func() { ended <- services.Run(ctx) }()
	wait.Until(t, "two endpoints", func() bool { return len(services.Endpoints(server)) == 2 })
	if got := texts(services.Endpoints(server)); !slices.Equal(got, []string{"ClusterIP  http://ant.team-a.svc:80", "ClusterIP  http://zebra.team-a.svc:80"}) {
		t.Errorf("got %q", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
