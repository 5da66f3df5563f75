package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus"
)

// While both daemons are replaced, one after the other and the leader twice, a client that waits for two seconds and tries once
// more has an answer to everything it asks for and orders; and no order is applied twice.
func TestARollingUpdateLeavesNothingUnanswered(t *testing.T) {
	const (
		servers = 5
		every   = 50 * time.Millisecond
		wait    = 2 * time.Second
	)
	b := newBench(t)
	name := func(i int) string { return fmt.Sprintf("server-%d", i%servers) }
	for i := range servers {
		b.deploy(name(i), paused)
	}
	h := b.history()
	leads, follows := b.twoDaemons()

	// ask sends a request up to two times, and returns the answer.
	ask := func(verb, server, id, payload string) ([]byte, int, error) {
		m := nats.NewMsg(fmt.Sprintf("cortex.mcp.%s.%s.%s", verb, b.namespace, server))
		m.Data = []byte(payload)
		if id != "" {
			m.Header.Set(nats.MsgIdHdr, id) // so that the retry is no other order
		}
		var errs []error
		for try := range 2 {
			began := time.Now()
			answer, err := b.nc.RequestMsg(m, wait)
			if err == nil {
				if code := answer.Header.Get(micro.ErrorCodeHeader); code == "" {
					return answer.Data, try, nil
				}
				err = fmt.Errorf("answered %s: %s", answer.Header.Get(micro.ErrorCodeHeader), answer.Header.Get(micro.ErrorHeader))
			}
			errs = append(errs, err)
			time.Sleep(wait - time.Since(began)) // a client's pause before it tries again
		}
		return nil, 2, errors.Join(errs...)
	}
	stop, sent := make(chan struct{}), make(chan int, 1)
	var running sync.WaitGroup
	var mu sync.Mutex
	retried := 0
	failed := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		t.Errorf("%s: %v", what, err)
	}
	count := func(tries int) {
		mu.Lock()
		defer mu.Unlock()
		retried += tries
	}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				sent <- i
				return
			case <-tick.C:
			}
			running.Go(func() {
				data, tries, err := ask("status", name(i), "", "")
				var s bus.ServerStatus
				if err = errors.Join(err, json.Unmarshal(data, &s)); err != nil || s.Name != name(i) {
					failed(fmt.Sprintf("status %d", i), err)
				}
				count(tries)
			})
			running.Go(func() {
				verb, payload := "stop", fmt.Sprintf(`{"id":"order-%d"}`, i)
				if i/servers%2 == 1 {
					verb, payload = "start", fmt.Sprintf(`{"id":"order-%d","wait":"0s"}`, i)
				}
				data, tries, err := ask(verb, name(i), fmt.Sprintf("order-%d", i), payload)
				var a bus.Answer
				if err = errors.Join(err, json.Unmarshal(data, &a)); err != nil || a.Server == nil || a.Server.Name != name(i) {
					failed(fmt.Sprintf("%s %d", verb, i), err)
				}
				count(tries)
			})
		}
	}()

	pause := func() { time.Sleep(2 * time.Second) } // of work between two replacements
	pause()
	leads.stop()
	b.run()
	eventually(t, "the other leads", func() error {
		if !follows.leader() {
			return errors.New("it does not")
		}
		return nil
	})
	pause()
	follows.stop()
	last := b.run()
	pause()
	close(stop)
	n := <-sent
	running.Wait()
	t.Logf("%d requests and as many orders, %d were tried twice", n, retried)
	if n == 0 || last.process.ProcessState != nil {
		t.Error("nothing was asked for, or the last daemon is gone")
	}

	eventually(t, "the command stream is empty", func() error { return b.holds(commandStream, 0) })
	want := make(map[string][]string)
	for i := range n {
		want[name(i)] = append(want[name(i)], fmt.Sprintf("order-%d", i))
	}
	for server, ids := range want {
		slices.Sort(ids)
		eventually(t, "each order is applied once", func() error {
			got, err := h.of(server)
			if slices.Sort(got); err == nil && !slices.Equal(got, ids) {
				err = fmt.Errorf("%d orders were applied to %s, want %d", len(got), server, len(ids))
			}
			return err
		})
	}
}
