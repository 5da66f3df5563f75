package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
)

func statusCommand() *cobra.Command {
	var c caller
	var kind string
	cmd := c.command("status NAME...", "Show all there is to say about servers, and why they are treated as they are", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		return c.show(ctx, cmd, ids, kind, c.timeout, func(ctx context.Context, id wire.ID, out io.Writer) (any, error) {
			s, err := c.Status(ctx, id)
			printStatus(out, s, time.Now())
			return s, err
		})
	})
	cmd.Example = `  idle-scaler status team-a/github`
	output(cmd, &kind, "text", "json", "yaml")
	return cmd
}

// show prints what there is to say about several servers: as data, or as the text that ask writes.
func (c *caller) show(ctx context.Context, cmd *cobra.Command, ids []wire.ID, kind string, timeout time.Duration,
	ask func(ctx context.Context, id wire.ID, out io.Writer) (any, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.each(ctx, ids, func(ctx context.Context, id wire.ID) (string, error) {
		var text, data strings.Builder
		answer, err := ask(ctx, id, &text)
		if err != nil {
			return "", err
		}
		if kind == "text" {
			return strings.TrimSuffix(text.String(), "\n"), nil
		}
		if kind == "yaml" && len(ids) > 1 {
			data.WriteString("---\n")
		}
		err = encode(&data, kind, answer)
		return strings.TrimSuffix(data.String(), "\n"), err
	}, cmd.OutOrStdout())
}

func printStatus(out io.Writer, s wire.ServerStatus, now time.Time) {
	fmt.Fprintf(out, "%s/%s: %s, %d of %d ready\n", s.Namespace, s.Name, s.Status, s.ReadyReplicas, s.Replicas)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(out, "  %-12s %s\n", label, fmt.Sprintf(format, args...))
	}
	if s.Failure != "" {
		line("failure", "%s", s.Failure)
	}
	if s.AvailableReplicas != s.ReadyReplicas || s.UpdatedReplicas != s.Replicas {
		line("pods", "%d available, %d of the newest version", s.AvailableReplicas, s.UpdatedReplicas)
	}
	for _, c := range s.Conditions {
		if good := c.Type != "ReplicaFailure"; (c.Status == "True") != good {
			line("condition", "%s is %s: %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	line("decision", "%s", s.Decision.Text)
	if !s.LastActivity.IsZero() {
		line("last used", "%s", ago(s.LastActivity, now))
	}
	for _, l := range s.Leases {
		line("lease", "%s, for another %s", l.Holder, policy.Span(l.Until.Sub(now)))
	}
	if h := s.Hold; h != nil {
		what := "awake"
		if h.Asleep {
			what = "asleep"
		}
		line("hold", "%s for another %s%s", what, policy.Span(h.Until.Sub(now)), byWhom(h.Actor, h.Reason))
	}
	if p := s.Paused; p != nil {
		line("paused", "%s, %s%s", p.Scope, ago(p.Since, now), byWhom(p.Actor, p.Reason))
	}
	if g := s.Group; g != nil {
		line("group", "%s", strings.TrimSuffix(g.Name+", with "+strings.Join(g.Mates, ", "), ", with "))
	}
	if s.Rival != "" {
		line("rival", "%s", s.Rival)
	}
	if r := s.Reverts; r != nil {
		so := ""
		if r.Contended {
			so = ", so it is not put to sleep any more"
		}
		line("reverts", "%s woke it again %s, first %s%s: %s", policy.Writer(r.Writer), count(r.Count, "time", "times"), ago(r.Since, now), so, r.Advice)
	}
	if last := s.Marks.Last; last != nil {
		line("last change", "%s %s by %s%s (%d → %d)", last.Type, ago(last.At, now), last.Cause, of(last.Actor), last.From, last.To)
	}
	if s.Marks.Restore > 0 {
		line("replicas", "%d when it wakes", s.Marks.Restore)
	}
	line("settings", "%s", strings.Join(settingsInWords(s.Settings, s.Sources), ", "))
	if s.SettingsError != "" {
		line("error", "%s", strings.ReplaceAll(s.SettingsError, "\n", "; "))
	}
	for _, e := range s.Endpoints {
		line("endpoint", "%s (%s %s)", e.URL, e.Type, e.Service)
	}
}

// settingsInWords says each setting, and where it is written if it is. What is rare is left out unless it is written.
func settingsInWords(s wire.Settings, sources map[string]string) (words []string) {
	for _, setting := range []struct {
		key   string
		value any
		rare  bool
	}{
		{"idle-after", s.IdleAfter, false},
		{"keep-warm", fmt.Sprintf("%q", s.KeepWarm), true},
		{"sleep-at", fmt.Sprintf("%q", s.SleepAt), true},
		{"time-zone", s.TimeZone, true},
		{"sleep-notice", s.SleepNotice, true},
		{"wake-replicas", s.WakeReplicas, false},
		{"max-replicas", s.MaxReplicas, false},
		{"wake-on-activity", s.WakeOnActivity, false},
		{"paused", s.Paused, false},
		{"dry-run", s.DryRun, true},
		{"group", s.Group, true},
		{"after", strings.Join(s.After, " and "), true},
	} {
		source := sources[strings.ReplaceAll(setting.key, "-", "_")]
		written := source != "" && source != string(policy.FromDefault)
		switch {
		case written:
			words = append(words, fmt.Sprintf("%s %v (%s)", setting.key, setting.value, source))
		case !setting.rare:
			words = append(words, fmt.Sprintf("%s %v", setting.key, setting.value))
		}
	}
	return words
}

func of(actor string) string {
	if actor == "" {
		return ""
	}
	return " of " + actor
}

func byWhom(actor, reason string) (text string) {
	if actor != "" {
		text = ", by " + actor
	}
	if reason != "" {
		text += ", because " + reason
	}
	return text
}
