package policy

import (
	"testing"
	"time"
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
		if got := Span(row.d); got != row.want {
			t.Errorf("%s: got %s, want %s", row.d, got, row.want)
		}
	}
}

// What the settings say is what was written, and says the same when it is written again.
func TestTexts(t *testing.T) {
	written := map[string]string{
		"idle-after": "1h30m5s", "keep-warm": "0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h", "sleep-at": "0 22 * * *; TZ=UTC 0 3 * * *", "time-zone": "Europe/Rome",
		"sleep-notice": "30s", "wake-replicas": "2", "max-replicas": "5", "wake-on-activity": "false", "paused": "true", "dry-run": "true", "group": "shop", "after": "db, cache",
	}
	s, _, err := Parse(Layer{FromServer, written})
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range s.Texts() {
		if written[key] != text {
			t.Errorf("%s: got %q, want %q", key, text, written[key])
		}
	}
	defaults := Defaults(Never)
	texts := defaults.Texts()
	if len(texts) != len(Keys) || texts["idle-after"] != "never" || texts["keep-warm"] != "none" || texts["group"] != "none" {
		t.Errorf("got %v", texts)
	}
}
