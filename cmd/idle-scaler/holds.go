package main

import (
	"context"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
)

func holdCommand() *cobra.Command {
	var c caller
	var awake, asleep string
	cmd := c.command("hold NAME...", "Keep servers awake, or asleep, until a time", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		until := awake
		if asleep != "" {
			until = asleep
		}
		return c.order(ctx, cmd, ids, 0, func(ctx context.Context, id wire.ID) (string, error) {
			return said(c.Hold(ctx, id, asleep != "", until, c.by()))
		})
	})
	c.check = func([]string) error {
		if (awake == "") == (asleep == "") {
			return usage("say how long: either --awake-until or --asleep-until, with 2h, 18:00 or 2026-01-02T18:00:00Z")
		}
		return nil
	}
	cmd.Long = `Keep servers awake, or asleep, until a time.

The time is a duration (2h), a time of the day in the time zone of the server (18:00: the next time that a clock there shows it), or an
instant (2026-01-02T18:00:00Z). The newest order counts: a hold ends a former stop or hold, and a stop, start, scale or release ends it.
A server that is held asleep is woken by no ping; one that is held awake is woken now.`
	cmd.Example = `  idle-scaler hold --awake-until 18:00 --reason "demo" team-a/github
  idle-scaler hold --asleep-until 2h team-a/github`
	cmd.Flags().StringVar(&awake, "awake-until", "", "keep it awake until then, like 18:00 or 2h")
	cmd.Flags().StringVar(&asleep, "asleep-until", "", "keep it asleep until then, like 18:00 or 2h")
	c.sender(cmd)
	return cmd
}

func releaseCommand() *cobra.Command {
	var c caller
	cmd := c.command("release NAME...", "End the holds of servers", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		return c.order(ctx, cmd, ids, 0, func(ctx context.Context, id wire.ID) (string, error) {
			return said(c.Release(ctx, id, c.by()))
		})
	})
	cmd.Example = "  idle-scaler release team-a/github"
	c.sender(cmd)
	return cmd
}
