// Package clustertest starts the control plane of test/cluster for tests and benchmarks.
package clustertest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// program is where each package of tests, two folders below the root, finds the control plane.
const program = "../../bin/cluster"

// Start starts a control plane. It returns the administrator's kubeconfig, and stop, which ends the
// control plane. It also ends with this process, even if that is killed, and removes its state
// then.
func Start() (kubeconfig string, stop func(), err error) {
	process := exec.Command(program, "--exit-with-stdin")
	var complaints bytes.Buffer
	process.Stderr = &complaints
	stdin, err := process.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := process.Start(); err != nil {
		return "", nil, fmt.Errorf("start the control plane: %w: build it by \"make cluster\"", err)
	}
	stop = func() { _, _ = stdin.Close(), process.Wait() }
	line, err := bufio.NewReader(stdout).ReadString('\n')
	kubeconfig, ok := strings.CutPrefix(strings.TrimSpace(line), "KUBECONFIG=")
	if err != nil || !ok {
		stop()
		return "", nil, fmt.Errorf("the control plane did not start: it said %q and %q", line, complaints.String())
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return kubeconfig, stop, nil
}
