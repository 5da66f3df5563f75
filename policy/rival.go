package policy

import (
	"fmt"
	"strings"
	"time"
)

// KEDA as Facts.Rival: a ScaledObject scales the server.
const KEDA = "a ScaledObject of KEDA"

// rivals are those who are known to write the replicas of Deployments, by what the names of their field managers begin with, and what
// to change so that they leave sleeping servers alone.
var rivals = []struct{ manager, name, advice string }{
	{
		"argocd", "Argo CD",
		"in its Application, set ignoreDifferences with managedFieldsManagers: [idle-scaler] (or jsonPointers: [/spec/replicas]) for this Deployment AND the sync option RespectIgnoreDifferences=true; or take spec.replicas out of the manifest in Git",
	},
	{"kube-controller-manager", "a HorizontalPodAutoscaler", "an HPA leaves a Deployment with zero replicas alone unless its minReplicas is 0: raise that to 1, or delete the HPA"},
	{"keda", "KEDA", `KEDA scales to zero by itself: delete the ScaledObject, or set the annotation idle-scaler/idle-after: never`},
	{KEDA, "KEDA", `KEDA scales to zero by itself: delete the ScaledObject, or set the annotation idle-scaler/idle-after: never`},
	{"helm-controller", "Flux", "leave spec.replicas out of the chart's Deployment, by a setting in the values of the HelmRelease"},
	{"helm", "Helm", "leave spec.replicas out of the chart's Deployment, so that an upgrade does not set it"},
	{"flux", "Flux", "leave spec.replicas out of the manifest in Git"},
	{"kustomize-controller", "Flux", "leave spec.replicas out of the manifest in Git"},
	{"kubectl", "somebody with kubectl", "who wants it awake says so to idle-scaler: idle-scaler hold --awake-until 2h NAME, or the annotation idle-scaler/paused: true"},
}

// Advice says what to change so that whoever writes with a field manager leaves a sleeping server alone.
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

// Counts reports whether the reverts count still: nobody has changed a setting since the first, when the settings had this digest.
func (r Reverts) Counts(digest string) bool { return r.Count > 0 && r.Digest == digest }

// Contended reports whether somebody else keeps the server awake, whose settings have this digest.
func (r Reverts) Contended(digest string) bool { return r.Count >= MaxReverts && r.Digest == digest }

// Explain says who keeps waking the server, since when, and what to change.
func (r Reverts) Explain() string {
	return fmt.Sprintf("%s has woken it %d times in a row since %s, each time after it was put to sleep and without anybody asking for it; %s. A command or a changed setting lets it sleep again",
		Writer(r.Writer), r.Count, r.Since.UTC().Format(time.RFC3339), Advice(r.Writer))
}
