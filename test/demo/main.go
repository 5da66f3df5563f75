// Command demo shows idle-scaler at work on one machine: a real Kubernetes control plane with a fake kubelet (test/cluster), an embedded
// NATS, six example servers and the daemon with a short idle time. It ends, and removes everything, on Ctrl-C.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	once := flag.Bool("once", false, "end after the tour, instead of at Ctrl-C")
	bin := flag.String("bin", "bin", "`directory` of the programs cluster and idle-scaler")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *bin, *once); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, bin string, once bool) (err error) {
	dir, err := os.MkdirTemp("", "idle-scaler-demo-")
	if err != nil {
		return err
	}
	stage := &stage{ctx: ctx, bin: bin, dir: dir}
	defer func() {
		stage.clear()
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w; the logs are in %s", err, dir)
			return
		}
		_ = os.RemoveAll(dir)
	}()

	say("Starting a Kubernetes control plane ...")
	kubeconfig, err := stage.startCluster()
	if err != nil {
		return err
	}
	if err := createServers(ctx, kubeconfig); err != nil {
		return err
	}
	say("Starting idle-scaler with an embedded NATS; a server that is unused for 15s sleeps ...")
	if err := stage.startDaemon(kubeconfig); err != nil {
		return err
	}
	return stage.tour(once)
}

// stage is what runs for the demo, and is cleared at its end in the reverse order.
type stage struct {
	ctx   context.Context
	bin   string
	dir   string
	nats  string
	close []func()
}

func (s *stage) clear() {
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i]()
	}
}

// start runs a program of the project in the background until the stage is cleared. It is not in our process group, or Ctrl-C would
// end it before the others are done with it. What it says goes to a log file of that name.
func (s *stage) start(stdout io.Writer, logName, name string, args ...string) error {
	log, err := os.Create(filepath.Join(s.dir, logName+".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w: build it by \"make build cluster\"", name, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.close = append(s.close, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			_ = cmd.Process.Kill()
		}
		_ = log.Close()
	})
	return nil
}

func (s *stage) startCluster() (kubeconfig string, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	if err := s.start(write, "cluster", "cluster", "--dir", filepath.Join(s.dir, "cluster"), "--pod-start-delay", "300ms"); err != nil {
		return "", err
	}
	_ = write.Close() // the program has its own; the line ends with it
	line, err := bufio.NewReader(read).ReadString('\n')
	path, ok := strings.CutPrefix(strings.TrimSpace(line), "KUBECONFIG=")
	if err != nil || !ok {
		return "", fmt.Errorf("the control plane did not start: it said %q", line)
	}
	return path, nil
}

func (s *stage) startDaemon(kubeconfig string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.nats = "nats://127.0.0.1:" + port
	err = s.start(nil, "daemon", "idle-scaler", "run", "--kubeconfig", kubeconfig, "--nats", "embedded", "--embedded-port", port,
		"--embedded-dir", filepath.Join(s.dir, "nats"), "--leader-elect=false", "--listen", "127.0.0.1:0",
		"--idle-after", "15s", "--schedule", "@every 1s", "--settle", "2s", "--min-awake", "5s")
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if err := exec.Command(filepath.Join(s.bin, "idle-scaler"), "list", "--nats", s.nats, "-o", "name").Run(); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the daemon does not answer")
		}
		if !s.pause(200 * time.Millisecond) {
			return s.ctx.Err()
		}
	}
}

// tour shows the main job with the program's own client commands.
func (s *stage) tour(once bool) error {
	if err := s.startWatch(); err != nil {
		return err
	}
	steps := []struct {
		say  string
		args []string
		wait time.Duration // before the next step
	}{
		{"Six servers run. Nobody has used them yet, so idle-scaler does not trust the silence: somebody has to report activity first.", []string{"list"}, 0},
		{"A gateway would report each use as a ping. We ping all six once, and then leave them alone.", []string{
			"ping", "team-a/github", "team-a/postgres", "team-a/browser", "team-b/slack", "team-b/search", "team-b/weather",
		}, 25 * time.Second},
		{"All asleep: no pods, no memory. Why does it sleep, and what would wake it?", []string{"explain", "team-a/github"}, 2 * time.Second},
		{"A ping wakes it at once.", []string{"ping", "team-a/github"}, 3 * time.Second},
		{"A start that waits returns when the first pod is ready.", []string{"start", "--wait", "30s", "team-b/slack"}, 2 * time.Second},
		{"Somebody who needs a server for the afternoon says so, and why. It wakes, and stays awake until then.", []string{
			"hold", "--awake-until", "2h", "--reason", "a talk", "team-a/postgres",
		}, time.Second},
		{"", []string{"list"}, 0},
		{"Who did what to it, and why?", []string{"history", "team-a/postgres"}, 0},
	}
	for _, step := range steps {
		if step.say != "" {
			say("\n" + step.say)
		}
		if err := s.show(step.args...); err != nil {
			return err
		}
		if !s.pause(step.wait) {
			return s.ctx.Err()
		}
	}
	if once {
		return nil
	}
	abs, err := filepath.Abs(s.bin)
	if err != nil {
		return err
	}
	say(fmt.Sprintf(`
Now it is your turn. In a second terminal:

  export NATS_URL=%s PATH=%s:$PATH
  idle-scaler list
  idle-scaler scale 3 team-a/browser
  idle-scaler stop --force team-b/search     # stays down until it is started
  idle-scaler ping team-b/search             # so a ping does not wake it
  idle-scaler start --wait 30s team-b/search
  idle-scaler explain team-a/postgres
  idle-scaler release team-a/postgres        # so it may sleep again
  idle-scaler pause --all                    # the emergency switch
  idle-scaler report

What happens is told here. Ctrl-C ends the demo and removes all of it.
`, s.nats, abs))
	<-s.ctx.Done()
	return nil
}

// startWatch lets "idle-scaler watch" tell on our terminal what happens.
func (s *stage) startWatch() error {
	return s.start(os.Stdout, "watch", "idle-scaler", "watch", "--nats", s.nats)
}

// show runs a client command as a person would.
func (s *stage) show(args ...string) error {
	line := "$ idle-scaler"
	for _, arg := range args {
		if strings.Contains(arg, " ") {
			arg = strconv.Quote(arg)
		}
		line += " " + arg
	}
	say(line)
	cmd := exec.CommandContext(s.ctx, filepath.Join(s.bin, "idle-scaler"), args...)
	cmd.Env = append(os.Environ(), "NATS_URL="+s.nats)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("idle-scaler %s: %w", args[0], err)
	}
	return nil
}

func (s *stage) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

func say(text string) { fmt.Println(text) }

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// createServers makes the six example servers: Deployments with the label, each with a Service.
func createServers(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for namespace, names := range map[string][]string{"team-a": {"github", "postgres", "browser"}, "team-b": {"slack", "search", "weather"}} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
		for _, name := range names {
			deployment, service := server(namespace, name)
			if _, err := client.AppsV1().Deployments(namespace).Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
				return err
			}
			if _, err := client.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
	}
	return nil
}

func server(namespace, name string) (*appsv1.Deployment, *corev1.Service) {
	labels := map[string]string{"app": name}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name, "app.kubernetes.io/component": "mcp-server"}}
	return &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "mcp", Image: "example.com/mcp/" + name}}},
			},
		},
	}, &corev1.Service{
		ObjectMeta: meta,
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Name: "http", Port: 8080}}},
	}
}
