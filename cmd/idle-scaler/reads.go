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

	"idle-scaler/internal/wire"
	"idle-scaler/policy/explain"
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
	var c caller
	var selector, kind string
	cmd := c.command("list", "List the servers", 0, func(ctx context.Context, cmd *cobra.Command, _ []wire.ID) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		servers, err := c.List(ctx, c.namespace, selector)
		if err != nil {
			return err
		}
		return printServers(cmd.OutOrStdout(), kind, servers, time.Now())
	})
	cmd.Example = `  idle-scaler list -n team-a -o json`
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "label selector")
	output(cmd, &kind, "table", "json", "yaml", "name")
	return cmd
}

func printServers(out io.Writer, kind string, servers []wire.ServerSummary, now time.Time) error {
	switch kind {
	case "json", "yaml":
		if servers == nil {
			servers = []wire.ServerSummary{}
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
		used, next := "never seen", s.Next
		if !s.LastActivity.IsZero() {
			used = ago(s.LastActivity, now)
		}
		if s.Failure != "" {
			next = s.Failure
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d/%d\t%s\t%s\n", s.Namespace, s.Name, s.Status, s.ReadyReplicas, s.Replicas, used, next)
	}
	return table.Flush()
}

func watchCommand() *cobra.Command {
	c := caller{endless: true}
	var kind string
	cmd := c.command("watch", "Show events as they come", 0, func(ctx context.Context, cmd *cobra.Command, _ []wire.ID) error {
		out := cmd.OutOrStdout()
		return c.Watch(ctx, c.namespace, func(e wire.Event) error {
			if kind == "json" {
				return encodeLine(out, e)
			}
			_, err := fmt.Fprintln(out, sentence(time.TimeOnly, e))
			return err
		})
	})
	cmd.Example = `  idle-scaler watch -n team-a`
	output(cmd, &kind, "text", "json")
	return cmd
}

// encodeLine writes an event as one line of JSON: its entry in a history, and its server.
func encodeLine(out io.Writer, e wire.Event) error {
	return json.NewEncoder(out).Encode(struct {
		Server string `json:"server"`
		wire.HistoryEntry
	}{e.Server.String(), e.HistoryEntry})
}

// sentence says an event in one line.
func sentence(layout string, e wire.Event) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s  %-9s %s", e.At.Local().Format(layout), e.Type, e.Server)
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
	if took, err := time.ParseDuration(e.Took); err == nil && e.Type == wire.EventReady {
		fmt.Fprintf(&s, ", after %s", took.Round(time.Millisecond))
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
		return explain.Span(d) + " ago"
	}
	return "just now"
}
