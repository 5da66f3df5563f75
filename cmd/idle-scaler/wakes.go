package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
)

// manyFor is how much longer it may take to wake all servers, or to read all their events, than to ask for one.
const manyFor = 30 * time.Second

func wakeCommand() *cobra.Command {
	var c caller
	var all bool
	var wait time.Duration
	cmd := c.command("wake --all", "Wake all servers that idle-scaler has put to sleep by itself", 0, func(ctx context.Context, cmd *cobra.Command, _ []wire.ID) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout+manyFor+wait)
		defer cancel()
		woken, err := c.Wake(ctx, c.namespace, c.by())
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s started\n", count(woken.Started, "server is", "servers are"))
		printLeft(cmd.OutOrStdout(), woken.Left)
		if wait == 0 {
			return nil
		}
		if isTerminal(cmd.ErrOrStderr()) {
			c.showProgress(ctx, cmd.ErrOrStderr(), woken.Servers)
		}
		return c.await(ctx, woken.Servers, wait, "ready", func(s wire.ServerSummary) bool { return s.ReadyReplicas > 0 })
	})
	cmd.Long = `Wake all servers that idle-scaler has put to sleep by itself.

Those that somebody stopped, or holds asleep, or that somebody else made zero, are left as they are, and named. To keep them all awake
afterwards, "idle-scaler pause --all" first.`
	cmd.Example = `  idle-scaler wake --all
  idle-scaler wake --all -n team-a --wait 2m`
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if !all || len(args) > 0 {
			return usage(`it is "idle-scaler wake --all", with -n NAMESPACE for those of one; a single server is woken by "idle-scaler start NAME"`)
		}
		return nil
	}
	c.check = func([]string) error {
		c.widen()
		return notNegative(wait)
	}
	cmd.Flags().BoolVar(&all, "all", false, "all servers, or all of -n NAMESPACE")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long until each has a ready pod")
	c.sender(cmd)
	return cmd
}

// settles is how long a sleep is given to come to be that was on its way to Kubernetes when the pause began: a pause waits for decisions, not for
// requests. One that takes longer, as with slow admission webhooks, is not seen.
const settles = 2 * time.Second

func disableCommand() *cobra.Command {
	var c caller
	var wait time.Duration
	cmd := c.command("disable", "Before idle-scaler is removed for good: wake all that it has put to sleep, and let nothing sleep again", 0, func(ctx context.Context, cmd *cobra.Command, _ []wire.ID) error {
		return c.disable(ctx, cmd.OutOrStdout(), wait)
	})
	cmd.Long = `Before idle-scaler is removed for good: wake all that it has put to sleep, and let nothing sleep again.

It pauses all servers, wakes those that sleep, and returns when each of them has its replicas again. Those that somebody stopped or holds asleep
stay at zero: they are named, with how to start them. It may be repeated. "idle-scaler resume --all" takes it back.`
	c.check = func([]string) error {
		c.widen()
		switch {
		case c.namespace != "":
			return usage("disable is about all servers: leave out -n")
		case wait <= 0:
			return usage("--wait %s is not above 0: write how long to wait, like 5m", wait)
		}
		return nil
	}
	cmd.Example = `  idle-scaler disable && kubectl delete -k deploy/base`
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "wait this long until all have their replicas")
	c.sender(cmd)
	return cmd
}

// disable leaves nothing at zero that idle-scaler has put there by itself.
func (c *caller) disable(ctx context.Context, out io.Writer, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+manyFor+wait)
	defer cancel()
	if _, err := c.Pause(ctx, wire.ID{}, c.by()); err != nil {
		return err
	}
	fmt.Fprintln(out, "paused: all servers")
	select {
	case <-time.After(settles):
	case <-ctx.Done():
		return client.ErrInterrupted
	}
	var woken wire.WakeAnswer
	for late := time.Now().Add(wait); ; { // until there is nothing left to wake: an answer names a thousand servers at most
		var err error
		if woken, err = c.Wake(ctx, "", c.by()); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s started\n", count(woken.Started, "server is", "servers are"))
		if woken.Started == 0 {
			break
		}
		if err := c.await(ctx, woken.Servers, time.Until(late), "awake", func(s wire.ServerSummary) bool { return s.Replicas > 0 }); err != nil {
			return fmt.Errorf("%w\nidle-scaler is still needed: look at why, and repeat this", err)
		}
	}
	printLeft(out, woken.Left)
	if len(woken.Left) > 0 {
		fmt.Fprintln(out, "each of them is started by: idle-scaler start NAMESPACE/NAME, and without idle-scaler by: kubectl -n NAMESPACE scale deployment NAME --replicas 1")
	}
	fmt.Fprintln(out, "nothing sleeps by itself any more: idle-scaler can be removed")
	return nil
}

// printLeft names the servers that stay at zero, and why.
func printLeft(out io.Writer, left []string) {
	if len(left) == 0 {
		return
	}
	fmt.Fprintf(out, "%s left at zero:\n", count(len(left), "server is", "servers are"))
	for _, one := range left {
		fmt.Fprintln(out, "  "+one)
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// awaitInterval is how often it is looked whether servers are what is waited for.
const awaitInterval = 500 * time.Millisecond

// await waits until servers, named NS/NAME, are what is waited for. One that is gone is waited for no longer.
func (c *caller) await(ctx context.Context, names []string, wait time.Duration, what string, is func(wire.ServerSummary) bool) error {
	missing := make(map[string]string) // why, by name
	for _, name := range names {
		missing[name] = ""
	}
	late := time.After(wait)
	for len(missing) > 0 {
		servers, err := c.List(ctx, c.namespace, "")
		if err != nil {
			return err
		}
		still := make(map[string]string)
		for _, s := range servers {
			name := s.Namespace + "/" + s.Name
			if _, waited := missing[name]; waited && !is(s) {
				still[name] = s.Failure
			}
		}
		if missing = still; len(missing) == 0 {
			break
		}
		select {
		case <-time.After(awaitInterval):
		case <-late:
			return notYet(missing, wait, what)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return client.ErrInterrupted
			}
			return notYet(missing, wait, what)
		}
	}
	return nil
}

func notYet(missing map[string]string, wait time.Duration, what string) error {
	errs := make([]error, 0, len(missing))
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		errs = append(errs, errors.New(strings.TrimSuffix(fmt.Sprintf("%s: not %s after %s: %s", name, what, wait.Round(time.Second), missing[name]), ": ")))
	}
	return errors.Join(errs...)
}
