package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// ask sends a request as "nats req" does, decodes its answer, and expects the code of its error, "" for none.
func (b *bench) ask(subject, payload, code string, answer any) {
	b.t.Helper()
	m, err := b.nc.Request("cortex.mcp.api."+subject, []byte(payload), patience)
	if err != nil {
		b.t.Fatalf("%s: %v", subject, err)
	}
	if got := m.Header.Get(micro.ErrorCodeHeader); got != code {
		b.t.Fatalf("%s %s: code %q, want %q: %s", subject, payload, got, code, m.Data)
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		b.t.Fatalf("%s: %v in %s", subject, err, m.Data)
	}
}

// A hold keeps its server awake, or asleep, until it ends by itself: no silence ends the one, no ping and no lease the other. What was
// asked for meanwhile happens then. It is ordered on the command line and by a plain message, and survives a restart.
func TestAHoldLastsUntilItEnds(t *testing.T) {
	b := newBench(t)
	b.deploy("awake")
	b.deploy("asleep", replicas(2))
	b.deploy("idle")
	events := b.events()
	b.run(idle...)
	b.awaitReplicas("asleep", 2)
	b.says(0, "hold", "--awake-until", "30s", "--actor", "ann", "--reason", "a demo", b.namespace+"/awake")
	until := time.Now().Add(25 * time.Second)
	b.order("hold", "asleep", `{"asleep_until":"25s","actor":"bob"}`)
	b.awaitReplicas("asleep", 0)
	if e := events.next(scaler.Slept, "asleep"); e.Actor != "bob" || e.Cause != policy.CauseCommand || !strings.Contains(e.Text, "held asleep until") {
		t.Errorf("told %+v", e)
	}
	b.ping("asleep")
	b.lease("asleep", time.Hour)
	events.next(scaler.Slept, "idle")
	b.awaitReason("asleep", policy.HeldAsleep)
	if s := b.awaitReason("awake", policy.Held); s.Hold == nil || s.Hold.Actor != "ann" || s.Hold.Reason != "a demo" || s.Hold.Asleep {
		t.Errorf("its hold is %+v", s.Hold)
	}
	b.kill()
	b.run(idle...)
	consistently(t, time.Until(until)-time.Second, "the holds are kept", func() error {
		if err := b.staysAt("asleep", 0)(); err != nil {
			return err
		}
		return b.staysAt("awake", 1)()
	})
	b.awaitReplicas("asleep", 2) // the lease is still there
	if e := events.next(scaler.Woken, "asleep"); e.Cause != policy.CauseLease || e.At.Before(until.Add(-time.Second)) {
		t.Errorf("told %+v", e)
	}
	if e := events.next(scaler.Slept, "awake"); e.Cause != policy.CauseIdle {
		t.Errorf("told %+v", e)
	}
}

// The newest order wins and says which one it ends: a hold ends a stop, a stop or a start ends a hold, release ends it without another.
func TestTheNewestOrderWins(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", annotation("idle-after", "never"), annotation("time-zone", "Africa/Lagos")) // an hour ahead of UTC, all the year; silence is not what this is about
	b.run(idle...)
	b.ping("alpha")
	b.awaitReplicas("alpha", 1)
	alpha := b.namespace + "/alpha"
	expect := func(replicas int32, reason policy.Reason, says string) {
		t.Helper()
		b.awaitReason("alpha", reason)
		b.awaitReplicas("alpha", replicas)
		if last := b.mark("alpha", "last"); !strings.Contains(last, says) {
			t.Errorf("the last transition is %s, want %q in it", last, says)
		}
	}
	said := func(says []string, args ...string) {
		t.Helper()
		if text := b.says(0, append(args, alpha)...); !containsAll(text, append(says, alpha+" ")...) {
			t.Errorf("%q says %q, want %q", args, text, says)
		}
	}
	said([]string{"unchanged", "there was no hold"}, "release")
	b.says(0, "stop", "--actor", "ann", alpha)
	expect(0, policy.Stopped, "slept")
	said([]string{"woken", "held awake until 20", "Z; ends the stop of 20"}, "hold", "--awake-until", "1h", "--actor", "bob")
	expect(1, policy.Held, "ends the stop of 20")
	later := time.Now().Add(2 * time.Hour).Truncate(time.Minute)
	said([]string{"slept", "held asleep until " + later.UTC().Format(time.RFC3339) + `; ends the hold awake until `},
		"hold", "--asleep-until", later.UTC().Add(time.Hour).Format("15:04"), "--actor", "cleo")
	expect(0, policy.HeldAsleep, "ends the hold awake until")
	b.says(0, "start", "--wait", "30s", "--actor", "dora", alpha)
	expect(1, policy.Awake, "ends the hold asleep until")
	b.says(0, "hold", "--awake-until", time.Now().Add(time.Hour).Format(time.RFC3339), alpha)
	expect(1, policy.Held, "held awake until")
	said([]string{"unchanged", "ends the hold awake until 20"}, "release")
	expect(1, policy.Awake, "ends the hold awake")
	b.says(0, "hold", "--awake-until", "1h", "--actor", "eve", alpha)
	b.order("stop", "alpha", `{"actor":"finn"}`)
	expect(0, policy.Stopped, "ends the hold awake until")
}

// A hold that makes no sense is refused with what to write, and changes nothing.
func TestHoldsThatMakeNoSense(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	b.run()
	b.awaitReplicas("alpha", 1)
	before := b.deployment("alpha").ResourceVersion
	for payload, says := range map[string]string{
		``:   "awake_until",
		`{}`: "awake_until",
		`{"awake_until":"1h","asleep_until":"1h"}`: "asleep_until",
		`{"awake_until":"soon"}`:                   "18:00",
		`{"awake_until":"-1h"}`:                    "not in the future",
		`{"awake_until":"2020-01-01T00:00:00Z"}`:   "not in the future",
		`{"awake_until":"9999h"}`:                  "720h",
		`{"awake_until":3}`:                        "awake_until",
		`{"until":"1h"}`:                           "unknown field",
	} {
		var a wire.Answer
		b.ask(fmt.Sprintf("hold.%s.alpha", b.namespace), payload, "400", &a)
		if a.Error == nil || !strings.Contains(a.Error.Text, says) {
			t.Errorf("%s: %+v, want %q", payload, a.Error, says)
		}
	}
	if after := b.deployment("alpha").ResourceVersion; after != before {
		t.Error("something was written")
	}
}
