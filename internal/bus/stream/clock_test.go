package stream_test

import (
	"testing"
	"time"

	"idle-scaler/internal/bus/stream"
)

// A difference between two clocks counts only when the way there and back can't account for it.
func TestShift(t *testing.T) {
	before := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	after := before.Add(100 * time.Millisecond)
	for server, want := range map[time.Duration]time.Duration{
		50 * time.Millisecond:  0,
		0:                      0,
		100 * time.Millisecond: 0,
		-10 * time.Second:      10*time.Second + 50*time.Millisecond,
		10 * time.Second:       -10*time.Second + 50*time.Millisecond,
	} {
		if got := stream.Shift(before, after, before.Add(server)); got != want {
			t.Errorf("%s after: got %s, want %s", server, got, want)
		}
	}
	if got := stream.Shift(before, after, time.Time{}); got != 0 {
		t.Errorf("a server that does not say: got %s", got)
	}
}
