package kube

import (
	"errors"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// namespace is what is kept of a Namespace. It is not changed once servers refer to it, but for what it remembers.
type namespace struct {
	written map[string]string // settings
	bad     error             // why they are not known

	plain *settings // of a server there on which nothing is written, as on most; nil until one was seen
}

// settings are what is written of a server in all places.
type settings struct {
	policy.Settings
	sources map[string]policy.Source
	bad     error
}

// errUnknown keeps awake the servers of a namespace that the watch has not told of: what is written there may say that they never sleep.
// While no namespace has been read at all that is not the fault of the server, and would keep it from being woken: see Cache.Missing.
var errUnknown = errors.New("the annotations of its namespace are not known yet: if that lasts, the log of idle-scaler says why")

// settings returns those of a server in the namespace on which something is written, mostly nothing. What it returns is shared.
func (n *namespace) settings(config policy.Layer, written map[string]string) *settings {
	if len(written) == 0 && n.plain != nil {
		return n.plain
	}
	var s settings
	s.Settings, s.sources, s.bad = policy.Parse(config,
		policy.Layer{Source: policy.FromNamespace, Written: n.written}, policy.Layer{Source: policy.FromServer, Written: written})
	s.bad = errors.Join(n.bad, s.bad)
	if len(written) == 0 {
		n.plain = &s
	}
	return &s
}

// watchedNamespaces are the Namespaces of a region: all of them, or the one that it is.
func (r *region) watchedNamespaces() source {
	client := r.cache.client.CoreV1().Namespaces()
	return source{
		kind: "namespaces", example: &corev1.Namespace{}, reads: request{resource: "namespaces", name: r.namespace},
		only: func(options *metav1.ListOptions) {
			if r.namespace != "" { // RBAC takes that for the name, and so may allow this one and no other
				options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, r.namespace).String()
			}
		},
		list: plain(client.List), watch: client.Watch,
	}
}

func trimNamespace(obj any) (any, error) {
	n, ok := obj.(*corev1.Namespace)
	if !ok {
		return obj, nil
	}
	trimmed := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.Name, ResourceVersion: n.ResourceVersion}}
	for name, value := range n.Annotations {
		if strings.HasPrefix(name, prefix) {
			metav1.SetMetaDataAnnotation(&trimmed.ObjectMeta, name, value)
		}
	}
	return trimmed, nil
}

func keepNamespace(obj any) (*namespace, bool) {
	n, ok := obj.(*corev1.Namespace)
	if !ok {
		return nil, false
	}
	return &namespace{written: concerning(n.Annotations)}, true // also what would be a mark on a Deployment: here it is a mistake
}

func sameNamespace(a, b *namespace) bool { return maps.Equal(a.written, b.written) }

// namespaceOf returns the namespace that a server lies in. It is never nil.
func (c *Cache) namespaceOf(id scaler.ID) *namespace {
	r := c.region(id.Namespace)
	if r == nil {
		return c.unknown
	}
	if n, known := r.namespaces.known[scaler.ID{Name: id.Namespace}]; known {
		return n
	}
	if !r.namespaces.synced {
		return c.unread
	}
	return c.unknown
}
