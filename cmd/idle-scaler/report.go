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
	var c caller
	var kind string
	over := span(day)
	cmd := c.command("report", "Say what sleep came to: hours asleep, what they freed, wakes, and sleeps that were mistakes", 0, func(ctx context.Context, cmd *cobra.Command, _ []wire.ID) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout+manyFor)
		defer cancel()
		r, err := c.Report(ctx, c.namespace, time.Duration(over))
		if err != nil {
			return err
		}
		if kind != "table" {
			return encode(cmd.OutOrStdout(), kind, r)
		}
		return printReport(cmd.OutOrStdout(), r)
	})
	cmd.Long = `Say what sleep came to: hours asleep, what they freed, wakes, and sleeps that were mistakes.

What is freed are the requests of the pods that did not run, in core hours and GiB hours. P50 and P95 are from the decision to wake to the first
ready replica. A mis-sleep was followed by demand within 2 minutes. What is in brackets would have been, were it not for dry-run.`
	cmd.Example = `  idle-scaler report --over 7d
  idle-scaler report -n team-a -o json`
	cmd.Flags().Var(&over, "over", "how far back, like 24h or 7d; events are kept for 7 days")
	output(cmd, &kind, "table", "json", "yaml")
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
	would := row.WouldBeAsleep
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", name,
		lasting(row.Asleep.Seconds), lasting(would.Seconds), both(row.Sleeps, row.WouldSleeps, "%d"), row.Wakes,
		seconds(row.WakeP50Seconds), seconds(row.WakeP95Seconds), misSleeps,
		both(row.Asleep.CPUCoreHours, would.CPUCoreHours, "%.2f"), both(row.Asleep.MemoryGiBHours, would.MemoryGiBHours, "%.2f"))
}

func lasting(seconds int64) string {
	if seconds == 0 {
		return "-"
	}
	return explain.Span(time.Duration(seconds) * time.Second)
}

func seconds(s float64) string {
	if s == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fs", s)
}

// both shows what was, and in brackets what would have been.
func both[N cmp.Ordered](was, would N, format string) string {
	text := fmt.Sprintf(format, was)
	if would == *new(N) {
		return text
	}
	return text + " (" + fmt.Sprintf(format, would) + ")"
}
