package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/wire"
	"idle-scaler/test/wait"
)

// answered is an error unless both daemons have answered requests.
func (w *world) answered(verb string) error {
	inbox, err := w.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = inbox.Unsubscribe() }()
	if err := w.nc.PublishRequest("$SRV.STATS.idle-scaler", inbox.Subject, nil); err != nil {
		return err
	}
	for range 2 {
		m, err := inbox.NextMsg(wait.Patience)
		if err != nil {
			return err
		}
		var stats micro.Stats
		if err := json.Unmarshal(m.Data, &stats); err != nil {
			return err
		}
		for _, e := range stats.Endpoints {
			if e.Name == verb && e.NumRequests == 0 {
				return fmt.Errorf("%s has not answered", stats.ID)
			}
		}
	}
	return nil
}

// One of two daemons leads, both answer. A leader that is asked to end hands over long before its
// lease would run out. One that vanishes is followed after its lease, and what was ordered
// meanwhile is done in order.
func TestOneOfTwoLeads(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	const lease = 30 * time.Second
	leads, follows := w.twoDaemons("--lease-duration", lease.String())
	wait.Consistently(t, 2*time.Second, "one leads", func() error {
		if follows.leads() == nil {
			return fmt.Errorf("the other leads, too")
		}
		return leads.leads()
	})
	wait.Eventually(t, "both have answered", func() error {
		if _, err := w.status("alpha"); err != nil {
			return err
		}
		return w.answered("status")
	})
	for n := range 10 { // each may take an order, one applies it
		if a, err := w.Scale(t.Context(), w.id("alpha"), 1+n%2, 0, wire.Sender{}); err != nil || a.Server.Replicas != 1+n%2 {
			t.Fatalf("answered %+v, %v", a, err)
		}
	}

	asked := time.Now()
	leads.stop() // expects 0
	w.publish("scale", "alpha", `{"id":"c0","replicas":1}`)
	wait.Eventually(t, "the other leads", follows.leads)
	if took := time.Since(asked); took > lease-5*time.Second {
		t.Errorf("the other took over after %s, perhaps because the lease ran out", took)
	}

	next := w.run("--lease-duration", lease.String())
	follows.kill()
	w.publish("scale", "alpha", `{"id":"c1","replicas":2}`)
	w.publish("scale", "alpha", `{"id":"c2","replicas":3}`)
	wait.Within(t, lease+wait.Patience, "the last one leads", next.leads)
	w.awaitReplicas("alpha", 3)
	if got := w.scaled("alpha"); !slices.Equal(got[len(got)-2:], []string{"c1", "c2"}) {
		t.Errorf("applied are %q", got)
	}
}

// The first SIGTERM lets what was begun finish. The second ends the process at once, and the next
// daemon does what it leaves.
func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	w.awaitReplicas("alpha", 1)
	r := newRelay(t)
	d := w.run(append(obedient, "--kubeconfig", r.kubeconfig)...)
	begun := newMoment()
	r.act(once("c1", begun.hold), nil)
	w.publish("scale", "alpha", `{"id":"c1","replicas":2}`)
	begun.then(t, func() {
		_ = d.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.ended:
			t.Fatal("it did not wait for what was begun")
		case <-time.After(2 * time.Second):
		}
		_ = d.process.Process.Signal(syscall.SIGTERM)
		wait.For(t, "its end", d.ended)
		if status, ok := d.process.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
			t.Errorf("it ended with %s", d.process.ProcessState)
		}
	})
	w.run(obedient...)
	w.awaitReplicas("alpha", 2)
}

// A connection that NATS has closed for good ends the daemon, with the reason, so that Kubernetes
// starts it again: without it no request is answered and no command applied. Before that it gives
// up its lease: another leads at once.
func TestAConnectionClosedForGoodEndsTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	const lease = 60 * time.Second
	cable := w.newCable()
	d := w.start("--nats", cable.url, "--lease-duration", lease.String())
	wait.Eventually(t, "it leads", d.leads)
	cable.say("-ERR 'Nobody Knows Why'")
	wait.For(t, "its end", d.ended)
	ended := time.Now()
	if code := d.process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("it ended with %d", code)
	}
	if !strings.Contains(d.log.String(), "closed for good: nats: Nobody Knows Why") {
		t.Error("it does not say why")
	}
	next := w.run()
	wait.Eventually(t, "another leads", next.leads)
	if took := time.Since(ended); took > lease-5*time.Second {
		t.Errorf("another leads after %s, perhaps because the lease ran out", took)
	}
}
