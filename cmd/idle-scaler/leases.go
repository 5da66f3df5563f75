package main

import (
	"context"
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
	cmd := c.command("lease NAME...", "Say that servers are in use until a time: that wakes them, and keeps them awake without pings", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		did := fmt.Sprintf("is leased to %s for %s", holder, explain.Span(ttl))
		if end {
			ttl, did = 0, fmt.Sprintf("is not leased to %s any more", holder)
		}
		return c.order(ctx, cmd, ids, 0, func(ctx context.Context, id wire.ID) (string, error) {
			return did, c.Lease(ctx, holder, id, ttl)
		})
	})
	cmd.Long = `Say that servers are in use until a time: that wakes them, and keeps them awake without pings.

A lease belongs to a holder, like a gateway or a session. What the holder says last counts: the same command renews the lease, or makes it
shorter, and --end ends it. A server sleeps when no lease on it is live and it is idle. It needs no daemon: NATS keeps it.`
	cmd.Example = `  idle-scaler lease --ttl 1h team-a/browser
  idle-scaler lease --ttl 5m --holder gw-1 team-a/browser team-a/search
  idle-scaler lease --end --holder gw-1 team-a/browser`
	c.check = func([]string) error {
		switch {
		case end && cmd.Flags().Changed("ttl"):
			return usage("write either --ttl or --end")
		case ttl <= 0:
			return usage("--ttl %s is not above 0: write how long it is in use, like 5m, or --end", ttl)
		case holder == "":
			return usage("write who uses it: --holder ID")
		}
		for _, err := range []error{wire.CheckHolder(holder), wire.CheckTTL(ttl)} {
			if err != nil {
				return coded{err, exitUsage}
			}
		}
		return nil
	}
	cmd.Flags().StringVar(&holder, "holder", ownHolder(), "who uses them: a gateway, a session, a person")
	cmd.Flags().DurationVar(&ttl, "ttl", 5*time.Minute, "for how long from now, at most 24h")
	cmd.Flags().BoolVar(&end, "end", false, "end the lease of this holder")
	return cmd
}

// ownHolder is the user on this machine as the holder of a lease, or nothing when they have names that can't be one. Without its domain the name of
// the machine has no dots, which a holder must not have.
func ownHolder() string {
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	holder := whoami() + "@" + host
	if wire.CheckHolder(holder) != nil {
		return ""
	}
	return holder
}
