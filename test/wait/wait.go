// Package wait waits in tests for what must happen. Its deadline is generous: a test waits for it
// only when it fails.
package wait

import (
	"context"
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen.
const Patience = time.Minute

// Until waits until something holds. It looks so often that it sees what holds for a moment only.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Eventually waits until check returns nil, and says otherwise what is missing. A check may be a
// request: after the first looks it is made ten times a second.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	Within(t, Patience, what, check)
}

// Within is Eventually for what may take longer than Patience, or not as long.
func Within(t testing.TB, most time.Duration, what string, check func() error) {
	t.Helper()
	pause := 5 * time.Millisecond
	for deadline := time.Now().Add(most); ; pause = min(2*pause, 100*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", most, what, err)
		}
		time.Sleep(pause)
	}
}

// Consistently expects that check returns nil for as long as d.
func Consistently(t testing.TB, d time.Duration, what string, check func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := check(); err != nil {
			t.Fatalf("not for %s: %s: %v", d, what, err)
		}
	}
}

// For waits for a value.
func For[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		t.Fatalf("not within %s: %s", Patience, what)
		panic("unreachable")
	}
}

// Run runs something until the test, or stop, ends it. It must return then, without an error.
func Run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := For(t, "the end of what runs", done); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}
