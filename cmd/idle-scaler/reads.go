package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"idle-scaler/internal/bus"
	"idle-scaler/scaler"
)

// output is the flag -o.
func output(cmd *cobra.Command, to *string, kinds ...string) {
	cmd.Flags().StringVarP(to, "output", "o", kinds[0], "one of "+strings.Join(kinds, ", "))
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(kinds, *to) {
			return usage("output %q: write one of %s", *to, strings.Join(kinds, ", "))
		}
		return run(cmd, args)
	}
}

func listCommand() *cobra.Command {
	var c client
	var selector, kind string
	cmd := c.command("list", "List the servers", 0, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		servers, err := c.List(ctx, c.namespace, selector)
		if err != nil {
			return err
		}
		return printServers(cmd.OutOrStdout(), kind, servers, time.Now())
	})
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "label selector")
	output(cmd, &kind, "table", "json", "yaml", "name")
	return cmd
}

func printServers(out io.Writer, kind string, servers []bus.ServerSummary, now time.Time) error {
	switch kind {
	case "json", "yaml":
		if servers == nil {
			servers = []bus.ServerSummary{}
		}
		return encode(out, kind, servers)
	case "name":
		for _, s := range servers {
			fmt.Fprintf(out, "%s/%s\n", s.Namespace, s.Name)
		}
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAMESPACE\tNAME\tSTATUS\tREADY\tLAST USED\tNEXT")
	for _, s := range servers {
		used, next := "never seen", ""
		if !s.LastActivity.IsZero() {
			used = ago(s.LastActivity, now)
		}
		switch {
		case s.Failure != "":
			next = s.Failure
		case !s.SleepsAt.IsZero():
			next = "sleeps in " + round(s.SleepsAt.Sub(now))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d/%d\t%s\t%s\n", s.Namespace, s.Name, s.Status, s.ReadyReplicas, s.Replicas, used, next)
	}
	return table.Flush()
}

func statusCommand() *cobra.Command {
	var c client
	var kind string
	cmd := c.command("status NAME...", "Show all there is to say about servers, and why they are treated as they are", 1, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		return c.each(ctx, args, func(ctx context.Context, id scaler.ID) (string, error) {
			s, err := c.Status(ctx, id)
			if err != nil {
				return "", err
			}
			var text strings.Builder
			if kind == "text" {
				printStatus(&text, s, time.Now())
			} else if err := encode(&text, kind, s); err != nil {
				return "", err
			}
			if kind == "yaml" && len(args) > 1 {
				return "---\n" + strings.TrimSuffix(text.String(), "\n"), nil
			}
			return strings.TrimSuffix(text.String(), "\n"), nil
		}, cmd.OutOrStdout())
	})
	output(cmd, &kind, "text", "json", "yaml")
	return cmd
}

func printStatus(out io.Writer, s bus.ServerStatus, now time.Time) {
	fmt.Fprintf(out, "%s/%s: %s, %d of %d ready\n", s.Namespace, s.Name, s.Status, s.ReadyReplicas, s.Replicas)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(out, "  %-12s %s\n", label, fmt.Sprintf(format, args...))
	}
	if s.Failure != "" {
		line("failure", "%s", s.Failure)
	}
	line("decision", "%s", s.Decision.Text)
	if !s.LastActivity.IsZero() {
		line("last used", "%s", ago(s.LastActivity, now))
	}
	for _, l := range s.Leases {
		line("lease", "%s, for another %s", l.Holder, round(l.Until.Sub(now)))
	}
	if last := s.Marks.Last; last != nil {
		by := last.Cause
		if last.Actor != "" {
			by += " of " + last.Actor
		}
		line("last change", "%s %s by %s (%d → %d)", last.Type, ago(last.At, now), by, last.From, last.To)
	}
	if s.Marks.Restore > 0 {
		line("replicas", "%d when it wakes", s.Marks.Restore)
	}
	line("settings", "idle-after %s, wake-replicas %d, max-replicas %d, wake-on-activity %t, paused %t",
		s.Settings.IdleAfter, s.Settings.WakeReplicas, s.Settings.MaxReplicas, s.Settings.WakeOnActivity, s.Settings.Paused)
	if s.SettingsError != "" {
		line("error", "%s", strings.ReplaceAll(s.SettingsError, "\n", "; "))
	}
	for _, e := range s.Endpoints {
		line("endpoint", "%s (%s %s)", e.URL, e.Type, e.Service)
	}
}

func watchCommand() *cobra.Command {
	var c client
	var kind string
	cmd := c.command("watch", "Show events as they come", 0, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		out := cmd.OutOrStdout()
		return c.Watch(ctx, c.namespace, func(e scaler.Event) error {
			if kind == "json" {
				return encodeLine(out, e)
			}
			_, err := fmt.Fprintln(out, sentence(e))
			return err
		})
	})
	output(cmd, &kind, "text", "json")
	return cmd
}

// encodeLine writes an event as one line of JSON: the data of its CloudEvent, and what it is about.
func encodeLine(out io.Writer, e scaler.Event) error {
	return json.NewEncoder(out).Encode(struct {
		Time   time.Time `json:"time"`
		Type   string    `json:"type"`
		Server string    `json:"server"`
		bus.EventData
	}{e.At, string(e.Type), e.Server.String(), bus.NewEventData(e)})
}

// sentence says an event in one line.
func sentence(e scaler.Event) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s  %-9s %s", e.At.Local().Format(time.TimeOnly), e.Type, e.Server)
	if e.From != e.To {
		fmt.Fprintf(&s, "  %d → %d", e.From, e.To)
	}
	if e.Cause != "" {
		fmt.Fprintf(&s, "  by %s", e.Cause)
	}
	for _, part := range []struct{ before, text string }{{" of ", e.Actor}, {", because ", e.Reason}, {": ", e.Text}} {
		if part.text != "" {
			s.WriteString(part.before + part.text)
		}
	}
	if e.Type == scaler.Ready {
		fmt.Fprintf(&s, ", after %s", e.Took.Round(time.Millisecond))
	}
	return s.String()
}

func encode(out io.Writer, kind string, v any) error {
	if kind == "yaml" {
		data, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = out.Write(data)
		return err
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func ago(t, now time.Time) string {
	if d := now.Sub(t); d >= time.Second {
		return round(d) + " ago"
	}
	return "just now"
}

// round makes a duration short to read: it has at most two units.
func round(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return max(0, d).Round(time.Second).String()
}
