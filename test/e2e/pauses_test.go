package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// The emergency switch: while one, a namespace, or all are paused nothing of them is put to sleep, over restarts too; what sleeps is
// still woken, orders are still obeyed, and resume ends it.
func TestPauses(t *testing.T) {
	for scope, args := range map[string][]string{"server": nil, "namespace": {"-n"}, "all": {"--all"}} {
		t.Run(scope, func(t *testing.T) {
			b := newBench(t)
			b.deploy("alpha")
			b.deploy("sleeper")
			b.run(idle...)
			b.ping("sleeper")
			b.awaitReplicas("alpha", 0)
			b.awaitReplicas("sleeper", 0)
			target, subject := args, ""
			switch scope {
			case "server":
				target, subject = []string{b.namespace + "/alpha"}, "."+b.namespace+".alpha"
			case "namespace":
				target, subject = []string{"-n", b.namespace}, "."+b.namespace
			}
			b.says(0, append([]string{"pause", "--actor", "ann", "--reason", "an incident"}, target...)...)
			b.ping("alpha")
			b.awaitReplicas("alpha", 1)
			if s := b.awaitReason("alpha", policy.Paused); s.Paused == nil || s.Paused.Actor != "ann" || s.Paused.Reason != "an incident" {
				t.Errorf("it is paused by %+v", s.Paused)
			}
			b.kill()
			b.run(idle...)
			events := b.events()
			b.ping("sleeper")
			events.next(scaler.Woken, "sleeper")
			consistently(t, 5*time.Second, "paused, and asleep", b.staysAt("alpha", 1))
			b.order("stop", "sleeper", "")
			b.awaitReplicas("sleeper", 0)

			events = b.events()
			var answer wire.PauseAnswer
			b.ask("resume"+subject, `{"actor":"ann"}`, "", &answer)
			if answer.Paused || answer.Scope == "" {
				t.Errorf("answered %+v", answer)
			}
			events.next(scaler.Slept, "alpha")
		})
	}
	t.Run("of a server that is not there", func(t *testing.T) {
		b := newBench(t)
		b.run()
		var answer wire.Answer
		b.ask("pause."+b.namespace+".nobody", "", "404", &answer)
	})
}

// "wake --all" wakes what the daemon itself has put to sleep, with the replicas that were; what somebody has stopped, holds asleep or
// has made zero himself is left and named. "disable" does so and lets nothing sleep again.
func TestWakeAllAndDisable(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		b.deploy(fmt.Sprintf("idle-%d", i), replicas(2))
	}
	for _, name := range []string{"stopped", "held", "foreign"} {
		b.deploy(name)
	}
	b.run(append(idle, "--idle-after", "6s")...) // "wake --wait" has to see them awake
	b.order("stop", "stopped", `{"actor":"ann"}`)
	b.order("hold", "held", `{"asleep_until":"1h","actor":"bob"}`)
	b.awaitReplicas("foreign", 1)
	b.patch("foreign", "cleo", `{"spec":{"replicas":0}}`)
	b.ping("somebody-else")
	events := b.events()
	areWoken := func() {
		t.Helper()
		for i := range 5 {
			if e := events.next(scaler.Woken, fmt.Sprintf("idle-%d", i)); e.To != 2 {
				t.Errorf("told %+v", e)
			}
		}
	}
	for i := range 5 {
		b.awaitReplicas(fmt.Sprintf("idle-%d", i), 0)
	}
	if text := b.says(0, "wake", "--all", "-n", b.namespace, "--wait", "30s"); !containsAll(text, "5 servers", "stopped", "held") {
		t.Errorf("it says %q", text)
	}
	areWoken()
	for i := range 5 {
		b.awaitReplicas(fmt.Sprintf("idle-%d", i), 0) // not paused: they sleep again
	}
	events = b.events()
	var woken wire.WakeAnswer
	b.ask("wake."+b.namespace, `{"actor":"ann"}`, "", &woken)
	if woken.Started != 5 || len(woken.Servers) != 5 || len(woken.Left) < 2 {
		t.Errorf("answered %+v", woken)
	}
	areWoken()
	for i := range 5 {
		b.awaitReplicas(fmt.Sprintf("idle-%d", i), 0)
	}

	text := b.says(0, "disable", "--wait", "60s")
	if !containsAll(text, "stopped", "held") || strings.Contains(text, "foreign: woken") {
		t.Errorf("it says %q", text)
	}
	for i := range 5 {
		if err := b.staysAt(fmt.Sprintf("idle-%d", i), 2)(); err != nil {
			t.Errorf("when disable has returned: %v", err)
		}
	}
	consistently(t, 5*time.Second, "asleep after disable", func() error {
		for i := range 5 {
			if err := b.staysAt(fmt.Sprintf("idle-%d", i), 2)(); err != nil {
				return err
			}
		}
		for _, name := range []string{"stopped", "held", "foreign"} {
			if err := b.staysAt(name, 0)(); err != nil {
				return fmt.Errorf("somebody's order was undone: %w", err)
			}
		}
		return nil
	})
	b.says(0, "disable", "--wait", "60s") // twice is once
}
