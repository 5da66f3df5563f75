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
	for ahead, want := range map[string]time.Duration{"": 0, "0": 0, "300": 5 * time.Minute, "-300": -5 * time.Minute} {
		command := exec.Command(program)
		command.Env = append(os.Environ(), "CHAOS_CLOCK_AHEAD="+ahead)
		before := time.Now()
		said, err := command.Output()
		after := time.Now()
		if err != nil {
			t.Fatal(err)
		}
		var wall int64
		var short, forward bool
		if _, err := fmt.Sscan(string(said), &wall, &short, &forward); err != nil || !short || !forward {
			t.Fatalf("ahead %q: it said %q: %v", ahead, said, err)
		}
		if read := time.Unix(0, wall).Add(-want); read.Before(before.Add(-time.Millisecond)) || read.After(after) {
			t.Errorf("ahead %q: it read %s between %s and %s", ahead, read, before, after)
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
