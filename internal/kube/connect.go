package kube

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Connect returns how to reach the API server: by the kubeconfig file if one is given, else by those of $KUBECONFIG, as kubectl reads them, else
// as the pod that this process runs in, else by ~/.kube/config. Context names a context of the kubeconfig, empty for its current one. Every
// answer is reported to count: the HTTP method (or WATCH) and the status code (or "error" when there was no answer).
func Connect(kubeconfig, context, version string, count func(verb, code string)) (*rest.Config, error) {
	config, err := load(kubeconfig, context)
	if err != nil {
		return nil, err
	}
	config.QPS = -1                           // requests in flight are bounded where they are made; client-go's limit of 5 per second would delay wakes
	config.WarningHandler = rest.NoWarnings{} // about what is wrong with other people's Deployments, at each patch
	config.UserAgent = "idle-scaler/" + version
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counter{next, count} })
	return config, nil
}

func load(kubeconfig, context string) (*rest.Config, error) {
	if kubeconfig == "" && context == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		config, err := rest.InClusterConfig()
		if err == nil {
			return config, nil
		}
		if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, fmt.Errorf("read the pod's ServiceAccount: %w: let the pod mount its token (automountServiceAccountToken)", err)
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
	switch {
	case err == nil:
		return config, nil
	case kubeconfig != "":
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	case clientcmd.IsEmptyConfig(err):
		return nil, fmt.Errorf("no cluster: this is not a pod, and there is no kubeconfig at %s: give --kubeconfig", strings.Join(rules.Precedence, ", "))
	}
	return nil, fmt.Errorf("read kubeconfig %s: %w", strings.Join(rules.Precedence, ", "), err)
}

// ownNamespace returns the namespace of the pod that this process runs in, or "default" outside a cluster.
func ownNamespace() string {
	name, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return "default"
	}
	return strings.TrimSpace(string(name))
}

// counter reports what became of each request.
type counter struct {
	next  http.RoundTripper
	count func(verb, code string)
}

func (c *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	verb := request.Method
	if watch, _ := strconv.ParseBool(request.URL.Query().Get("watch")); watch {
		verb = "WATCH"
	}
	response, err := c.next.RoundTrip(request)
	if err != nil {
		c.count(verb, "error")
		return nil, err
	}
	c.count(verb, strconv.Itoa(response.StatusCode))
	return response, nil
}

// WrappedRoundTripper lets client-go find the transport, to close its idle connections.
func (c *counter) WrappedRoundTripper() http.RoundTripper { return c.next }
