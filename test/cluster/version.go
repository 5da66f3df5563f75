package main

import (
	"sync/atomic"
	_ "unsafe" // for linkname

	_ "k8s.io/component-base/version" // what is linked to
)

// kubernetesVersion is that of k8s.io/kubernetes in go.mod.
const kubernetesVersion = "v1.36.3"

// Kubernetes takes its version from linker flags; built without, it calls itself v0.0.0-master+$Format:%H$, at which
// kubectl and Helm stumble. Its own setter refuses to change the number.
//
//go:linkname dynamicGitVersion k8s.io/component-base/version.dynamicGitVersion
var dynamicGitVersion atomic.Value

func init() { dynamicGitVersion.Store(kubernetesVersion) }
