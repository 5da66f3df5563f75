package explain

import (
	"fmt"
	"strings"

	"idle-scaler/policy"
)

// rivals are known to write the replicas of Deployments. A row has what the names of their field
// managers begin with, and what to change so that they leave sleeping servers alone.
var rivals = []struct{ manager, name, advice string }{
	{
		"argocd", "Argo CD",
		"in its Application, set ignoreDifferences with managedFieldsManagers: [idle-scaler] " +
			"(or jsonPointers: [/spec/replicas]) for this Deployment AND the sync option " +
			"RespectIgnoreDifferences=true; or take spec.replicas out of the manifest in Git",
	},
	{
		"kube-controller-manager", "a HorizontalPodAutoscaler",
		"an HPA leaves a Deployment with zero replicas alone unless its minReplicas is 0: raise that to 1, or delete the HPA",
	},
	{"keda", "KEDA", leaveToKEDA},
	{policy.KEDA, "KEDA", leaveToKEDA},
	{
		"helm-controller", "Flux",
		"leave spec.replicas out of the chart's Deployment, by a setting in the values of the HelmRelease",
	},
	{"helm", "Helm", "leave spec.replicas out of the chart's Deployment, so that an upgrade does not set it"},
	{"flux", "Flux", "leave spec.replicas out of the manifest in Git"},
	{"kustomize-controller", "Flux", "leave spec.replicas out of the manifest in Git"},
	{
		"kubectl", "somebody with kubectl",
		"to keep it awake use idle-scaler hold --awake-until 2h NAME, or the annotation idle-scaler/paused: true",
	},
}

const leaveToKEDA = "KEDA scales to zero by itself: delete the ScaledObject, " +
	"or set the annotation idle-scaler/idle-after: never"

// Advice says what to change so that whoever writes with a field manager leaves a sleeping server
// alone.
func Advice(manager string) string {
	for _, rival := range rivals {
		if strings.HasPrefix(manager, rival.manager) {
			return rival.advice
		}
	}
	return "make it leave spec.replicas of this Deployment alone, or set the annotation idle-scaler/idle-after: never"
}

// Writer says who writes with a field manager.
func Writer(manager string) string {
	if manager == "" {
		return "somebody whom Kubernetes does not name"
	}
	for _, rival := range rivals {
		if strings.HasPrefix(manager, rival.manager) {
			return fmt.Sprintf("%s (field manager %q)", rival.name, manager)
		}
	}
	return fmt.Sprintf("somebody else (field manager %q)", manager)
}

// Reverts says who keeps waking a server, since when, and what to change.
func Reverts(r policy.Reverts) string {
	return fmt.Sprintf("%s has woken it %d times in a row since %s, each time after it was put to sleep and without "+
		"anybody asking for it; %s. A command or a changed setting lets it sleep again",
		Writer(r.Writer), r.Count, Instant(r.Since), Advice(r.Writer))
}
