package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/wait"
)

// Both daemons are replaced, one after the other and the leader twice. Meanwhile a client that
// waits for two seconds and tries once more has an answer to everything that it asks for and
// orders, and no order is applied twice, or lost without a word. A 503 is no answer: it says "try
// again in a moment", and the client does within the two seconds.
func TestARollingUpdateLeavesNothingUnanswered(t *testing.T) {
	const (
		servers = 5
		every   = 50 * time.Millisecond
		timeout = 2 * time.Second
	)
	w := newWorld(t)
	name := func(i int) string { return fmt.Sprintf("server-%d", i%servers) }
	for i := range servers {
		w.deploy(name(i), paused)
	}
	h := w.history()
	leads, follows := w.twoDaemons()

	var mu sync.Mutex
	retried, unavailable := 0, 0
	count := func(what *int) {
		mu.Lock()
		defer mu.Unlock()
		*what++
	}
	// ask sends a request up to two times, and returns the answer.
	ask := func(verb, server, id, payload string) ([]byte, error) {
		m := nats.NewMsg(fmt.Sprintf("cortex.mcp.api.%s.%s.%s", verb, w.namespace, server))
		m.Data = []byte(payload)
		if id != "" {
			m.Header.Set(nats.MsgIdHdr, id) // so that the retry is no other order
		}
		var errs []error
		for try := range 2 {
			if try > 0 {
				count(&retried)
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			for ctx.Err() == nil {
				answer, err := w.nc.RequestMsgWithContext(ctx, m)
				if err == nil {
					code := answer.Header.Get(micro.ErrorCodeHeader)
					if code == "" {
						return answer.Data, nil
					}
					err = fmt.Errorf("answered %s: %s", code, answer.Header.Get(micro.ErrorHeader))
					count(&unavailable)
					if code != "503" {
						return nil, err
					}
				}
				errs = append(errs, err)
				time.Sleep(100 * time.Millisecond) // "try again in a moment"
			}
		}
		return nil, errors.Join(errs...)
	}
	stop, sent := make(chan struct{}), 0
	var ticking, running sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); ticking.Wait(); running.Wait() })
	t.Cleanup(end)
	failed := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		t.Errorf("%s: %v", what, err)
	}
	ticking.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			i := sent
			sent++
			running.Go(func() {
				data, err := ask("status", name(i), "", "")
				var s wire.ServerStatus
				if err == nil {
					err = json.Unmarshal(data, &s)
				}
				if err != nil || s.Name != name(i) {
					failed(fmt.Sprintf("status %d", i), err)
				}
			})
			running.Go(func() {
				verb, payload := "stop", fmt.Sprintf(`{"id":"order-%d"}`, i)
				if i/servers%2 == 1 {
					verb, payload = "start", fmt.Sprintf(`{"id":"order-%d","wait":"0s"}`, i)
				}
				data, err := ask(verb, name(i), fmt.Sprintf("order-%d", i), payload)
				var a wire.Answer
				if err == nil {
					err = json.Unmarshal(data, &a)
				}
				if err != nil || a.Server == nil || a.Server.Name != name(i) {
					failed(fmt.Sprintf("%s %d", verb, i), err)
				}
			})
		}
	})

	pause := func() { time.Sleep(2 * time.Second) } // of work between two replacements
	pause()
	leads.stop()
	wait.Eventually(t, "the other leads", follows.leads)
	w.run()
	pause()
	follows.stop()
	last := w.run()
	pause()
	end()
	t.Logf("%d requests and as many orders, %d were tried twice, %d answers were 503", sent, retried, unavailable)
	if sent == 0 || last.process.ProcessState != nil {
		t.Error("nothing was asked for, or the last daemon is gone")
	}

	wait.Eventually(t, "the command stream is empty", func() error { return w.holds(commandStream, 0) })
	want := make(map[string][]string)
	for i := range sent {
		want[name(i)] = append(want[name(i)], fmt.Sprintf("order-%d", i))
	}
	for server, ids := range want {
		slices.Sort(ids)
		wait.Eventually(t, "each order is applied once, or has an event that it expired on a slow machine", func() error {
			got, err := h.of(server)
			for _, e := range w.stored(scaler.Expired, server) {
				got = append(got, e.Command)
			}
			if slices.Sort(got); err == nil && !slices.Equal(got, ids) {
				err = fmt.Errorf("%d orders to %s were applied or have expired, want %d", len(got), server, len(ids))
			}
			return err
		})
	}
}
