package explain_test

import (
	"testing"
	"time"

	"idle-scaler/policy/explain"
)

// A duration is said in the two units that matter.
func TestSpanOfTwoUnits(t *testing.T) {
	for _, row := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0s"},
		{0, "0s"},
		{1400 * time.Millisecond, "1s"},
		{time.Minute, "1m"},
		{4*time.Minute + 12*time.Second, "4m12s"},
		{time.Hour, "1h"},
		{90*time.Minute + 59*time.Second, "1h30m"},
		{24 * time.Hour, "1d"},
		{24*time.Hour + 59*time.Minute, "1d"},
		{76*time.Hour + 59*time.Minute, "3d4h"},
	} {
		if got := explain.Span(row.d); got != row.want {
			t.Errorf("%s: got %s, want %s", row.d, got, row.want)
		}
	}
}
