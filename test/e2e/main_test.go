// Package e2e shows what idle-scaler promises, on a real API server (test/cluster) and a real NATS server. The daemon is the program
// itself, built with the race detector, in a process of its own; each test has its own namespace, NATS server and daemon.
package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// What all tests share, made by TestMain.
var (
	kubeconfig string                // of the cluster's administrator
	admin      *rest.Config          // the same, unlimited
	kube       *kubernetes.Clientset // the same
	program    string                // the daemon and its client
)

func TestMain(m *testing.M) {
	code, err := withCluster(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// withCluster runs the tests with a control plane and a program to test. Both go with this process, even if it is killed.
func withCluster(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "idle-scaler-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	program = filepath.Join(dir, "idle-scaler")
	build := exec.Command("go", "build", "-race", "-o", program, "idle-scaler/cmd/idle-scaler")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build idle-scaler: %w\n%s", err, out)
	}

	var stop func()
	if kubeconfig, stop, err = startCluster(filepath.Join(dir, "cluster")); err != nil {
		return 0, err
	}
	defer stop()
	if admin, kube, err = connectCluster(kubeconfig); err != nil {
		return 0, err
	}
	return run(), nil
}

// startCluster starts a control plane with its state in dir, and returns the administrator's kubeconfig and what ends it.
func startCluster(dir string) (kubeconfig string, stop func(), err error) {
	cluster := exec.Command("../../bin/cluster", "--dir", dir, "--exit-with-stdin")
	held, err := cluster.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cluster.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cluster.Start(); err != nil {
		return "", nil, fmt.Errorf("start the control plane: %w: build it by \"make cluster\"", err)
	}
	stop = func() { _ = held.Close(); _ = cluster.Wait() }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("the control plane did not start: %w", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return strings.TrimPrefix(strings.TrimSpace(line), "KUBECONFIG="), stop, nil
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
