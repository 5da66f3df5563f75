package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
)

func explainCommand() *cobra.Command {
	var c caller
	var kind string
	cmd := c.command("explain NAME...", "Say why servers are treated as they are, what comes next, and where each setting comes from", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		return c.show(ctx, cmd, ids, kind, c.timeout, func(ctx context.Context, id wire.ID, out io.Writer) (any, error) {
			e, err := c.Explain(ctx, id)
			fmt.Fprintln(out, strings.TrimSuffix(e.Text, "\n"))
			return e, err
		})
	})
	cmd.Example = `  idle-scaler explain team-a/github`
	output(cmd, &kind, "text", "json", "yaml")
	return cmd
}

func historyCommand() *cobra.Command {
	var c caller
	var kind string
	since, limit := span(7*day), 0
	cmd := c.command("history NAME...", "Say what happened to servers, who wanted it, and why", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		return c.show(ctx, cmd, ids, kind, c.timeout+manyFor, func(ctx context.Context, id wire.ID, out io.Writer) (any, error) {
			h, err := c.History(ctx, id, time.Duration(since), limit)
			printHistory(out, id, h, &since)
			return h, err
		})
	})
	c.check = func([]string) error {
		if limit < 1 {
			return usage("--limit %d: ask for at least 1", limit)
		}
		return nil
	}
	cmd.Example = `  idle-scaler history --since 24h team-a/github`
	cmd.Flags().Var(&since, "since", "how far back, like 24h or 7d; events are kept for 7 days")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many events, at most: the newest")
	output(cmd, &kind, "text", "json", "yaml")
	return cmd
}

func printHistory(out io.Writer, id wire.ID, h wire.History, since *span) {
	if h.Truncated {
		fmt.Fprintf(out, "%s: there were more before these: see --limit\n", id)
	}
	for _, e := range h.Events {
		fmt.Fprintln(out, sentence(time.DateTime, wire.Event{Server: id, HistoryEntry: e}))
	}
	if len(h.Events) == 0 {
		fmt.Fprintf(out, "%s: nothing happened in the last %s\n", id, since)
	}
}
