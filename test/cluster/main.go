// Program cluster runs a real Kubernetes control plane in one process, for tests: etcd, kube-apiserver with RBAC and TLS,
// the controllers that make Deployments work, and a fake kubelet that "runs" every pod.
//
// It needs no container, no root and no network but loopback. It prints one line, KUBECONFIG=<path>, when pods can be
// created, and ends on SIGTERM, SIGINT or (with --exit-with-stdin) at the end of its standard input:
//
//	etcd ◀── kube-apiserver ◀── controllers: Deployment → ReplicaSet → Pod, quota, namespaces, garbage, …
//	                        ◀── kubelet: binds pods to the one node and writes their status (see kubelet.go)
//
// Everything that a run leaves behind is in --dir; a later run with the same --dir continues with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

// stopTimeout bounds the wait for each part that stops: nothing is lost when it is cut short, because etcd has a log.
const stopTimeout = 800 * time.Millisecond

type config struct {
	dir           string
	port          int
	exitWithStdin bool
	pods          podTiming
}

func main() {
	cfg := parseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if cfg.exitWithStdin {
		ctx = untilEOF(ctx, os.Stdin)
	}
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func parseFlags() config {
	var cfg config
	flag.StringVar(&cfg.dir, "dir", "", "keep all state here and continue with what is there (default: a temporary directory, removed at exit)")
	flag.IntVar(&cfg.port, "port", 0, "port of the API server on 127.0.0.1 (0: any free one)")
	flag.BoolVar(&cfg.exitWithStdin, "exit-with-stdin", false, "exit at the end of standard input, so that the cluster dies with its parent")
	flag.DurationVar(&cfg.pods.delay, "pod-start-delay", 0, "time from a pod's creation to ready; the annotation "+startDelayAnnotation+" overrides it")
	flag.DurationVar(&cfg.pods.spread, "pod-start-spread", 0, "random extra time, up to this, on top of --pod-start-delay")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "cluster: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	return cfg
}

// run boots the cluster, announces it on out and keeps it until ctx ends.
func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	told := ctx // to end; ctx also ends when one part fails, so that the others stop before etcd does.
	ctx, cancel := context.WithCancel(told)
	defer cancel()
	dir, cleanup, err := openDir(cfg.dir)
	if err != nil {
		return err
	}
	defer cleanup()
	logPath := filepath.Join(dir, "cluster.log")
	if err := sendLogsTo(logPath); err != nil {
		return err
	}
	defer klog.Flush()
	defer func() {
		if told.Err() != nil {
			err = nil // Whatever failed while we were told to stop failed because of that.
		}
		if err != nil && cfg.dir != "" {
			err = fmt.Errorf("%w (see %s)", err, logPath)
		}
	}()

	files, err := ensureCerts(filepath.Join(dir, "certs"))
	if err != nil {
		return err
	}
	db, err := startEtcd(filepath.Join(dir, "etcd"), logPath)
	if err != nil {
		return err
	}
	api, err := startAPIServer(files, db.endpoint(), cfg.port)
	if err != nil {
		db.stop()
		return err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := writeKubeconfig(kubeconfig, api.url, files); err != nil {
		return err
	}
	admin, err := adminConfig(kubeconfig)
	if err != nil {
		return err
	}
	// Until the API server is ready nothing can be stopped in order: it ends the process when its start is interrupted.
	// Leaving it all to the end of the process is safe, for etcd is made to be killed.
	if err := api.waitReady(ctx, admin); err != nil {
		return err
	}
	defer func() {
		cancel()
		api.stop()
		db.stop()
	}()
	kubelet, err := startControllers(ctx, admin, cfg.pods)
	if err != nil {
		return err
	}
	if err := kubelet.waitReady(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "KUBECONFIG=%s\n", kubeconfig)

	select {
	case <-ctx.Done():
		return nil
	case <-api.done:
		return fmt.Errorf("API server ended: %w", api.err)
	}
}

// openDir returns the absolute state directory, locked against a second cluster, and what to call at the end.
func openDir(dir string) (string, func(), error) {
	remove := func() {}
	if dir == "" {
		temp, err := os.MkdirTemp("", "cluster-")
		if err != nil {
			return "", nil, err
		}
		dir, remove = temp, func() { os.RemoveAll(temp) }
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, err
	}
	// The kernel drops the lock with the process, however that ends.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return "", nil, fmt.Errorf("lock %s: another cluster runs there: %w", dir, err)
	}
	return dir, func() { lock.Close(); remove() }, nil
}

// sendLogsTo sends what Kubernetes has to say to a file: it is too much for a test's output.
func sendLogsTo(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "one_output": "true", "stderrthreshold": "FATAL", "v": "0"} {
		if err := flags.Set(name, value); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	klog.SetOutput(file)
	log.SetOutput(file)
	return nil
}

// untilEOF returns a context that also ends when r does.
func untilEOF(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		io.Copy(io.Discard, r)
	}()
	return ctx
}
