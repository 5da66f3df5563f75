package kube

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"idle-scaler/scaler"
)

// amounts is a list of CPU and memory; an empty one is not written.
func amounts(cpu, memory string) corev1.ResourceList {
	list := make(corev1.ResourceList)
	if cpu != "" {
		list[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		list[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return list
}

func asks(cpu, memory string) corev1.Container {
	return corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{Requests: amounts(cpu, memory)}}
}

func sidecar(cpu, memory string) corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	c := asks(cpu, memory)
	c.RestartPolicy = &always
	return c
}

func limited(c corev1.Container, cpu, memory string) corev1.Container {
	c.Resources.Limits = amounts(cpu, memory)
	return c
}

// sizes are specs of pods and what a pod of each requests.
var sizes = []struct {
	name string
	spec corev1.PodSpec
	want scaler.Resources
}{
	{"nothing", corev1.PodSpec{Containers: []corev1.Container{asks("", "")}}, scaler.Resources{}},
	{"two containers", corev1.PodSpec{Containers: []corev1.Container{asks("250m", "64Mi"), asks("1", "1M")}}, scaler.Resources{MilliCPU: 1250, Memory: 64<<20 + 1_000_000}},
	{"three thirds", corev1.PodSpec{Containers: []corev1.Container{asks("0.1", "0.1Gi"), asks("0.1", ""), asks("0.1", "")}}, scaler.Resources{MilliCPU: 300, Memory: 107374183}},
	{
		"a limit is a request where none is written",
		corev1.PodSpec{Containers: []corev1.Container{limited(asks("", "64Mi"), "500m", "128Mi")}},
		scaler.Resources{MilliCPU: 500, Memory: 64 << 20},
	},
	{
		"an init container that needs more than all that come after it",
		corev1.PodSpec{InitContainers: []corev1.Container{asks("2", "16Mi"), limited(asks("", ""), "", "1Gi")}, Containers: []corev1.Container{asks("250m", "64Mi")}},
		scaler.Resources{MilliCPU: 2000, Memory: 1 << 30},
	},
	{
		"a sidecar counts beside the containers, and beside init containers after it",
		corev1.PodSpec{InitContainers: []corev1.Container{sidecar("100m", "32Mi"), asks("1", "")}, Containers: []corev1.Container{asks("250m", "64Mi")}},
		scaler.Resources{MilliCPU: 1100, Memory: 96 << 20},
	},
	{
		"the pod as a whole",
		corev1.PodSpec{Resources: &corev1.ResourceRequirements{Requests: amounts("2", "")}, Containers: []corev1.Container{asks("250m", "64Mi")}},
		scaler.Resources{MilliCPU: 2000, Memory: 64 << 20},
	},
	{
		"limits of the pod as a whole, where no container says anything",
		corev1.PodSpec{Resources: &corev1.ResourceRequirements{Limits: amounts("2", "1Gi")}, Containers: []corev1.Container{asks("250m", "")}},
		scaler.Resources{MilliCPU: 250, Memory: 1 << 30},
	},
}

// What is asked for is counted exactly, also when the template was trimmed, and the template stays as it is.
func TestRequests(t *testing.T) {
	overhead := corev1.PodSpec{Overhead: amounts("50m", "16Mi"), Containers: []corev1.Container{asks("250m", "64Mi")}}
	if got := requestsOf(&overhead); got != (scaler.Resources{MilliCPU: 300, Memory: 80 << 20}) {
		t.Errorf("with an overhead: %+v", got)
	}
	for _, c := range sizes {
		before := c.spec.DeepCopy()
		if got := requestsOf(&c.spec); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if !equality.Semantic.DeepEqual(before, &c.spec) {
			t.Errorf("%s: changed to %v", c.name, &c.spec)
		}
		trimmed, _ := trim(&appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: c.spec}}})
		if got := decode(trimmed.(*appsv1.Deployment), nil).server.Requests; got != c.want {
			t.Errorf("%s, trimmed: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// A new template is counted anew, a change of the status is not.
func TestRequestsOfNewTemplate(t *testing.T) {
	c := newTestCache(t)
	of := func(version int, generation int64, cpu string) int64 {
		d := at(version, "u", 0)
		d.Generation, d.Spec.Template.Spec.Containers = generation, []corev1.Container{asks(cpu, "")}
		return c.put(d).Requests.MilliCPU
	}
	if first, status, template := of(1, 1, "100m"), of(2, 1, "100m"), of(3, 2, "200m"); first != 100 || status != 100 || template != 200 {
		t.Errorf("%d, then %d, then %d", first, status, template)
	}
	other := at(4, "v", 0)
	other.Generation, other.Spec.Template.Spec.Containers = 2, []corev1.Container{asks("300m", "")}
	if got := c.put(other).Requests.MilliCPU; got != 300 {
		t.Errorf("another Deployment of the same name and generation: %d", got)
	}
}
