package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
	"idle-scaler/policy/explain"
)

func leaseCommand() *cobra.Command {
	var c caller
	var holder string
	var ttl time.Duration
	var end bool
	const short = "Report that servers are in use until a time, which wakes them and keeps them awake"
	cmd := c.command("lease NAME...", short, 1, func(ctx context.Context, ids []wire.ID) error {
		did := fmt.Sprintf("is leased to %s for %s", holder, explain.Span(ttl))
		if end {
			ttl, did = 0, fmt.Sprintf("is not leased to %s any more", holder)
		}
		return c.each(ctx, ids, func(ctx context.Context, id wire.ID) (string, error) {
			return fmt.Sprintf("%s %s", id, did), c.Lease(ctx, holder, id, ttl)
		})
	})
	cmd.Long = short + `.

A lease belongs to a holder, like a gateway or a session. The newest lease of a holder counts: the same
command renews it, or makes it shorter, and --end ends it. A server with a live lease does not
sleep. NATS keeps the lease, so this command needs no running daemon.`
	cmd.Example = `  idle-scaler lease --ttl 1h team-a/browser
  idle-scaler lease --ttl 5m --holder gw-1 team-a/browser team-a/search
  idle-scaler lease --end --holder gw-1 team-a/browser`
	c.prepare = func(p *problems, _ []string) {
		p.require(!end || !cmd.Flags().Changed("ttl"), "write either --ttl or --end")
		p.require(ttl > 0, "--ttl %s is not above 0: write how long it is in use, like 5m, or --end", ttl)
		p.require(holder != "", "write who uses it: --holder ID")
		err := errors.Join(wire.CheckHolder(holder), wire.CheckTTL(ttl))
		p.require(err == nil || holder == "" || ttl <= 0, "%w", err)
	}
	cmd.Flags().StringVar(&holder, "holder", ownHolder(), "who uses them: a gateway, a session, a person")
	cmd.Flags().DurationVar(&ttl, "ttl", 5*time.Minute, "for how long from now, at most 24h")
	cmd.Flags().BoolVar(&end, "end", false, "end the lease of this holder")
	return cmd
}

// ownHolder returns USER@HOST, or nothing if that can't be a holder. A holder has no dots, so the
// domain of the machine is left out.
func ownHolder() string {
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	holder := userName() + "@" + host
	if wire.CheckHolder(holder) != nil {
		return ""
	}
	return holder
}
