package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrLeaseLost is what Elect returns when somebody else may lead now. The process should end, and start anew.
var ErrLeaseLost = errors.New("the lease of leadership was lost: it could not be renewed in time")

// Election says how the leader is found among the replicas of the daemon.
type Election struct {
	Off       bool   // there is only this replica: it leads
	Namespace string // of the Lease; empty: that of this pod, "default" outside a cluster
	Name      string // of the Lease

	LeaseDuration time.Duration // how long others wait after a leader that vanished
	RenewDeadline time.Duration // how long the leader leads without renewing the Lease; less than LeaseDuration
	RetryPeriod   time.Duration
	Logger        *slog.Logger
}

// Elect waits until this process leads, and calls lead. The Lease is renewed until lead returns, also when ctx is done, then given
// up, so that the next leader begins at once and never sooner. Leads says at any moment whether the Lease was renewed in time. When
// it was not, lead's context ends, too, and Elect returns ErrLeaseLost.
func Elect(ctx context.Context, config *rest.Config, e Election, lead func(ctx context.Context, leads func() bool)) error {
	if e.Off {
		lead(ctx, func() bool { return true })
		return nil
	}
	lock, err := e.lock(config)
	if err != nil {
		return err
	}
	held := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		Name:          e.Name,
		LeaseDuration: e.LeaseDuration,
		RenewDeadline: e.RenewDeadline,
		RetryPeriod:   e.RetryPeriod,
		// Not ReleaseOnCancel: it gives the Lease up while what it guards may still be going on.
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { held <- ctx },
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				e.Logger.Info("leader elected", "leader", identity, "self", identity == lock.Identity())
			},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	electing, stop := context.WithCancel(quiet(context.WithoutCancel(ctx)))
	elected := make(chan struct{})
	go func() {
		defer close(elected)
		elector.Run(electing)
	}()
	defer func() {
		stop()
		<-elected
		e.release(lock)
	}()

	var term context.Context
	select {
	case term = <-held:
	case <-ctx.Done():
		return nil
	}
	leading, cancel := context.WithCancel(term)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	lead(leading, func() bool {
		return term.Err() == nil && elector.IsLeader() && elector.Check(e.RenewDeadline-e.LeaseDuration) == nil
	})
	if term.Err() != nil { // it ends before stop only if the elector gave up
		return ErrLeaseLost
	}
	return nil
}

func (e *Election) lock(config *rest.Config) (resourcelock.Interface, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	if e.Namespace == "" {
		e.Namespace = ownNamespace()
	}
	identity := host + "-" + rand.Text()[:8]
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, e.Namespace, e.Name,
		resourcelock.ResourceLockConfig{Identity: identity}, config, e.RenewDeadline)
	return &lease{Interface: lock, namespace: e.Namespace, name: e.Name, logger: e.Logger}, err
}

// lease is the lock, and logs what keeps this process from having it: the elector itself only goes on trying.
type lease struct {
	resourcelock.Interface
	namespace, name string
	logger          *slog.Logger
	told            string // the last failure, told once until it is another; one goroutine uses the lock
}

func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	l.report(ctx, "get", err)
	return record, raw, err
}

func (l *lease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, record)
	l.report(ctx, "create", err)
	return err
}

func (l *lease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Update(ctx, record)
	l.report(ctx, "update", err)
	return err
}

func (l *lease) report(ctx context.Context, verb string, err error) {
	if err == nil {
		l.told = ""
		return
	}
	if ctx.Err() != nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return // it is made next, or another replica was faster
	}
	if err = (request{verb, "leases.coordination.k8s.io", l.namespace, l.name}).failure(err); err.Error() != l.told {
		l.told = err.Error()
		l.logger.Warn("cannot have the lease of leadership, trying again", "err", err)
	}
}

// releaseWithin is how long it may take to give the Lease up, which a slow API server is waited for: otherwise the next leader has to wait
// until it has run out. With the 10 seconds before it in which work may end (scaler.Config.DrainFor), and the 5 after it for each of health and
// NATS, it stays below the 30 that Kubernetes gives a pod.
const releaseWithin = 5 * time.Second

// release gives the Lease up if it is still held by this process.
func (e *Election) release(lock resourcelock.Interface) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	record, _, err := lock.Get(ctx)
	if err != nil || record.HolderIdentity != lock.Identity() {
		return
	}
	now := metav1.Now()
	free := resourcelock.LeaderElectionRecord{LeaderTransitions: record.LeaderTransitions, LeaseDurationSeconds: 1, AcquireTime: now, RenewTime: now}
	if err := lock.Update(ctx, free); err != nil {
		e.Logger.Warn("cannot give up the lease, the next leader waits until it has run out", "err", err)
	}
}
