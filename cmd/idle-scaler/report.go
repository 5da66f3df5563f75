package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
	"idle-scaler/policy/explain"
)

func reportCommand() *cobra.Command {
	c, over := caller{extra: manyTakes}, span(day)
	const short = "Report what sleep saved: hours asleep, what they freed, wakes, and sleeps that were mistakes"
	cmd := c.command("report", short, 0, func(ctx context.Context, _ []wire.ID) error {
		r, err := c.Report(ctx, c.namespace, time.Duration(over))
		if err != nil {
			return err
		}
		if c.kind != "table" {
			return encode(c.out, c.kind, r)
		}
		return printReport(c.out, r)
	})
	cmd.Long = short + `.

CORE-HOURS and GIB-HOURS count the requests of the pods that did not run. P50 and P95 are times from the
decision to wake to the first ready replica. A mis-sleep is a sleep that demand followed within 2 minutes.
Figures in brackets would be true without dry-run.`
	cmd.Example = `  idle-scaler report --over 7d
  idle-scaler report -n team-a -o json`
	cmd.Flags().Var(&over, "over", "how far back, like 24h or 7d; events are kept for 7 days")
	c.addOutput(cmd, "table", "json", "yaml")
	return cmd
}

func printReport(out io.Writer, r wire.Report) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "SERVER\tASLEEP\tWOULD BE\tSLEEPS\tWAKES\tP50\tP95\tMIS-SLEEPS\tCORE-HOURS\tGIB-HOURS")
	for _, row := range r.Servers {
		name := row.Namespace + "/" + row.Name
		if row.Gone {
			name += " (gone)"
		}
		printRow(table, name, row)
	}
	printRow(table, "total", r.Total)
	return table.Flush()
}

func printRow(table io.Writer, name string, row wire.ReportRow) {
	misSleeps := "0"
	if row.AutomaticSleeps > 0 {
		misSleeps = fmt.Sprintf("%d of %d (%.0f%%)", row.MisSleeps, row.AutomaticSleeps, 100*row.MisSleepRate)
	}
	slept, would := row.Asleep, row.WouldBeAsleep
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", name,
		lasting(float64(slept.Seconds)), lasting(float64(would.Seconds)), both(row.Sleeps, row.WouldSleeps, "%d"),
		row.Wakes, lasting(row.WakeP50Seconds), lasting(row.WakeP95Seconds), misSleeps,
		both(slept.CPUCoreHours, would.CPUCoreHours, "%.2f"), both(slept.MemoryGiBHours, would.MemoryGiBHours, "%.2f"))
}

func lasting(seconds float64) string {
	switch {
	case seconds == 0:
		return "-"
	case seconds < 60:
		return fmt.Sprintf("%.1fs", seconds)
	}
	return explain.Span(time.Duration(seconds * float64(time.Second)))
}

// both shows what was, and in brackets what would have been.
func both[N cmp.Ordered](was, would N, format string) string {
	text := fmt.Sprintf(format, was)
	if would != *new(N) {
		text += " (" + fmt.Sprintf(format, would) + ")"
	}
	return text
}
