package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
	"idle-scaler/policy/explain"
)

// manyTakes is how much longer it may take to wake all servers, or to read all their events, than
// to ask about one.
const manyTakes = 30 * time.Second

func wakeCommand() *cobra.Command {
	c, all := caller{extra: manyTakes}, false
	const short = "Wake all servers that idle-scaler put to sleep automatically"
	cmd := c.command("wake --all", short, 0, func(ctx context.Context, _ []wire.ID) error {
		woken, err := c.wake(ctx)
		if err != nil {
			return err
		}
		c.printLeft(woken.Left)
		if c.wait == 0 {
			return nil
		}
		c.showProgress(ctx, woken.Servers)
		return c.await(ctx, woken.Servers, c.wait, "ready", func(s wire.ServerSummary) bool { return s.ReadyReplicas > 0 })
	})
	cmd.Long = short + `.

Servers that somebody stopped, holds asleep, or set to zero without idle-scaler stay at zero, and are
listed. To keep all servers awake afterwards, run "idle-scaler pause --all" first.`
	cmd.Example = `  idle-scaler wake --all
  idle-scaler wake --all -n team-a --wait 2m`
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if !all || len(args) > 0 {
			return usage(`it is "idle-scaler wake --all", with -n NAMESPACE for those of one; ` +
				`to wake a single server, run "idle-scaler start NAME"`)
		}
		return nil
	}
	c.prepare = func(*problems, []string) { c.ignoreEnvironment() }
	cmd.Flags().BoolVar(&all, "all", false, "all servers, or all of -n NAMESPACE")
	cmd.Flags().DurationVar(&c.wait, "wait", 0, "wait this long until each has a ready pod")
	c.addSender(cmd)
	return cmd
}

// wake wakes the sleeping servers, and prints how many.
func (c *caller) wake(ctx context.Context) (wire.WakeAnswer, error) {
	woken, err := c.Wake(ctx, c.namespace, c.by)
	if err == nil {
		fmt.Fprintf(c.out, "started: %s\n", explain.Count(woken.Started, "server"))
	}
	return woken, err
}

// landsWithin is how long a write to Kubernetes that began before a pause may take to put a server
// to sleep. A pause waits for decisions, not for writes. A slower write, as with slow admission
// webhooks, is missed.
const landsWithin = 2 * time.Second

func disableCommand() *cobra.Command {
	c := caller{extra: manyTakes}
	const short = "Prepare to remove idle-scaler for good: wake all that it put to sleep, and let nothing sleep again"
	cmd := c.command("disable", short, 0, func(ctx context.Context, _ []wire.ID) error { return c.disable(ctx) })
	cmd.Long = short + `.

It pauses all servers, wakes those that sleep, and returns when each of them has its replicas again.
Servers that somebody stopped or holds asleep stay at zero. They are listed, with how to start them. You
may repeat it. "idle-scaler resume --all" undoes it.`
	c.prepare = func(p *problems, _ []string) {
		c.ignoreEnvironment()
		p.require(c.namespace == "", "disable is about all servers: leave out -n")
		p.require(c.wait != 0, "--wait %s is not above 0: write how long to wait, like 5m", c.wait)
	}
	cmd.Example = `  idle-scaler disable && kubectl delete -k deploy/base`
	cmd.Flags().DurationVar(&c.wait, "wait", 5*time.Minute, "wait this long until all have their replicas")
	c.addSender(cmd)
	return cmd
}

// disable leaves no server at zero that idle-scaler put there automatically.
func (c *caller) disable(ctx context.Context) error {
	if _, err := c.Pause(ctx, wire.ID{}, c.by); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "paused: all servers")
	select {
	case <-time.After(landsWithin):
	case <-ctx.Done():
		return client.ErrInterrupted
	}
	late := time.Now().Add(c.wait)
	woken, err := c.wake(ctx)
	for err == nil && woken.Started > 0 { // an answer names a thousand servers at most
		awake := func(s wire.ServerSummary) bool { return s.Replicas > 0 }
		if err := c.await(ctx, woken.Servers, time.Until(late), "awake", awake); err != nil {
			return fmt.Errorf("%w\nidle-scaler is still needed: look at why, and repeat this", err)
		}
		woken, err = c.wake(ctx)
	}
	if err != nil {
		return err
	}
	c.printLeft(woken.Left)
	if len(woken.Left) > 0 {
		fmt.Fprintln(c.out, "start each of them with: idle-scaler start NAMESPACE/NAME\n"+
			"or without idle-scaler: kubectl -n NAMESPACE scale deployment NAME --replicas 1")
	}
	fmt.Fprintln(c.out, "no server sleeps automatically any more: idle-scaler can be removed")
	return nil
}

// printLeft lists the servers that stay at zero, and why.
func (c *caller) printLeft(left []string) {
	if len(left) > 0 {
		fmt.Fprintf(c.out, "left at zero: %s\n  %s\n", explain.Count(len(left), "server"), strings.Join(left, "\n  "))
	}
}

// awaitInterval is the time between two looks at servers that somebody waits for.
const awaitInterval = 500 * time.Millisecond

// await returns when done holds for each server, named NAMESPACE/NAME. It forgets a server that was
// deleted.
func (c *caller) await(
	ctx context.Context, names []string, wait time.Duration, what string, done func(wire.ServerSummary) bool,
) error {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		servers, err := c.List(ctx, c.namespace, "")
		if err != nil {
			return err
		}
		var missing []string
		var errs []error
		for _, s := range servers {
			if name := s.Namespace + "/" + s.Name; slices.Contains(names, name) && !done(s) {
				missing = append(missing, name)
				text := fmt.Sprintf("%s: not %s after %s: %s", name, what, wait.Round(time.Second), s.Failure)
				errs = append(errs, errors.New(strings.TrimSuffix(text, ": ")))
			}
		}
		if names = missing; len(names) == 0 {
			return nil
		}
		select {
		case <-time.After(awaitInterval):
		case <-waiting.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return client.ErrInterrupted
			}
			return errors.Join(errs...)
		}
	}
}
