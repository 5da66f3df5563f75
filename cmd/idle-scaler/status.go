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
	cmd := c.show("status NAME...", "Show all that is known about servers, and why they are awake or asleep",
		func(ctx context.Context, id wire.ID, text io.Writer) (any, error) {
			s, err := c.Status(ctx, id)
			printStatus(text, s, time.Now())
			return s, err
		})
	cmd.Example = `  idle-scaler status team-a/github`
	return cmd
}

func printStatus(out io.Writer, s wire.ServerStatus, now time.Time) {
	fmt.Fprintf(out, "%s/%s: %s, %d of %d ready\n", s.Namespace, s.Name, s.Status, s.ReadyReplicas, s.Replicas)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(out, "  %-12s %s\n", label, fmt.Sprintf(format, args...))
	}
	given := func(label, text string) {
		if text != "" {
			line(label, "%s", text)
		}
	}
	given("failure", s.Failure)
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
		state := "awake"
		if h.Asleep {
			state = "asleep"
		}
		line("hold", "%s for another %s%s", state, explain.Span(h.Until.Sub(now)), explain.By(h.Actor, h.Reason))
	}
	if p := s.Paused; p != nil {
		line("paused", "%s, %s%s", p.Scope, ago(p.Since, now), explain.By(p.Actor, p.Reason))
	}
	if g := s.Group; g != nil {
		line("group", "%s", strings.TrimSuffix(g.Name+", with "+strings.Join(g.Mates, ", "), ", with "))
	}
	given("rival", s.Rival)
	if r := s.Reverts; r != nil {
		so := ""
		if r.Contended {
			so = ", so it is not put to sleep any more"
		}
		line("reverts", "%s woke it again %s, first %s%s: %s",
			explain.Writer(r.Writer), explain.Count(r.Count, "time"), ago(r.Since, now), so, r.Advice)
	}
	if last := s.Marks.Last; last != nil {
		c := explain.Change{
			From: last.From, To: last.To, Cause: policy.Cause(last.Cause), Actor: last.Actor, Reason: last.Reason,
		}
		line("last change", "%s", explain.Joined(", ", last.Type+" "+ago(last.At, now), c.String()))
	}
	if s.Marks.Restore > 0 {
		line("replicas", "%d when it wakes", s.Marks.Restore)
	}
	label := "settings"
	for _, text := range settingsTexts(s.Settings, s.Sources) {
		line(label, "%s", text)
		label = ""
	}
	given("error", strings.ReplaceAll(s.SettingsError, "\n", "; "))
	for _, e := range s.Endpoints {
		line("endpoint", "%s (%s %s)", e.URL, e.Type, e.Service)
	}
}

// settingsTexts says each setting that is written, and where, and the common ones.
func settingsTexts(s wire.Settings, sources map[string]string) (texts []string) {
	for _, setting := range policy.Table {
		field := wire.Field(setting.Key)
		text := setting.Key + " " + valueText(setting, s[field])
		switch source := sources[field]; {
		case source != "" && source != string(policy.FromDefault):
			texts = append(texts, fmt.Sprintf("%s (%s)", text, source))
		case setting.Common:
			texts = append(texts, text)
		}
	}
	return texts
}

// valueText says the value of a setting, as JSON decodes it, in the words of policy. Nil is a value
// that the answer leaves out. A text of several words is quoted.
func valueText(setting policy.Setting, value any) string {
	text := fmt.Sprint(value)
	switch value := value.(type) {
	case nil:
		none := policy.Defaults(policy.Never)
		return setting.Text(&none)
	case float64:
		text = strconv.FormatFloat(value, 'f', -1, 64)
	case []any: // names: "[db cache]"
		text = strings.ReplaceAll(strings.Trim(text, "[]"), " ", ", ")
	}
	written := map[string]string{setting.Key: text}
	if parsed, _, err := policy.Parse(policy.Layer{Source: policy.FromServer, Written: written}); err == nil {
		text = setting.Text(&parsed) // without the zeros of "30m0s"
	}
	if strings.Contains(text, " ") {
		return strconv.Quote(text)
	}
	return text
}
