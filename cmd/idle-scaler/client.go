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

// caller is what the client commands share: how to reach the daemon, and which servers are meant.
type caller struct {
	natsConfig
	layers    *layers
	namespace string
	timeout   time.Duration
	actor     string
	id        string
	reason    string
	check     func(args []string) error // says what is wrong with what was written, before NATS is asked for
	leading   int                       // how many arguments stand before the names
	endless   bool                      // runs until it is ended: there is no answer to wait for
	*client.Client
	nc *nats.Conn
}

func clientCommands() []*cobra.Command {
	return []*cobra.Command{
		listCommand(), statusCommand(), explainCommand(), historyCommand(), reportCommand(), watchCommand(),
		startCommand(), stopCommand(), scaleCommand(), holdCommand(), releaseCommand(), pingCommand(), leaseCommand(),
		pauseCommand(), resumeCommand(), wakeCommand(), disableCommand(),
	}
}

// command makes a client command. Run is called with a connection to NATS and the servers that are named, when nothing is wrong with what was
// written.
func (c *caller) command(use, short string, minArgs int, run func(ctx context.Context, cmd *cobra.Command, ids []wire.ID) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < minArgs || minArgs == 0 && len(args) > 0 {
				return usage("wrong number of arguments: it is \"idle-scaler %s\"", cmd.Use)
			}
			return nil
		},
		ValidArgsFunction: c.complete,
	}
	flags := cmd.Flags()
	c.register(flags)
	flags.StringVarP(&c.namespace, "namespace", "n", "", "namespace of servers that are named without one")
	if !c.endless {
		flags.DurationVar(&c.timeout, "timeout", 5*time.Second, "how long to wait for an answer; a --wait comes on top")
	}
	c.layers = newLayers(flags)
	if minArgs == 0 {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := c.load(); err != nil {
			return err
		}
		if c.check != nil {
			if err := c.check(args); err != nil {
				return err
			}
		}
		ids, err := c.servers(args[c.leading:])
		if err != nil {
			return err
		}
		if err := c.open(); err != nil {
			return err
		}
		defer c.nc.Close()
		return answered(run(cmd.Context(), cmd, ids))
	}
	return cmd
}

// load fills the flags and validates them. All that is wrong is in the error.
func (c *caller) load() error {
	errs := append(c.layers.fill(os.LookupEnv), c.validate()...)
	if c.NATS == inProcess {
		errs = append(errs, errors.New(`nats: "embedded" is for the daemon: give the URL that it printed`))
	}
	if c.timeout <= 0 && !c.endless {
		errs = append(errs, fmt.Errorf("timeout: %s is not above 0: write how long to wait, like 5s", c.timeout))
	}
	if len(errs) > 0 {
		return coded{errors.Join(errs...), exitUsage}
	}
	return nil
}

// widen makes a command one about all servers, unless -n was written with it: the namespace that the environment names is there for other
// commands, and must not turn all into some.
func (c *caller) widen() {
	if c.layers.source["namespace"] != "--namespace" {
		c.namespace = ""
	}
}

// notNegative checks a --wait.
func notNegative(wait time.Duration) error {
	if wait < 0 {
		return usage("--wait %s is negative: write how long to wait, like 60s", wait)
	}
	return nil
}

// sender adds the flags that say who asks, and why.
func (c *caller) sender(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.actor, "actor", whoami(), "who asks, as it is shown in events")
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, as it is shown in events")
	cmd.Flags().StringVar(&c.id, "id", "", "a name for this command, as it is shown in events")
}

func (c *caller) by() wire.Sender { return wire.Sender{ID: c.id, Actor: c.actor, Reason: c.reason} }

func whoami() string {
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
	subjects, err := wire.NewSubjects(c.Prefix)
	if err != nil {
		return err
	}
	c.nc = nc
	c.Client, err = client.New(nc, subjects)
	return err
}

// answered gives an error its exit code: whether the daemon has refused, or did not answer.
func answered(err error) error {
	for _, missing := range []error{client.ErrNoDaemon, client.ErrNoStream, client.ErrNoAnswer, client.ErrUnreachable} {
		if errors.Is(err, missing) {
			return coded{err, exitNoAnswer}
		}
	}
	return err
}

// server reads NAME or NS/NAME.
func (c *caller) server(text string) (wire.ID, error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		namespace, name = c.namespace, text
	}
	if namespace == "" {
		return wire.ID{}, usage("server %q: name its namespace too: NAMESPACE/%s, or -n NAMESPACE", text, text)
	}
	id := wire.ID{Namespace: namespace, Name: name}
	if err := wire.CheckID(id); err != nil {
		return id, coded{err, exitUsage}
	}
	return id, nil
}

func (c *caller) servers(args []string) ([]wire.ID, error) {
	ids := make([]wire.ID, 0, len(args))
	var errs []error
	for _, arg := range args {
		id, err := c.server(arg)
		ids, errs = append(ids, id), append(errs, err)
	}
	return ids, errors.Join(errs...)
}

// each does the same to several servers at once. The results come in the order of the servers; the errors are joined.
func (c *caller) each(ctx context.Context, ids []wire.ID, do func(ctx context.Context, id wire.ID) (string, error), out io.Writer) error {
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
		r := <-results[i]
		if r.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, r.err))
		} else if r.text != "" {
			fmt.Fprintln(out, r.text)
		}
	}
	return errors.Join(errs...)
}

// complete offers the names of the servers there are that are not on the command line yet. Without an answer it offers none.
func (c *caller) complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	if c.load() != nil || c.open() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.nc.Close()
	servers, err := c.List(ctx, c.namespace, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
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
