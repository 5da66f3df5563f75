package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
)

func explainCommand() *cobra.Command {
	var c caller
	cmd := c.show("explain NAME...", "Explain why servers are awake or asleep, what comes next, and each setting",
		func(ctx context.Context, id wire.ID, text io.Writer) (any, error) {
			e, err := c.Explain(ctx, id)
			fmt.Fprint(text, e.Text)
			return e, err
		})
	cmd.Example = `  idle-scaler explain team-a/github`
	return cmd
}

func historyCommand() *cobra.Command {
	c := caller{extra: manyTakes}
	since, limit := span(7*day), 0
	cmd := c.show("history NAME...", "Show what happened to servers, who asked for it, and why",
		func(ctx context.Context, id wire.ID, text io.Writer) (any, error) {
			h, err := c.History(ctx, id, time.Duration(since), limit)
			printHistory(text, id, h, &since)
			return h, err
		})
	c.prepare = func(p *problems, _ []string) { p.require(limit >= 1, "--limit %d: ask for at least 1", limit) }
	cmd.Example = `  idle-scaler history --since 24h team-a/github`
	cmd.Flags().Var(&since, "since", "how far back, like 24h or 7d; events are kept for 7 days")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many events, the newest")
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
