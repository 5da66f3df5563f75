package chaos

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	seed     = flag.Uint64("chaos.seed", 0, "`seed` of who is who and what is broken when; 0: any")
	duration = flag.Duration("chaos.duration", 25*time.Second, "how long there are faults and work")
	servers  = flag.Int("chaos.servers", 80, "how many servers there are")
	dir      = flag.String("chaos.dir", "", "`directory` for all that a run leaves behind; default a temporary one, kept when the run fails")
	cluster  = flag.String("chaos.cluster", "../../bin/cluster", "the `program` of the control plane")
	program  = flag.String("chaos.daemon", "../../bin/idle-scaler-clock", "the `program` of the daemon, built by test/chaos/clock")
)

// shown is how many servers' histories are shown on a failure; those of all are in files.
const shown = 3

// Nothing is lost and nobody is put to sleep by mistake, whatever is killed, frozen or cut off meanwhile.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes: make chaos")
	}
	o := Options{Seed: *seed, Duration: *duration, Servers: *servers, Dir: *dir, Cluster: *cluster, Daemon: *program, Log: func(format string, args ...any) {
		fmt.Printf(time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
	}}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	o.Log("seed %d: go test ./test/chaos -v -run TestChaos -chaos.seed=%d -chaos.duration=%s -chaos.servers=%d", o.Seed, o.Seed, o.Duration, o.Servers)
	if o.Dir == "" {
		temp, err := os.MkdirTemp("", fmt.Sprintf("idle-scaler-chaos-%d-", o.Seed))
		if err != nil {
			t.Fatal(err)
		}
		o.Dir = temp
		t.Cleanup(func() {
			if !t.Failed() {
				_ = os.RemoveAll(temp)
			}
		})
	}
	record, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("seed %d: the harness failed, see %s: %v", o.Seed, o.Dir, err)
	}
	report(t, record, Check(record), o.Dir)
}

// report says what was done and what is wrong, with the history of the servers concerned.
func report(t *testing.T, record *Record, v *Verdict, dir string) {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n", record.Seed)
	for _, what := range sorted(v.Counts) {
		fmt.Fprintf(&b, "%8d  %s\n", v.Counts[what], what)
	}
	for _, what := range sorted(v.Longest) {
		fmt.Fprintf(&b, "%8s  %s, at most\n", v.Longest[what].Round(time.Millisecond), what)
	}
	t.Log(b.String())
	told := make(map[string]bool)
	for _, violation := range v.Violations {
		t.Errorf("%s", violation)
		server := violation.Server
		if record.Servers[server] == nil || told[server] {
			continue
		}
		story := record.Story(server)
		if err := os.WriteFile(filepath.Join(dir, "story-"+server+".txt"), []byte(story), 0o600); err != nil {
			t.Error(err)
		}
		if told[server] = true; len(told) <= shown {
			t.Log(story)
		}
	}
	if len(v.Violations) > 0 {
		t.Errorf("seed %d: %d violations; logs, and the histories of the servers concerned, are in %s", record.Seed, len(v.Violations), dir)
	}
}
