package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"

	"idle-scaler/scaler"
)

// Services knows where servers are reached. It implements scaler.Endpoints.
type Services struct {
	cache     *Cache
	logger    *slog.Logger
	informers map[string]cache.SharedIndexInformer // by region
}

// NewServices returns the Services of the namespaces that the cache watches. It knows none until Run is called.
func NewServices(c *Cache) *Services {
	s := &Services{cache: c, logger: c.logger, informers: make(map[string]cache.SharedIndexInformer)}
	for namespace := range c.regions {
		informer := coreinformers.NewFilteredServiceInformer(c.client, namespace, 0,
			cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, nil)
		s.informers[namespace] = informer
	}
	return s
}

// Run keeps the Services like those of the cluster until ctx is done.
func (s *Services) Run(ctx context.Context) error {
	for namespace, informer := range s.informers {
		err := errors.Join(informer.SetTransform(trimService),
			informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
				if !relists(err) {
					s.logger.Warn("cannot read the services, trying again", "err", request{"list", "services", namespace, ""}.failure(err))
				}
			}))
		if err != nil {
			return err
		}
	}
	var running sync.WaitGroup
	for _, informer := range s.informers {
		running.Go(func() { informer.RunWithContext(quiet(ctx)) })
	}
	running.Wait()
	return nil
}

// trimService keeps what endpoints are made of.
func trimService(obj any) (any, error) {
	s, ok := obj.(*corev1.Service)
	if !ok {
		return obj, nil
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion},
		Spec: corev1.ServiceSpec{
			Type: s.Spec.Type, Selector: s.Spec.Selector, ClusterIP: s.Spec.ClusterIP,
			ExternalName: s.Spec.ExternalName, Ports: s.Spec.Ports,
		},
		Status: corev1.ServiceStatus{LoadBalancer: s.Status.LoadBalancer},
	}, nil
}

// Endpoints returns the addresses of every Service that selects the server's pods, also while there are none. The name of a
// Service says nothing about that.
func (s *Services) Endpoints(server *scaler.Server) []scaler.Endpoint {
	d, ok := s.cache.deployment(server.ID)
	region := s.cache.region(server.ID.Namespace)
	if !ok || region == nil {
		return nil
	}
	found, err := s.informers[region.namespace].GetIndexer().ByIndex(cache.NamespaceIndex, server.ID.Namespace)
	if err != nil {
		return nil // there is no such index: it is made above
	}
	var endpoints []scaler.Endpoint
	for _, obj := range found {
		if service := obj.(*corev1.Service); selects(service.Spec.Selector, d.podLabels) {
			endpoints = append(endpoints, addresses(service)...)
		}
	}
	slices.SortStableFunc(endpoints, func(a, b scaler.Endpoint) int { return strings.Compare(a.Service, b.Service) })
	return endpoints
}

// selects reports whether a Service's selector matches labels. An empty one selects nothing: its addresses are set by hand.
func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if has, ok := labels[key]; !ok || has != value {
			return false
		}
	}
	return len(selector) > 0
}

// anyNode stands for the address of a node, of which idle-scaler knows none: it may not read nodes.
const anyNode = "NODE"

// addresses returns where a Service is reached, in the order of its ports.
func addresses(s *corev1.Service) []scaler.Endpoint {
	var endpoints []scaler.Endpoint
	inside := fmt.Sprintf("%s.%s.svc", s.Name, s.Namespace)
	for _, port := range s.Spec.Ports {
		if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
			continue
		}
		add := func(kind, host string, number int32) {
			endpoints = append(endpoints, scaler.Endpoint{
				Service: s.Name, Type: kind, Port: port.Name,
				URL: scheme(port) + "://" + net.JoinHostPort(host, strconv.Itoa(int(number))),
			})
		}
		switch {
		case s.Spec.Type == corev1.ServiceTypeExternalName:
			add("ExternalName", s.Spec.ExternalName, port.Port)
		case s.Spec.ClusterIP == corev1.ClusterIPNone:
			add("Headless", inside, podPort(port))
		default:
			add("ClusterIP", inside, port.Port)
		}
		if s.Spec.Type == corev1.ServiceTypeNodePort && port.NodePort != 0 {
			add("NodePort", anyNode, port.NodePort)
		}
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			for _, host := range []string{ingress.IP, ingress.Hostname} {
				if host != "" {
					add("LoadBalancer", host, port.Port)
				}
			}
		}
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName && len(s.Spec.Ports) == 0 {
		endpoints = append(endpoints, scaler.Endpoint{Service: s.Name, Type: "ExternalName", URL: "http://" + s.Spec.ExternalName})
	}
	return endpoints
}

// podPort is the port under which a Service without an address is reached: its name leads to the pods themselves. A port that they
// name is theirs to know.
func podPort(port corev1.ServicePort) int32 {
	if port.TargetPort.Type == intstr.Int && port.TargetPort.IntVal != 0 {
		return port.TargetPort.IntVal
	}
	return port.Port
}

func scheme(port corev1.ServicePort) string {
	if port.Port == 443 || strings.HasPrefix(port.Name, "https") || port.AppProtocol != nil && strings.HasPrefix(*port.AppProtocol, "https") {
		return "https"
	}
	return "http"
}
