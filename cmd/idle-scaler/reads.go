package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/policy/explain"
)

// askFunc asks about one server. It returns the answer, and writes it as text for people.
type askFunc func(ctx context.Context, id wire.ID, text io.Writer) (any, error)

// show returns a command that asks about each server, and prints the answers.
func (c *caller) show(use, short string, ask askFunc) *cobra.Command {
	cmd := c.command(use, short, 1, func(ctx context.Context, ids []wire.ID) error {
		return c.each(ctx, ids, func(ctx context.Context, id wire.ID) (string, error) {
			var text, data strings.Builder
			answer, err := ask(ctx, id, &text)
			if err != nil || c.kind == "text" {
				return strings.TrimSuffix(text.String(), "\n"), err
			}
			if c.kind == "yaml" && len(ids) > 1 {
				data.WriteString("---\n")
			}
			err = encode(&data, c.kind, answer)
			return strings.TrimSuffix(data.String(), "\n"), err
		})
	})
	c.addOutput(cmd, "text", "json", "yaml")
	return cmd
}

func listCommand() *cobra.Command {
	var c caller
	var selector string
	cmd := c.command("list", "List the servers", 0, func(ctx context.Context, _ []wire.ID) error {
		servers, err := c.List(ctx, c.namespace, selector)
		if err != nil {
			return err
		}
		return printServers(c.out, c.kind, servers, time.Now())
	})
	cmd.Example = `  idle-scaler list -n team-a -o json`
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "label selector")
	c.addOutput(cmd, "table", "json", "yaml", "name")
	return cmd
}

func printServers(out io.Writer, kind string, servers []wire.ServerSummary, now time.Time) error {
	switch kind {
	case "json", "yaml":
		return encode(out, kind, append([]wire.ServerSummary{}, servers...)) // never null
	case "name":
		for _, s := range servers {
			fmt.Fprintf(out, "%s/%s\n", s.Namespace, s.Name)
		}
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAMESPACE\tNAME\tSTATUS\tREADY\tLAST USED\tNEXT")
	for _, s := range servers {
		used := "never seen"
		if !s.LastActivity.IsZero() {
			used = ago(s.LastActivity, now)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d/%d\t%s\t%s\n",
			s.Namespace, s.Name, s.Status, s.ReadyReplicas, s.Replicas, used, cmp.Or(s.Failure, s.Next))
	}
	return table.Flush()
}

func watchCommand() *cobra.Command {
	c := caller{endless: true}
	cmd := c.command("watch", "Show events as they come", 0, func(ctx context.Context, _ []wire.ID) error {
		return c.Watch(ctx, c.namespace, func(e wire.Event) error {
			if c.kind == "json" {
				return encodeLine(c.out, e)
			}
			_, err := fmt.Fprintln(c.out, sentence(time.TimeOnly, e))
			return err
		})
	})
	cmd.Example = `  idle-scaler watch -n team-a`
	c.addOutput(cmd, "text", "json")
	return cmd
}

// encodeLine writes an event as one line of JSON: its server, and its entry in a history.
func encodeLine(out io.Writer, e wire.Event) error {
	return json.NewEncoder(out).Encode(struct {
		Server string `json:"server"`
		wire.HistoryEntry
	}{e.Server.String(), e.HistoryEntry})
}

// sentence says an event in one line.
func sentence(layout string, e wire.Event) string {
	return fmt.Sprintf("%s  %-9s %s  %s", e.At.Local().Format(layout), e.Type, e.Server, change(e.HistoryEntry))
}

// change is an event for people.
func change(e wire.HistoryEntry) explain.Change {
	c := explain.Change{
		From: e.From, To: e.To, Cause: policy.Cause(e.Cause),
		Actor: e.Actor, Command: e.Command, Reason: e.Reason, Text: e.Text,
	}
	if e.Type == wire.EventReady {
		c.Took, _ = time.ParseDuration(e.Took)
	}
	return c
}

func encode(out io.Writer, kind string, v any) error {
	if kind == "yaml" {
		data, err := yaml.Marshal(v)
		if err == nil {
			_, err = out.Write(data)
		}
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
