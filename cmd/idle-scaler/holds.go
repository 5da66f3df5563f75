package main

import (
	"context"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
)

func holdCommand() *cobra.Command {
	var c caller
	var awake, asleep string
	cmd := c.order("hold NAME...", "Keep servers awake, or asleep, until a time", 1,
		func(ctx context.Context, id wire.ID) (wire.Answer, error) {
			return c.Hold(ctx, id, asleep != "", awake+asleep, c.by)
		})
	c.prepare = func(p *problems, _ []string) {
		p.require((awake == "") != (asleep == ""),
			"say how long: either --awake-until or --asleep-until, with 2h, 18:00 or 2026-01-02T18:00:00Z")
	}
	cmd.Long = `Keep servers awake, or asleep, until a time.

The time is a duration (2h), a time of day in the time zone of the server (18:00, the next one), or an
instant (2026-01-02T18:00:00Z). The newest order counts: a hold replaces an earlier stop or hold, and a
later stop, start, scale or release ends it. A server that is held awake wakes now. No ping wakes a
server that is held asleep.`
	cmd.Example = `  idle-scaler hold --awake-until 18:00 --reason "demo" team-a/github
  idle-scaler hold --asleep-until 2h team-a/github`
	cmd.Flags().StringVar(&awake, "awake-until", "", "keep them awake until then, like 18:00 or 2h")
	cmd.Flags().StringVar(&asleep, "asleep-until", "", "keep them asleep until then, like 18:00 or 2h")
	return cmd
}

func releaseCommand() *cobra.Command {
	var c caller
	cmd := c.order("release NAME...", "End the holds of servers", 1,
		func(ctx context.Context, id wire.ID) (wire.Answer, error) { return c.Release(ctx, id, c.by) })
	cmd.Example = "  idle-scaler release team-a/github"
	return cmd
}
