package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A program built so sees the clock that it is told to see, and measures time as any other.
func TestClock(t *testing.T) {
	program := filepath.Join(t.TempDir(), "now")
	if err := build(program, "./testdata/now"); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		ahead, name string
		want        time.Duration
		digits      int64 // 0: any
	}{
		{"", "", 0, 0},
		{"0", "7", 0, 7},
		{"300", "999", 5 * time.Minute, 999},
		{"-300", "1", -5 * time.Minute, 1},
	} {
		command := exec.Command(program)
		command.Env = append(os.Environ(), "CHAOS_CLOCK_AHEAD="+row.ahead, "CHAOS_CLOCK_NAME="+row.name)
		before := time.Now()
		said, err := command.Output()
		after := time.Now()
		if err != nil {
			t.Fatal(err)
		}
		var wall int64
		var short, forward bool
		if _, err := fmt.Sscan(string(said), &wall, &short, &forward); err != nil || !short || !forward {
			t.Fatalf("ahead %q: it said %q: %v", row.ahead, said, err)
		}
		if read := time.Unix(0, wall).Add(-row.want); read.Before(before.Add(-time.Millisecond)) || read.After(after) {
			t.Errorf("ahead %q: it read %s between %s and %s", row.ahead, read, before, after)
		}
		if row.digits > 0 && wall%1000 != row.digits {
			t.Errorf("name %q: it read %d", row.name, wall)
		}
	}
	if said, err := exec.Command("sh", "-c", "CHAOS_CLOCK_AHEAD=5m "+program).CombinedOutput(); err == nil {
		t.Errorf("a wrong variable is taken: %s", said)
	}
}

// Another standard library than the known one is an error, not a clock that is right.
func TestChangeOfAnotherLibrary(t *testing.T) {
	if _, err := change("package time\n\nimport (\n)\n\nfunc Now() Time { return unixTime(now()) }\n"); err == nil {
		t.Error("it was changed")
	}
}
