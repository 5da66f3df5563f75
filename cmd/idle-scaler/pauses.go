package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
)

func pauseCommand() *cobra.Command {
	cmd := pauses("pause", "paused", (*client.Client).Pause)
	cmd.Short = "The emergency switch: servers are not put to sleep by themselves, until resume"
	cmd.Long = `The emergency switch: servers are not put to sleep by themselves, until resume.

Those that sleep are woken as ever, and commands (stop, hold --asleep-until) work. The pause of a namespace, or of all, is for servers that come
later too. It is kept in NATS: no restart ends it.`
	cmd.Example = `  idle-scaler pause --all --reason "incident 42"
  idle-scaler pause -n team-a
  idle-scaler pause team-a/github`
	return cmd
}

func resumeCommand() *cobra.Command {
	cmd := pauses("resume", "resumed", (*client.Client).Resume)
	cmd.Short = "End a pause"
	cmd.Long = `End a pause.

It ends the pause of just what it names: a server stays paused as long as its namespace, or all, is.`
	cmd.Example = `  idle-scaler resume --all
  idle-scaler resume -n team-a
  idle-scaler resume team-a/github`
	return cmd
}

// pauses makes a command about single servers, those of a namespace, or all.
func pauses(verb, done string, do func(*client.Client, context.Context, wire.ID, wire.Sender) (wire.PauseAnswer, error)) *cobra.Command {
	var c caller
	var all bool
	cmd := c.command(verb+" {NAME... | -n NAMESPACE | --all}", "", 0, func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error {
		takes := time.Duration(0)
		if verb == "pause" {
			takes = wire.PauseTakes // it is answered when it is in force
		}
		ctx, cancel := context.WithTimeout(ctx, c.timeout+takes)
		defer cancel()
		if len(ids) > 0 {
			return c.each(ctx, ids, func(ctx context.Context, id wire.ID) (string, error) {
				_, err := do(c.Client, ctx, id, c.by())
				return fmt.Sprintf("%s: %s", done, id), err
			}, cmd.OutOrStdout())
		}
		a, err := do(c.Client, ctx, wire.ID{Namespace: c.namespace}, c.by())
		if err != nil {
			return err
		}
		none := ""
		if a.Servers == 0 {
			none = ", of which there are none now"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s%s\n", done, c.scope(), none)
		return nil
	})
	cmd.Args = cobra.ArbitraryArgs // what they may be is known when the environment has been read
	c.check = func(args []string) error {
		if all {
			c.widen()
		}
		switch {
		case all && (len(args) > 0 || c.namespace != ""):
			return usage("--all is all servers: leave out the names and -n, or --all")
		case !all && len(args) == 0 && c.namespace == "":
			return usage("say which servers: names, -n NAMESPACE for all of a namespace, or --all")
		}
		return nil
	}
	cmd.ValidArgsFunction = c.complete
	cmd.Flags().BoolVar(&all, "all", false, "all servers")
	c.sender(cmd)
	return cmd
}

// scope says which servers are meant when none are named.
func (c *caller) scope() string {
	if c.namespace == "" {
		return "all servers"
	}
	return "all servers of " + c.namespace
}
