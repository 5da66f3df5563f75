package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
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
		line("lease", "%s, for another %s", l.Holder, explain.Span(l.Until.Sub(now)))
	}
	if h := s.Hold; h != nil {
		what := "awake"
		if h.Asleep {
			what = "asleep"
		}
		line("hold", "%s for another %s%s", what, explain.Span(h.Until.Sub(now)), byWhom(h.Actor, h.Reason))
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
		line("reverts", "%s woke it again %s, first %s%s: %s", explain.Writer(r.Writer), count(r.Count, "time", "times"), ago(r.Since, now), so, r.Advice)
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

// settingsInWords says each setting that is written, and where, and those that are common.
func settingsInWords(s wire.Settings, sources map[string]string) (words []string) {
	defaults := policy.Defaults(policy.Never)
	for _, setting := range policy.Table {
		field := wire.Field(setting.Key)
		text := setting.Text(&defaults) // what is left out of the answer
		if value, ok := s[field]; ok {
			text = inWords(value)
		}
		source := sources[field]
		switch {
		case source != "" && source != string(policy.FromDefault):
			words = append(words, fmt.Sprintf("%s %s (%s)", setting.Key, text, source))
		case setting.Common:
			words = append(words, fmt.Sprintf("%s %s", setting.Key, text))
		}
	}
	return words
}

// inWords says a value as JSON decodes it. A text of several words is quoted.
func inWords(value any) string {
	switch value := value.(type) {
	case string:
		if strings.Contains(value, " ") {
			return strconv.Quote(value)
		}
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case []any:
		names := make([]string, len(value))
		for i, name := range value {
			names[i] = fmt.Sprint(name)
		}
		return strings.Join(names, " and ")
	}
	return fmt.Sprint(value)
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
