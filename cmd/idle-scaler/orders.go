package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/wire"
)

func startCommand() *cobra.Command {
	var c caller
	var wait time.Duration
	cmd := c.command("start NAME...", "Start servers, with the replicas that they had", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		return c.order(ctx, cmd, ids, wait, func(ctx context.Context, id wire.ID) (string, error) {
			return said(c.Start(ctx, id, wait, c.by()))
		})
	})
	c.check = func([]string) error { return notNegative(wait) }
	cmd.Example = `  idle-scaler start --wait 60s team-a/github`
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long for the first ready pod")
	c.sender(cmd)
	return cmd
}

// forceFor is how much longer a forced stop may take: Kubernetes is given some seconds to take note that no pods are wanted.
const forceFor = 15 * time.Second

func stopCommand() *cobra.Command {
	var c caller
	var force bool
	cmd := c.command("stop NAME...", "Stop servers until they are started or scaled", 1, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		wait := time.Duration(0)
		if force {
			wait = forceFor
		}
		return c.order(ctx, cmd, ids, wait, func(ctx context.Context, id wire.ID) (string, error) {
			return said(c.Stop(ctx, id, force, c.by()))
		})
	})
	cmd.Example = `  idle-scaler stop --force --reason "too loud" team-a/github`
	cmd.Flags().BoolVar(&force, "force", false, "end their pods at once, without the grace period")
	c.sender(cmd)
	return cmd
}

func scaleCommand() *cobra.Command {
	c := caller{leading: 1}
	var wait time.Duration
	var replicas int
	cmd := c.command("scale REPLICAS NAME...", "Give servers a number of replicas; 0 stops them", 2, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		return c.order(ctx, cmd, ids, wait, func(ctx context.Context, id wire.ID) (string, error) {
			return said(c.Scale(ctx, id, replicas, wait, c.by()))
		})
	})
	c.check = func(args []string) (err error) {
		if replicas, err = strconv.Atoi(args[0]); err != nil || replicas < 0 {
			return usage("replicas %q: write a whole number of 0 or more, before the names", args[0])
		}
		return notNegative(wait)
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 { // the number
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.complete(cmd, args[1:], typed)
	}
	cmd.Example = `  idle-scaler scale 3 team-a/github`
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long until all are ready")
	c.sender(cmd)
	return cmd
}

func pingCommand() *cobra.Command {
	var c caller
	cmd := c.command("ping NAME...", "Say that servers are used now, which wakes those that sleep", 1, func(ctx context.Context, _ *cobra.Command, ids []wire.ID) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		return c.Ping(ctx, ids...)
	})
	cmd.Example = `  idle-scaler ping team-a/github team-b/slack`
	return cmd
}

// order sends an order to several servers and prints what became of each, which send returns. On a terminal a long wait shows what is
// waited for.
func (c *caller) order(ctx context.Context, cmd *cobra.Command, ids []wire.ID, wait time.Duration, send func(context.Context, wire.ID) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+wait)
	defer cancel()
	if wait > 0 && isTerminal(cmd.ErrOrStderr()) {
		names := make([]string, len(ids))
		for i, id := range ids {
			names[i] = id.String()
		}
		c.showProgress(ctx, cmd.ErrOrStderr(), names)
	}
	return c.each(ctx, ids, func(ctx context.Context, id wire.ID) (string, error) {
		did, err := send(ctx, id)
		return fmt.Sprintf("%s %s", id, did), err
	}, cmd.OutOrStdout())
}

// said is what an order came to, unless it failed.
func said(a wire.Answer, err error) (string, error) { return outcome(a), err }

// outcome says what an order came to: until when a hold lasts, and which order it ends, in the words of the event.
func outcome(a wire.Answer) string {
	if a.Event == nil || a.Server == nil {
		return "is ordered"
	}
	text := ""
	if a.Event.Text != "" {
		text = ": " + a.Event.Text
	}
	did := fmt.Sprintf("%s: %d → %d replicas", a.Event.Type, a.Event.From, a.Event.To)
	if a.Event.From == a.Event.To {
		did = fmt.Sprintf("%s: %d replicas", a.Event.Type, a.Event.To)
	}
	if a.Event.To == 0 {
		return did + text // those that are ready still are being ended
	}
	return fmt.Sprintf("%s, %d ready%s", did, a.Server.ReadyReplicas, text)
}

// showProgress shows why servers, named NS/NAME, are not ready yet, until ctx is done. Only their namespaces are watched: a tenant may not
// watch others. It is a comfort: without the right to read events there is none.
func (c *caller) showProgress(ctx context.Context, out io.Writer, names []string) {
	waited, namespaces := make(map[string]bool), make(map[string]bool)
	for _, name := range names {
		namespace, _, _ := strings.Cut(name, "/")
		waited[name], namespaces[namespace] = true, true
	}
	for namespace := range namespaces {
		go func() {
			err := c.Watch(ctx, namespace, func(e wire.Event) error {
				if e.Type == wire.EventProgress && waited[e.Server.String()] {
					fmt.Fprintf(out, "%s waits: %s\n", e.Server, e.Text)
				}
				return nil
			})
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(out, "no progress is shown: %v\n", err)
			}
		}()
	}
}
