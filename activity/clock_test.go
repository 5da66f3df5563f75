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

// The clock shows the time of the log, wherever that of this machine is and however it is set. A measurement that took long
// says little, and takes nothing back of a better one.
func TestClock(t *testing.T) {
	local := time.Now()
	after := func(d time.Duration) time.Time { return local.Add(d) }
	const ms = time.Millisecond
	for _, row := range []struct {
		name    string
		measure func(*Clock)
		want    time.Duration // what it shows at local, more than that
	}{
		{"nothing is measured", func(*Clock) {}, 0},
		{"a server that does not say", func(c *Clock) { c.Measured(time.Time{}, local, local) }, 0},
		{"the same", func(c *Clock) { c.Measured(after(5*ms), local, after(10*ms)) }, 0},
		{"ahead", func(c *Clock) { c.Measured(after(time.Hour), local, after(10*ms)) }, time.Hour - 10*ms},
		{"behind", func(c *Clock) { c.Measured(after(-time.Hour), local, after(10*ms)) }, -time.Hour - 10*ms},
		{"measured again, slowly", func(c *Clock) {
			c.Measured(after(time.Hour), local, local)
			c.Measured(after(time.Hour+time.Second), local, after(2*time.Second))
		}, time.Hour},
		{"another server leads the stream", func(c *Clock) {
			c.Measured(after(time.Hour), local, local)
			c.Measured(after(time.Minute), local, local)
		}, time.Minute},
	} {
		var c Clock
		row.measure(&c)
		if got := c.At(local).Sub(local); got != row.want {
			t.Errorf("%s: it shows %s more, want %s", row.name, got, row.want)
		}
		for _, by := range []time.Duration{time.Hour, -time.Hour} {
			later := clocktest.Stepped(after(time.Minute), by)
			if got := c.At(later).Sub(c.At(local)); row.want != 0 && got != time.Minute {
				t.Errorf("%s: in the minute in which the clock of the machine was set by %s it went on by %s", row.name, by, got)
			}
		}
	}
	var c Clock
	c.Measured(local, local, local)
	if got := c.At(clocktest.Stepped(after(time.Minute), time.Hour)).Round(0).Sub(local.Round(0)); got != time.Minute {
		t.Errorf("measured, and the same: in a minute in which the clock of the machine was set it went on by %s", got)
	}
}

// Skew is how far the log's clock is behind that of this process.
func TestSkew(t *testing.T) {
	var c Clock
	now := time.Now()
	c.Measured(now.Add(-time.Hour), now, now)
	if skew := c.Skew(); (skew - time.Hour).Abs() > time.Minute {
		t.Errorf("got %s, want 1h", skew)
	}
}
