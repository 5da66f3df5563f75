// Package e2e shows what idle-scaler promises (docs/reliability.md), on a real API server
// (test/cluster) and a real NATS server. The daemon is the program itself, built with the race
// detector, in a process of its own; each test has its own world.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"idle-scaler/test/clustertest"
)

// What all tests share, made by TestMain.
var (
	kubeconfig string                // of the cluster's administrator
	admin      *rest.Config          // the same, unlimited
	kube       *kubernetes.Clientset // the same
	program    string                // the daemon and its client
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("these tests need the control plane: make e2e")
		return
	}
	code, err := withCluster(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// withCluster runs the tests with a control plane and a program to test.
func withCluster(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "idle-scaler-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	program = filepath.Join(dir, "idle-scaler")
	if err := build(program, "-race"); err != nil {
		return 0, err
	}
	var stop func()
	if kubeconfig, stop, err = clustertest.Start(); err != nil {
		return 0, err
	}
	defer stop()
	if admin, kube, err = connectCluster(kubeconfig); err != nil {
		return 0, err
	}
	return run(), nil
}

// build builds the program.
func build(program string, flags ...string) error {
	args := append(append([]string{"build"}, flags...), "-o", program, "idle-scaler/cmd/idle-scaler")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build idle-scaler: %w\n%s", err, out)
	}
	return nil
}

// connectCluster returns an unlimited client of a kubeconfig.
func connectCluster(kubeconfig string) (*rest.Config, *kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	return config, client, err
}
