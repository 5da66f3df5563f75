package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
)

// caller holds what the client commands share: how to reach the daemon, which servers are meant,
// and who asks.
type caller struct {
	natsConfig
	layers    *layers
	namespace string
	timeout   time.Duration
	extra     time.Duration // how much longer than timeout and wait the answer may take
	wait      time.Duration // --wait
	kind      string        // -o
	kinds     []string      // the values that -o may have, if the command has the flag
	by        wire.Sender
	endless   bool // the command runs until it is interrupted, and has no --timeout

	// prepare checks the flags and arguments of one command, and sets what depends on them. It is
	// called before the connection is opened.
	prepare func(p *problems, args []string)

	*client.Client
	nc        *nats.Conn
	out, errs io.Writer
	terminal  bool // errs is one: a person watches
}

func clientCommands() []*cobra.Command {
	return []*cobra.Command{
		listCommand(), statusCommand(), explainCommand(), historyCommand(), reportCommand(), watchCommand(),
		startCommand(), stopCommand(), scaleCommand(), holdCommand(), releaseCommand(), pingCommand(), leaseCommand(),
		pauseCommand(), resumeCommand(), wakeCommand(), disableCommand(),
	}
}

// runFunc is the work of a client command: it has a connection, and the servers that were named.
type runFunc func(ctx context.Context, ids []wire.ID) error

// command returns a client command that takes at least minArgs arguments, of which the last are
// names of servers; 0 takes none.
func (c *caller) command(use, short string, minArgs int, run runFunc) *cobra.Command {
	leading := max(minArgs-1, 0) // arguments before the names
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < minArgs || minArgs == 0 && len(args) > 0 {
				return usage("wrong number of arguments: it is \"idle-scaler %s\"", cmd.Use)
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if minArgs == 0 || len(args) < leading {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.complete(cmd, args, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p := c.load()
			if c.prepare != nil {
				c.prepare(&p, args)
			}
			ids := c.servers(&p, args[leading:])
			if err := p.err(); err != nil {
				return err
			}
			if err := c.open(); err != nil {
				return err
			}
			defer c.nc.Close()
			ctx := cmd.Context()
			if !c.endless {
				limited, cancel := context.WithTimeout(ctx, c.timeout+c.wait+c.extra)
				defer cancel()
				ctx = limited
			}
			c.out, c.errs = cmd.OutOrStdout(), cmd.ErrOrStderr()
			c.terminal = isTerminal(c.errs)
			return withExitCode(run(ctx, ids))
		},
	}
	flags := cmd.Flags()
	c.register(flags)
	flags.StringVarP(&c.namespace, "namespace", "n", "", "namespace of servers that are named without one")
	if !c.endless {
		flags.DurationVar(&c.timeout, "timeout", 5*time.Second, "how long to wait for an answer, in addition to --wait")
	}
	c.layers = newLayers(flags)
	return cmd
}

// load fills the flags that all commands share, and validates them.
func (c *caller) load() problems {
	p := append(c.layers.fill(os.LookupEnv), c.validate()...)
	p.require(c.NATS != inProcess, `nats: "embedded" is for the daemon: give the URL that it printed`)
	p.require(c.timeout > 0 || c.endless, "timeout: %s is not above 0: write how long to wait, like 5s", c.timeout)
	p.require(c.wait >= 0, "--wait %s is negative: write how long to wait, like 60s", c.wait)
	p.require(c.kinds == nil || slices.Contains(c.kinds, c.kind),
		"output %q: write one of %s", c.kind, strings.Join(c.kinds, ", "))
	return p
}

// addSender adds the flags that say who asks, and why.
func (c *caller) addSender(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.by.Actor, "actor", userName(), "who asks; events show it")
	cmd.Flags().StringVar(&c.by.Reason, "reason", "", "why; events show it")
	cmd.Flags().StringVar(&c.by.ID, "id", "", "a name for this command; events show it")
}

// addOutput adds the flag -o. The first kind is the default.
func (c *caller) addOutput(cmd *cobra.Command, kinds ...string) {
	c.kinds = kinds
	cmd.Flags().StringVarP(&c.kind, "output", "o", kinds[0], "one of "+strings.Join(kinds, ", "))
}

// ignoreEnvironment takes only a namespace from the command line. The one of the environment is for
// other commands, and must not make a command for all servers one for some.
func (c *caller) ignoreEnvironment() {
	if c.layers.source["namespace"] != "--namespace" {
		c.namespace = ""
	}
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

func (c *caller) open() error {
	nc, err := c.connect(c.NATS, "idle-scaler client", false, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return coded{err, exitNoAnswer}
	}
	c.nc = nc
	c.Client, err = client.New(nc, c.subjects)
	return err
}

// withExitCode tells an error without an answer from a refusal by the daemon.
func withExitCode(err error) error {
	for _, missing := range []error{client.ErrNoDaemon, client.ErrNoStream, client.ErrNoAnswer, client.ErrUnreachable} {
		if errors.Is(err, missing) {
			return coded{err, exitNoAnswer}
		}
	}
	return err
}

// server reads NAME or NAMESPACE/NAME.
func (c *caller) server(text string) (wire.ID, error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		namespace, name = c.namespace, text
	}
	if namespace == "" {
		return wire.ID{}, fmt.Errorf("server %q: name its namespace too: NAMESPACE/%s, or -n NAMESPACE", text, text)
	}
	id := wire.ID{Namespace: namespace, Name: name}
	return id, wire.CheckID(id)
}

func (c *caller) servers(p *problems, args []string) []wire.ID {
	ids := make([]wire.ID, len(args))
	for i, arg := range args {
		id, err := c.server(arg)
		p.require(err == nil, "%w", err)
		ids[i] = id
	}
	return ids
}

// each calls do for several servers at once. It prints the texts in the order of the servers, and
// joins the errors.
func (c *caller) each(ctx context.Context, ids []wire.ID, do func(context.Context, wire.ID) (string, error)) error {
	type result struct {
		text string
		err  error
	}
	results := make([]chan result, len(ids))
	for i, id := range ids {
		results[i] = make(chan result, 1)
		go func() {
			text, err := do(ctx, id)
			results[i] <- result{text, err}
		}()
	}
	var errs []error
	for i, id := range ids {
		if r := <-results[i]; r.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, r.err))
		} else {
			fmt.Fprintln(c.out, r.text)
		}
	}
	return errors.Join(errs...)
}

// complete returns the names of the servers that are not on the command line yet. Without an answer
// it returns none.
func (c *caller) complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	if c.load() != nil || c.open() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.nc.Close()
	servers, _ := c.List(ctx, c.namespace, "")
	var names []string
	for _, s := range servers {
		name := s.Namespace + "/" + s.Name
		if c.namespace != "" {
			name = s.Name
		}
		if strings.HasPrefix(name, typed) && !slices.Contains(args, name) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
