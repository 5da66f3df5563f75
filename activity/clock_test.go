package activity

import (
	"testing"
	"time"

	"idle-scaler/test/clocktest"
)

// The age of something is the larger of two answers, by the wall clock and by the monotonic clock.
// When the two disagree, as after a suspension of the machine, it is not sure.
func TestAge(t *testing.T) {
	then := time.Now()
	for _, row := range []struct {
		name   string
		mono   time.Duration // how much passes by the monotonic clock
		set    time.Duration // by how much somebody sets the wall clock meanwhile
		want   time.Duration
		unsure bool
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
			t.Fatalf("%s: the test fails to set the clock: %s, %s", row.name, now.Sub(then), now.Round(0).Sub(then.Round(0)))
		}
		if age, sure := Age(then, now); age != row.want || sure == row.unsure {
			t.Errorf("%s: %s, %v", row.name, age, sure)
		}
	}
	if _, sure := Age(then.Round(0).Add(time.Second), then); sure {
		t.Error("an instant in the future has an age")
	}
}

// The Clock shows the time of the log, whatever the clock of this machine shows and however
// somebody sets it. A slow measurement does not replace a better one that agrees with it.
func TestClock(t *testing.T) {
	local := time.Now()
	after := func(d time.Duration) time.Time { return local.Add(d) }
	const ms = time.Millisecond
	for _, row := range []struct {
		name    string
		measure func(*Clock)
		want    time.Duration // how far it is ahead of local
	}{
		{"never measured", func(*Clock) {}, 0},
		{"a server that sends no time", func(c *Clock) { c.Measured(time.Time{}, local, local) }, 0},
		{"measured as equal", func(c *Clock) { c.Measured(after(5*ms), local, after(10*ms)) }, 0},
		{"ahead", func(c *Clock) { c.Measured(after(time.Hour), local, after(10*ms)) }, time.Hour - 10*ms},
		{"behind", func(c *Clock) { c.Measured(after(-time.Hour), local, after(10*ms)) }, -time.Hour - 10*ms},
		{"measured again, by a slow answer", func(c *Clock) {
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
			t.Errorf("%s: it is %s ahead, want %s", row.name, got, row.want)
		}
		for _, by := range []time.Duration{time.Hour, -time.Hour} {
			later := clocktest.Stepped(after(time.Minute), by)
			if got := c.At(later).Sub(c.At(local)); row.want != 0 && got != time.Minute {
				t.Errorf("%s: in a minute in which the wall clock was set by %s it went on by %s", row.name, by, got)
			}
		}
	}
	var c Clock
	c.Measured(local, local, local)
	if got := c.At(clocktest.Stepped(after(time.Minute), time.Hour)).Round(0).Sub(local.Round(0)); got != time.Minute {
		t.Errorf("measured as equal: in a minute in which the wall clock was set it went on by %s", got)
	}
}

// Skew says by how much the log's clock is behind the clock of this process.
func TestSkew(t *testing.T) {
	var c Clock
	now := time.Now()
	c.Measured(now.Add(-time.Hour), now, now)
	if skew := c.Skew(); (skew - time.Hour).Abs() > time.Minute {
		t.Errorf("got %s, want 1h", skew)
	}
}
