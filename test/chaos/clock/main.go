// Command clock builds the daemon so that its clock can be wrong. Nothing in a running process can change what a static Go program takes for
// the time, and production code should have no hook for it: so time.Now is changed, in a copy of the standard library's file that the
// compiler gets instead of it (go build -overlay). All that is in the process sees the same clock: TLS, client-go, nats.go, the log.
//
// The built program reads one environment variable, once: CHAOS_CLOCK_AHEAD is how many seconds its clock is ahead, or
// behind when negative. The monotonic reading stays right, as that of a machine with a wrong clock does.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// reading is the line of time.Now that is changed. Go 1.26 has it once; a version that has not needs a look at what became of it.
const (
	reading = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	shifted = reading + "\tsec += clockAhead\n"
)

// variable is read when the package is initialized: before anything else can ask for the time, and after package
// syscall.
const variable = `
var clockAhead = readClockAhead()

func readClockAhead() int64 {
	text, _ := syscall.Getenv("CHAOS_CLOCK_AHEAD")
	digits, negative := text, false
	if len(text) > 0 && text[0] == '-' {
		digits, negative = text[1:], true
	}
	n, rest, err := leadingInt(digits)
	if err != nil || len(rest) > 0 {
		panic("time: CHAOS_CLOCK_AHEAD is not a whole number: " + text)
	}
	if negative {
		return -int64(n)
	}
	return int64(n)
}
`

func main() {
	out := flag.String("o", "bin/idle-scaler-clock", "the program to `build`")
	flag.Parse()
	if err := build(*out, "./cmd/idle-scaler", "-race"); err != nil {
		fmt.Fprintln(os.Stderr, "clock:", err)
		os.Exit(1)
	}
}

// build builds a program with the changed clock.
func build(out, pkg string, flags ...string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	changed, err := change(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w", original, err)
	}
	temp, err := os.MkdirTemp("", "idle-scaler-clock-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	copied, overlay := filepath.Join(temp, "time.go"), filepath.Join(temp, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: copied}})
	if err == nil {
		err = errors.Join(os.WriteFile(copied, []byte(changed), 0o600), os.WriteFile(overlay, replace, 0o600))
	}
	if err != nil {
		return err
	}
	command := exec.Command("go", append(append([]string{"build", "-overlay", overlay, "-o", out}, flags...), pkg)...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}

// change returns the source of package time with the other clock.
func change(source string) (string, error) {
	if strings.Count(source, reading) != 1 || strings.Count(source, "import (\n") != 1 {
		return "", errors.New("time.Now does not read the clock as that of Go 1.26 does: adapt test/chaos/clock to it")
	}
	source = strings.Replace(source, reading, shifted, 1)
	return strings.Replace(source, "import (\n", "import (\n\t\"syscall\"\n", 1) + variable, nil
}
