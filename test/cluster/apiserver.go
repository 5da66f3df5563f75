package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	apiapp "k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// apiServer is a running kube-apiserver. done is closed when it has ended, then err says why.
type apiServer struct {
	url    string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// startAPIServer does what kube-apiserver's command does, without the command: that installs signal handlers, which
// may happen only once in a process.
func startAPIServer(files certFiles, etcd string, port int) (*apiServer, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for the API server: %w", err)
	}
	port = listener.Addr().(*net.TCPAddr).Port

	opts := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range opts.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	err = flags.Parse([]string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + files.serverCert,
		"--tls-private-key-file=" + files.serverKey,
		"--client-ca-file=" + files.ca,
		"--anonymous-auth=false",
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + files.serviceAccountSigner,
		"--service-account-signing-key-file=" + files.serviceAccountSigner,
		"--etcd-servers=" + etcd,
		"--service-cluster-ip-range=10.96.0.0/16",
		// There is no "kubernetes" endpoint to keep; the lease reconciler would delay the end of the process.
		"--endpoint-reconciler-type=none",
		// Tests send a thousand requests at once and measure: the server must not queue them.
		"--enable-priority-and-fairness=false",
		"--max-requests-inflight=0",
		"--max-mutating-requests-inflight=0",
		"--profiling=false",
	})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	opts.SecureServing.Listener = listener
	if err := opts.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	ctx, cancel := context.WithCancel(context.Background())
	completed, err := opts.Complete(ctx)
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("complete API server options: %w", err), listener.Close())
	}
	if err := utilerrors.NewAggregate(completed.Validate()); err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("validate API server options: %w", err), listener.Close())
	}

	server := &apiServer{url: "https://" + listener.Addr().String(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(server.done)
		server.err = apiapp.Run(ctx, completed)
	}()
	return server, nil
}

// waitReady waits for /readyz, which includes the bootstrap of the RBAC roles.
func (s *apiServer) waitReady(ctx context.Context, admin *rest.Config) error {
	client, err := kubernetes.NewForConfig(as("cluster", admin))
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		select {
		case <-s.done:
			return false, fmt.Errorf("it ended: %w", s.err)
		default:
		}
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the API server: %w", err)
	}
	return nil
}

// stop gives a server that was ready a moment to drain: it would wait for foreign watchers much longer.
func (s *apiServer) stop() {
	s.cancel()
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
	}
}
