package kube

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/test/wait"
)

func (w *world) election() Election {
	return Election{
		Namespace: w.namespace, Name: "idle-scaler", LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second,
		RetryPeriod: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
}

// term is one call of lead, and how it goes on.
type term struct {
	ctx   context.Context
	leads func() bool
	end   chan struct{} // closed to let lead return
}

// candidate runs Elect; it returns a channel of its term, and one of what Elect returned.
func (w *world) candidate(ctx context.Context, e Election) (<-chan term, <-chan error) {
	terms, ended := make(chan term, 1), make(chan error, 1)
	go func() {
		ended <- Elect(ctx, w.config, e, func(ctx context.Context, leads func() bool) {
			t := term{ctx, leads, make(chan struct{})}
			terms <- t
			<-t.end
		})
	}()
	return terms, ended
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(deadline / 2):
		t.Fatalf("waited for %s in vain", what)
		panic("unreachable")
	}
}

// The next leader leads as soon as the former has ended its work, without waiting for the lease to run out, and not before.
func TestElectForReal(t *testing.T) {
	w := newWorld(t)
	firstCtx, stopFirst := context.WithCancel(t.Context())
	terms, ended := w.candidate(firstCtx, w.election())
	first := receive(t, "the first leader", terms)
	secondCtx, stopSecond := context.WithCancel(t.Context())
	terms2, ended2 := w.candidate(secondCtx, w.election())

	stopFirst()
	receive(t, "the end of the first term", first.ctx.Done())
	began := w.renewed()
	wait.Until(t, "renewals while the first ends its work", func() bool { return w.renewed().After(began.Add(10 * w.election().RetryPeriod)) })
	if !first.leads() {
		t.Error("the first may not end its work")
	}
	select {
	case <-terms2:
		t.Fatal("the second leads while the first ends its work")
	default:
	}
	close(first.end)
	if err := receive(t, "the first to end", ended); err != nil {
		t.Error(err)
	}
	second := receive(t, "the second leader", terms2)
	if first.leads() || !second.leads() {
		t.Errorf("first leads: %v, second leads: %v", first.leads(), second.leads())
	}
	stopSecond()
	close(second.end)
	if err := receive(t, "the second to end", ended2); err != nil {
		t.Error(err)
	}
}

// renewed returns when the Lease was last renewed.
func (w *world) renewed() time.Time {
	w.t.Helper()
	lease, err := w.admin.CoordinationV1().Leases(w.namespace).Get(w.t.Context(), "idle-scaler", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return lease.Spec.RenewTime.Time
}

// holder returns who has the Lease.
func (w *world) holder() string {
	w.t.Helper()
	lease, err := w.admin.CoordinationV1().Leases(w.namespace).Get(w.t.Context(), "idle-scaler", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// Who loses the lease hears so: he does not lead from that moment, his term ends, and Elect says why. What somebody else holds is not given up.
func TestLeaseLostForReal(t *testing.T) {
	w := newWorld(t)
	e := w.election()
	e.RenewDeadline = 500 * time.Millisecond
	terms, ended := w.candidate(t.Context(), e)
	mine := receive(t, "the leader", terms)
	thief := []byte(`{"spec":{"holderIdentity":"thief"}}`)
	leases := w.admin.CoordinationV1().Leases(w.namespace)
	if _, err := leases.Patch(t.Context(), e.Name, types.MergePatchType, thief, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end of the term", mine.ctx.Done())
	if mine.leads() {
		t.Error("leads without the lease")
	}
	select {
	case err := <-ended:
		t.Errorf("ended while lead goes on: %v", err)
	default:
	}
	close(mine.end)
	mustBe(t, "the lease is lost", receive(t, "the end", ended), ErrLeaseLost)
	if lease, err := leases.Get(t.Context(), e.Name, metav1.GetOptions{}); err != nil || *lease.Spec.HolderIdentity != "thief" {
		t.Errorf("the lease of the other was given up: %v, %+v", err, lease)
	}
}

// A leader that can't renew gives the lease up only when its work has ended, not when it sees that it has lost it.
func TestLeaseNotRenewedForReal(t *testing.T) {
	w := newWorld(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	w.config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut && away.Load() {
				body, err := io.ReadAll(r.Body)
				if err != nil || strings.Contains(string(body), host) { // a renewal names its holder
					return nil, errors.Join(err, errors.New("the network is away"))
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			return next.RoundTrip(r)
		})
	})
	e := w.election()
	e.RenewDeadline = 500 * time.Millisecond
	terms, ended := w.candidate(t.Context(), e)
	mine := receive(t, "the leader", terms)
	away.Store(true)
	receive(t, "the end of the term", mine.ctx.Done())
	if mine.leads() || !strings.HasPrefix(w.holder(), host) {
		t.Errorf("while its work goes on: leads %v, holder %q", mine.leads(), w.holder())
	}
	close(mine.end)
	mustBe(t, "the lease is lost", receive(t, "the end", ended), ErrLeaseLost)
	if w.holder() != "" {
		t.Errorf("after its work the holder is %q", w.holder())
	}
}

// A leader that ends gives the Lease up although the API server takes longer to answer than the leader pauses between two renewals.
func TestLeaseIsGivenUpSlowlyForReal(t *testing.T) {
	w := newWorld(t)
	e := w.election()
	var slow atomic.Bool
	w.config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if slow.Load() {
				time.Sleep(5 * e.RetryPeriod)
			}
			return next.RoundTrip(r)
		})
	})
	ctx, stop := context.WithCancel(t.Context())
	terms, ended := w.candidate(ctx, e)
	mine := receive(t, "the leader", terms)
	slow.Store(true)
	stop()
	close(mine.end)
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	if w.holder() != "" {
		t.Errorf("after its end the holder is %q", w.holder())
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Without election the only replica leads at once, and one that is ended before it leads just ends.
func TestElectEdges(t *testing.T) {
	led := false
	err := Elect(t.Context(), nil, Election{Off: true}, func(ctx context.Context, leads func() bool) { led = ctx == t.Context() && leads() })
	if err != nil || !led {
		t.Errorf("election off: %v, led %v", err, led)
	}

	w := newWorld(t)
	terms, _ := w.candidate(t.Context(), w.election())
	leader := receive(t, "the leader", terms)
	defer close(leader.end)
	ctx, stop := context.WithCancel(t.Context())
	_, ended := w.candidate(ctx, w.election())
	stop()
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	if !leader.leads() {
		t.Error("one that ended took the lease with it")
	}

	bad := w.election()
	bad.RenewDeadline = bad.LeaseDuration
	if err := Elect(t.Context(), w.config, bad, nil); err == nil {
		t.Error("a renewal deadline as long as the lease is accepted")
	}
}
