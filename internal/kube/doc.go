// Package kube shows Kubernetes to the scaler: Deployments as servers, and what can be done with them.
//
// [Cache] lists and watches the Deployments with the label and turns each into a scaler.Server once per change; everything
// that is read is read there. It watches two more kinds that say something about servers: Namespaces, on which settings for all
// their servers may be written, and HorizontalPodAutoscalers, by which it sees KEDA; when one of these changes, the servers concerned
// get a new state of the same version. [Cluster] writes: one merge patch per change, which carries the replicas and what the daemon
// has to remember (annotations.go) and fails if the Deployment is not at the expected version. What it gets back goes into the Cache;
// of two states of a Deployment the newer counts, whichever way it came. [Pods] says why a server is not ready and ends pods,
// [Services] where a server is reached, [Recorder] leaves Kubernetes Events, [Elect] decides who leads.
//
// Every error of the API server becomes one of the scaler's, with what to do about it (failure.go).
//
// Concurrency: all methods may be called from any goroutine. Servers are never changed once they are in the Cache. No lock is held
// while a caller's function is called or a request is under way. Nothing runs before Run is called, which returns when all is over.
package kube
