package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
)

func pauseCommand() *cobra.Command {
	c := caller{extra: wire.PauseTakes} // the answer comes when the pause is in force
	cmd := c.pause("pause", "paused", (*client.Client).Pause)
	cmd.Short = "The emergency switch: put no server to sleep automatically, until resume"
	cmd.Long = cmd.Short + `.

Sleeping servers still wake, and commands (stop, hold --asleep-until) still work. The pause of a
namespace, or of all, also counts for servers that are created later. NATS keeps it: no restart ends it.`
	cmd.Example = `  idle-scaler pause --all --reason "incident 42"
  idle-scaler pause -n team-a
  idle-scaler pause team-a/github`
	return cmd
}

func resumeCommand() *cobra.Command {
	var c caller
	cmd := c.pause("resume", "resumed", (*client.Client).Resume)
	cmd.Short = "End a pause"
	cmd.Long = `End a pause.

It ends only the pause of what it names: a server stays paused while its namespace, or all, is paused.`
	cmd.Example = `  idle-scaler resume --all
  idle-scaler resume -n team-a
  idle-scaler resume team-a/github`
	return cmd
}

// pause returns a command about single servers, the servers of a namespace, or all.
func (c *caller) pause(
	verb, done string, do func(*client.Client, context.Context, wire.ID, wire.Sender) (wire.PauseAnswer, error),
) *cobra.Command {
	var all bool
	cmd := c.command(verb+" {NAME... | -n NAMESPACE | --all}", "", 0, func(ctx context.Context, ids []wire.ID) error {
		if len(ids) > 0 {
			return c.each(ctx, ids, func(ctx context.Context, id wire.ID) (string, error) {
				_, err := do(c.Client, ctx, id, c.by)
				return fmt.Sprintf("%s: %s", done, id), err
			})
		}
		a, err := do(c.Client, ctx, wire.ID{Namespace: c.namespace}, c.by)
		if err != nil {
			return err
		}
		scope := "all servers"
		if c.namespace != "" {
			scope += " of " + c.namespace
		}
		if a.Servers == 0 {
			scope += ", of which there are none now"
		}
		fmt.Fprintf(c.out, "%s: %s\n", done, scope)
		return nil
	})
	cmd.Args = cobra.ArbitraryArgs // prepare checks them: they depend on the environment
	cmd.ValidArgsFunction = c.complete
	c.prepare = func(p *problems, args []string) {
		if all {
			c.ignoreEnvironment()
		}
		some := len(args) > 0 || c.namespace != ""
		p.require(!all || !some, "--all is all servers: leave out the names and -n, or --all")
		p.require(all || some, "say which servers: names, -n NAMESPACE for all of a namespace, or --all")
	}
	cmd.Flags().BoolVar(&all, "all", false, "all servers")
	c.addSender(cmd)
	return cmd
}
