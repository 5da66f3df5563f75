package activity

import (
	"testing"
	"time"

	"idle-scaler/test/clocktest"
)

// How old something is says whichever clock says more; when they don't agree, as after a suspension of the machine, nobody knows.
func TestAge(t *testing.T) {
	then := time.Now()
	for _, row := range []struct {
		name      string
		mono      time.Duration // that has passed by the monotonic clock
		set       time.Duration // by how much the clock on the wall was set meanwhile
		want      time.Duration
		unsettled bool
	}{
		{"now", 0, 0, 0, false},
		{"a moment ago", 700 * time.Millisecond, 0, 700 * time.Millisecond, false},
		{"long ago", time.Hour, 0, time.Hour, false},
		{"set forward a little", 700 * time.Millisecond, time.Second, 1700 * time.Millisecond, false},
		{"set back a little", 700 * time.Millisecond, -time.Second, 700 * time.Millisecond, false},
		{"suspended, or set forward", 700 * time.Millisecond, time.Hour, time.Hour + 700*time.Millisecond, true},
		{"set back", 700 * time.Millisecond, -time.Hour, 700 * time.Millisecond, true},
	} {
		now := clocktest.Stepped(then.Add(row.mono), row.set)
		if now.Sub(then) != row.mono || now.Round(0).Sub(then.Round(0)) != row.mono+row.set {
			t.Fatalf("%s: the test does not set the clock: %s, %s", row.name, now.Sub(then), now.Round(0).Sub(then.Round(0)))
		}
		if age, sure := Age(then, now); age != row.want || sure == row.unsettled {
			t.Errorf("%s: %s, %v", row.name, age, sure)
		}
	}
	if _, sure := Age(then.Round(0).Add(time.Second), then); sure {
		t.Error("what is still to come has an age")
	}
}
