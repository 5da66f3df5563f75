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

	cluster := exec.Command("../../bin/cluster", "--dir", filepath.Join(dir, "cluster"), "--exit-with-stdin")
	held, err := cluster.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cluster.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cluster.Start(); err != nil {
		return 0, fmt.Errorf("start the control plane: %w: build it by \"make cluster\"", err)
	}
	defer func() { _ = held.Close(); _ = cluster.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the control plane did not start: %w", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()

	kubeconfig = strings.TrimPrefix(strings.TrimSpace(line), "KUBECONFIG=")
	if admin, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return 0, err
	}
	admin.QPS = -1
	if kube, err = kubernetes.NewForConfig(admin); err != nil {
		return 0, err
	}
	return run(), nil
}
