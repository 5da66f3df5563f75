package main

import (
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// The daemon accepts the settings of deploy, and each one counts. An argument beats a setting, so
// the only arguments are those of the Lease, which the permissions name. (test/cluster tests what
// kubectl renders.)
func TestManifests(t *testing.T) {
	var d appsv1.Deployment
	readYAML(t, "base/deployment.yaml", &d)
	args := d.Spec.Template.Spec.Containers[0].Args
	if args[0] != "run" {
		t.Fatalf("the arguments are %q", args)
	}
	for _, arg := range args[1:] {
		if !strings.HasPrefix(arg, "--lease-") {
			t.Errorf("%s beats the settings", arg)
		}
	}
	settings := []string{"IDLE_SCALER_LOG_FORMAT=text", "IDLE_SCALER_LEADER_ELECT=false", "IDLE_SCALER_LISTEN=:9090"}
	for _, dir := range []string{"base", "overlays/one-namespace"} {
		var k struct {
			ConfigMapGenerator []struct{ Literals []string }
		}
		readYAML(t, dir+"/kustomization.yaml", &k)
		settings = append(settings, k.ConfigMapGenerator[0].Literals...)
	}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	code, out, errs := execute(append([]string{"config"}, args[1:]...)...)
	if code != 0 {
		t.Fatalf("ended with %d and said %s", code, errs)
	}
	for _, setting := range settings {
		if name, _, _ := strings.Cut(setting, "="); !strings.Contains(out, "# "+name+"\n") {
			t.Errorf("%s is not taken:\n%s", name, out)
		}
	}
}

func readYAML(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + file)
	if err == nil {
		err = yaml.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}
