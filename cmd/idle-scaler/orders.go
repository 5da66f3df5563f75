package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
	"idle-scaler/policy/explain"
)

// sendFunc sends an order about one server.
type sendFunc func(context.Context, wire.ID) (wire.Answer, error)

// order returns a command that sends the same order to each server, and prints what it did.
func (c *caller) order(use, short string, minArgs int, send sendFunc) *cobra.Command {
	cmd := c.command(use, short, minArgs, func(ctx context.Context, ids []wire.ID) error {
		names := make([]string, len(ids))
		for i, id := range ids {
			names[i] = id.String()
		}
		c.showProgress(ctx, names)
		return c.each(ctx, ids, func(ctx context.Context, id wire.ID) (string, error) {
			a, err := send(ctx, id)
			return fmt.Sprintf("%s %s", id, outcome(a)), err
		})
	})
	c.addSender(cmd)
	return cmd
}

func startCommand() *cobra.Command {
	var c caller
	cmd := c.order("start NAME...", "Start servers, with the replicas from before their sleep", 1,
		func(ctx context.Context, id wire.ID) (wire.Answer, error) { return c.Start(ctx, id, c.wait, c.by) })
	cmd.Example = `  idle-scaler start --wait 60s team-a/github`
	cmd.Flags().DurationVar(&c.wait, "wait", 0, "wait this long for the first ready pod")
	return cmd
}

// forceTakes is how much longer the answer to a forced stop may take: Kubernetes gets some seconds
// to see that no pods are wanted before they are deleted.
const forceTakes = 15 * time.Second

func stopCommand() *cobra.Command {
	var c caller
	var force bool
	cmd := c.order("stop NAME...", "Stop servers until they are started or scaled", 1,
		func(ctx context.Context, id wire.ID) (wire.Answer, error) { return c.Stop(ctx, id, force, c.by) })
	c.prepare = func(*problems, []string) {
		if force {
			c.extra = forceTakes
		}
	}
	cmd.Example = `  idle-scaler stop --force --reason "too loud" team-a/github`
	cmd.Flags().BoolVar(&force, "force", false, "end their pods at once, without the grace period")
	return cmd
}

func scaleCommand() *cobra.Command {
	var c caller
	var replicas int
	cmd := c.order("scale REPLICAS NAME...", "Set the number of replicas of servers; 0 stops them", 2,
		func(ctx context.Context, id wire.ID) (wire.Answer, error) {
			return c.Scale(ctx, id, replicas, c.wait, c.by)
		})
	c.prepare = func(p *problems, args []string) {
		var err error
		replicas, err = strconv.Atoi(args[0])
		p.require(err == nil && replicas >= 0,
			"replicas %q: write a whole number of 0 or more, before the names", args[0])
	}
	cmd.Example = `  idle-scaler scale 3 team-a/github`
	cmd.Flags().DurationVar(&c.wait, "wait", 0, "wait this long until all replicas are ready")
	return cmd
}

func pingCommand() *cobra.Command {
	var c caller
	cmd := c.command("ping NAME...", "Report that servers are used now, which wakes those that sleep", 1,
		func(ctx context.Context, ids []wire.ID) error { return c.Ping(ctx, ids...) })
	cmd.Example = `  idle-scaler ping team-a/github team-b/slack`
	return cmd
}

// outcome says what an order did. The text of the event says until when a hold lasts, and which
// order it ends.
func outcome(a wire.Answer) string {
	if a.Event == nil || a.Server == nil {
		return "is ordered"
	}
	did := fmt.Sprintf("%s: %s", a.Event.Type, explain.Count(a.Event.To, "replica"))
	if a.Event.From != a.Event.To {
		did = fmt.Sprintf("%s: %d → %s", a.Event.Type, a.Event.From, explain.Count(a.Event.To, "replica"))
	}
	if a.Event.To > 0 {
		did += fmt.Sprintf(", %d ready", a.Server.ReadyReplicas)
	}
	if a.Event.Text != "" {
		did += ": " + a.Event.Text
	}
	return did
}

// showProgress prints why servers, named NAMESPACE/NAME, are not ready yet, while a person waits
// for them. It watches only their namespaces, because a tenant may not watch others. Without the
// right to read events the wait goes on without it.
func (c *caller) showProgress(ctx context.Context, names []string) {
	if c.wait == 0 || !c.terminal {
		return
	}
	waited, namespaces := make(map[string]bool), make(map[string]bool)
	for _, name := range names {
		namespace, _, _ := strings.Cut(name, "/")
		waited[name], namespaces[namespace] = true, true
	}
	for namespace := range namespaces {
		go func() {
			err := c.Watch(ctx, namespace, func(e wire.Event) error {
				if e.Type == wire.EventProgress && waited[e.Server.String()] {
					fmt.Fprintf(c.errs, "%s waits: %s\n", e.Server, e.Text)
				}
				return nil
			})
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(c.errs, "no progress is shown: %v\n", err)
			}
		}()
	}
}
