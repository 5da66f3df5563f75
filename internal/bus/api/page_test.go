package api

import (
	"encoding/json"
	"testing"

	"idle-scaler/test/natstest"
)

// A page takes as many rows as fit, commas included, up to its limit. It has at least one, or the
// next page would make no progress.
func TestFill(t *testing.T) {
	rows := make([]string, 10)
	for free := range 40 {
		page := fill(rows, 0, free, func(string) string { return "abc" })
		text, err := json.Marshal(page)
		natstest.Check(t, err)
		inside := len(text) - len("[]")
		if len(page) > 1 && inside > free || free-inside > len(`"abc",`) {
			t.Errorf("of %d bytes %d were taken", free, inside)
		}
	}
	for most, want := range map[int]int{0: 10, 1: 1, 9: 9, 10: 10, 11: 10} {
		if got := len(fill(rows, most, 1000, asIs)); got != want {
			t.Errorf("at most %d: got %d, want %d", most, got, want)
		}
	}
	if got := fill([]string{"large", ""}, 0, 3, asIs); len(got) != 1 {
		t.Errorf("after the first that does not fit: got %q", got)
	}
	if got := fill[string](nil, 0, 3, asIs); got == nil {
		t.Error("an empty page is null on the wire")
	}
}
