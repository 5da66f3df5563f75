package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is one running program. It dies with the harness.
type process struct {
	*exec.Cmd
	log    string // the file of what it says
	ended  chan struct{}
	killed atomic.Bool // by us

	mu     sync.Mutex
	serves string
}

// startProcess starts a program, in this environment and some more, that appends what it says to a log file. Its first line on standard output, if it is waited for, is returned.
func startProcess(log string, awaitLine time.Duration, env []string, program string, args ...string) (*process, string, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }()
	p := &process{Cmd: exec.Command(program, args...), log: log, ended: make(chan struct{})}
	p.Stderr = file
	p.Env = append(append(os.Environ(), "GORACE=halt_on_error=1", "GOTRACEBACK=all"), env...)
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out io.ReadCloser
	if awaitLine > 0 {
		if out, err = p.StdoutPipe(); err != nil {
			return nil, "", err
		}
	}
	if err := p.Start(); err != nil {
		return nil, "", err
	}
	lines := make(chan string, 1)
	go func() {
		if out != nil {
			r := bufio.NewReader(out)
			line, _ := r.ReadString('\n')
			lines <- strings.TrimSpace(line)
			_, _ = io.Copy(io.Discard, r)
		}
		_ = p.Wait()
		close(p.ended)
	}()
	if awaitLine == 0 {
		return p, "", nil
	}
	select {
	case line := <-lines:
		if line != "" {
			return p, line, nil
		}
	case <-time.After(awaitLine):
	}
	p.kill()
	return nil, "", fmt.Errorf("%s does not start within %s: see %s", filepath.Base(program), awaitLine, log)
}

// kill ends the process without a chance to finish anything.
func (p *process) kill() {
	p.killed.Store(true)
	_ = p.Process.Signal(syscall.SIGCONT)
	_ = p.Process.Kill()
	<-p.ended
}

// control is the control plane.
type control struct {
	program, dir string
	port         int
	kubeconfig   string
	*process
}

// start starts the control plane, a second time with what it had.
func (c *control) start() error {
	process, line, err := startProcess(c.dir+".log", 3*time.Minute, nil, c.program, "--dir", c.dir, "--port", fmt.Sprint(c.port))
	if err != nil {
		return fmt.Errorf("%w (build it by \"make cluster\")", err)
	}
	c.process, c.kubeconfig = process, strings.TrimPrefix(line, "KUBECONFIG=")
	return nil
}

// broker is the NATS server.
type broker struct {
	program, dir string
	port         int
	*process
}

func (b *broker) start() (err error) {
	b.process, _, err = startProcess(b.dir+".log", time.Minute, nil, b.program, "--dir", b.dir, "--port", fmt.Sprint(b.port))
	return err
}

func (b *broker) address() string { return fmt.Sprintf("127.0.0.1:%d", b.port) }

// freePort returns a port that nobody listens on.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// build builds a program of this module.
func build(ctx context.Context, out, pkg string, flags ...string) error {
	args := append(append([]string{"build"}, flags...), "-o", out, pkg)
	if said, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, said)
	}
	return nil
}
