package main

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	pkgcontroller "k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/resourcequota"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
)

// workers is how many objects each busy controller handles at once.
const workers = 20

// discoveryPeriod is how often the generic controllers look for new kinds of objects, such as a test's CRDs.
const discoveryPeriod = 30 * time.Second

// controllers holds what the controllers share while they are wired, as kube-controller-manager's context does. They
// are wired here one by one: that program's own package would link every controller and every cloud into this one.
type controllers struct {
	client   *kubernetes.Clientset
	metadata metadata.Interface
	typed    informers.SharedInformerFactory
	all      informerfactory.InformerFactory // typed where a type is known, metadata only for others
	started  chan struct{}                   // closed when the informers run

	loops []func(context.Context)
}

// startControllers starts the controllers and the kubelet on one set of informers.
func startControllers(ctx context.Context, admin *rest.Config, timing podTiming) (*kubelet, error) {
	config := as("kube-controller-manager", admin)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	typed := informers.NewSharedInformerFactory(client, 0)
	c := &controllers{
		client:   client,
		metadata: metadataClient,
		typed:    typed,
		all:      informerfactory.NewInformerFactory(typed, metadatainformer.NewSharedInformerFactory(metadataClient, 0)),
		started:  make(chan struct{}),
	}
	for _, add := range []func(context.Context) error{
		c.addDeployments, c.addServiceAccounts, c.addNamespaces, c.addQuota, c.addGarbageCollector, c.addServices, c.addClusterRoles,
	} {
		if err := add(ctx); err != nil {
			return nil, fmt.Errorf("make controllers: %w", err)
		}
	}
	kubelet, err := newKubelet(ctx, admin, typed.Core().V1().Pods().Informer(), timing)
	if err != nil {
		return nil, err
	}

	c.all.Start(ctx.Done())
	close(c.started)
	for _, loop := range c.loops {
		go loop(ctx)
	}
	return kubelet, nil
}

func (c *controllers) run(loop func(context.Context)) { c.loops = append(c.loops, loop) }

func (c *controllers) addDeployments(ctx context.Context) error {
	apps, pods := c.typed.Apps().V1(), c.typed.Core().V1().Pods()
	deployments, err := deployment.NewDeploymentController(ctx, apps.Deployments(), apps.ReplicaSets(), pods, c.client)
	if err != nil {
		return err
	}
	replicaSets := replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), pods, c.client, replicaset.BurstReplicas)
	c.run(func(ctx context.Context) { deployments.Run(ctx, workers) })
	c.run(func(ctx context.Context) { replicaSets.Run(ctx, workers) })
	return nil
}

// addServiceAccounts gives every namespace its "default" ServiceAccount, without which admission refuses pods.
func (c *controllers) addServiceAccounts(ctx context.Context) error {
	core := c.typed.Core().V1()
	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(),
		c.client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	c.run(func(ctx context.Context) { accounts.Run(ctx, 4) })
	return nil
}

// addNamespaces empties namespaces that are deleted.
func (c *controllers) addNamespaces(ctx context.Context) error {
	namespaces := namespace.NewNamespaceController(ctx, c.client, c.metadata, c.client.Discovery().ServerPreferredNamespacedResources,
		c.typed.Core().V1().Namespaces(), 5*time.Minute, v1.FinalizerKubernetes)
	c.run(func(ctx context.Context) { namespaces.Run(ctx, workers) })
	return nil
}

// addQuota keeps the used amounts of ResourceQuotas, which admission compares with.
func (c *controllers) addQuota(ctx context.Context) error {
	discover := c.client.Discovery().ServerPreferredNamespacedResources
	config, err := quotainstall.NewQuotaConfigurationForControllers(generic.ListerFuncForResourceFunc(c.typed.ForResource), c.typed)
	if err != nil {
		return err
	}
	quotas, err := resourcequota.NewController(ctx, &resourcequota.ControllerOptions{
		QuotaClient:               c.client.CoreV1(),
		ResourceQuotaInformer:     c.typed.Core().V1().ResourceQuotas(),
		ResyncPeriod:              pkgcontroller.StaticResyncPeriodFunc(5 * time.Minute),
		InformerFactory:           c.all,
		ReplenishmentResyncPeriod: pkgcontroller.StaticResyncPeriodFunc(12 * time.Hour),
		DiscoveryFunc:             discover,
		IgnoredResourcesFunc:      config.IgnoredResources,
		InformersStarted:          c.started,
		Registry:                  generic.NewRegistry(config.Evaluators()),
		UpdateFilter:              quotainstall.DefaultUpdateFilter(),
	})
	if err != nil {
		return err
	}
	c.run(func(ctx context.Context) { quotas.Run(ctx, 5) })
	c.run(func(ctx context.Context) { quotas.Sync(ctx, discover, discoveryPeriod) })
	return nil
}

// addGarbageCollector deletes what a deleted owner leaves behind: Deployment → ReplicaSet → Pod.
func (c *controllers) addGarbageCollector(ctx context.Context) error {
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	collector, err := garbagecollector.NewGarbageCollector(ctx, c.client, c.metadata, mapper,
		garbagecollector.DefaultIgnoredResources(), c.all, c.started)
	if err != nil {
		return err
	}
	c.run(func(ctx context.Context) { collector.Run(ctx, workers, discoveryPeriod) })
	c.run(func(ctx context.Context) { collector.Sync(ctx, c.client.Discovery(), discoveryPeriod) })
	return nil
}

// addServices lists the ready pods of a Service in its EndpointSlices.
func (c *controllers) addServices(ctx context.Context) error {
	core := c.typed.Core().V1()
	slices := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(),
		c.typed.Discovery().V1().EndpointSlices(), 100, c.client, 0)
	c.run(func(ctx context.Context) { slices.Run(ctx, 5) })
	return nil
}

// addClusterRoles fills the roles that are sums of others: admin, edit and view are empty without it.
func (c *controllers) addClusterRoles(context.Context) error {
	roles := clusterroleaggregation.NewClusterRoleAggregation(c.typed.Rbac().V1().ClusterRoles(), c.client.RbacV1())
	c.run(func(ctx context.Context) { roles.Run(ctx, 5) })
	return nil
}
