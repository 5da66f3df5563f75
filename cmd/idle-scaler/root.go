package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"idle-scaler/policy"
)

// version is what "git describe" says. The build sets it.
var version = "dev"

// semantic matches the versions of a service that NATS micro accepts.
var semantic = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// serviceVersion is the version in the form that NATS micro needs.
func serviceVersion() string {
	if v := strings.TrimPrefix(version, "v"); semantic.MatchString(v) {
		return v
	}
	return "0.0.0+" + regexp.MustCompile(`[^0-9A-Za-z.-]`).ReplaceAllString(version, "-")
}

// Exit codes, of the client commands too.
const (
	exitFailed   = 1 // refused, or failed
	exitUsage    = 2
	exitNoAnswer = 3 // NATS or the daemon is missing
)

// coded is an error that ends the program with its own exit code.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

func usage(format string, args ...any) error { return coded{fmt.Errorf(format, args...), exitUsage} }

// run is main, with everything that it touches as an argument.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(errs, "idle-scaler: %s\n", strings.TrimRight(line, "\n"))
	}
	if c, ok := errors.AsType[coded](err); ok {
		return c.code
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "idle-scaler",
		Short:         "Puts Kubernetes Deployments to sleep while nobody uses them, and wakes them when somebody asks",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q: see \"idle-scaler --help\"", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok && bad.GetFlag().Name == "wait" {
			// Without a value --wait takes the next word, so the user sees an unexpected value.
			return usage("--wait %s: write how long, like --wait 60s", bad.GetValue())
		}
		return usage("%w: see \"%s --help\"", err, cmd.CommandPath())
	})
	root.AddCommand(daemonCommand(), configCommand())
	root.AddCommand(clientCommands()...)
	return root
}

func daemonCommand() *cobra.Command {
	var c Config
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Run the daemon.

You can also set each flag in the environment, as IDLE_SCALER_ and its name in capitals
(IDLE_SCALER_IDLE_AFTER), or under its own name in the YAML file of --config. A flag beats the
environment, which beats the file.

The settings of servers are defaults: ` + strings.Join(policy.Keys(policy.FromConfig), ", ") + `.
The annotation idle-scaler/KEY of a server beats that of its namespace, which beats the flag.`,
		Example: `  idle-scaler run --nats nats://nats:4222 --idle-after 1h
  idle-scaler run --nats embedded --dry-run
  idle-scaler run --nats nats://nats:4222 --keep-warm "0 9 * * MON-FRI for 9h" --time-zone Europe/Rome`,
		Args: noArgs,
	}
	layers := c.layers(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.load(layers)
		if err != nil {
			return err
		}
		logger := newLogger(cmd.ErrOrStderr(), c.LogFormat, s.level)
		if s.servers.Written["dry-run"] == "true" {
			logger.Warn("dry run: nothing is put to sleep automatically, unless an annotation says so")
		}
		if err := serve(cmd.Context(), &c, s, logger); err != nil {
			return err
		}
		logger.Info("ended")
		return nil
	}
	return cmd
}

func configCommand() *cobra.Command {
	var c Config
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration of \"run\" with the same flags, and where each value comes from",
		Example: `  idle-scaler config --nats nats://nats:4222 --idle-after 1h > idle-scaler.yaml
  idle-scaler run --config idle-scaler.yaml`,
		Args: noArgs,
	}
	layers := c.layers(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, err := c.load(layers)
		layers.print(cmd.OutOrStdout())
		return err
	}
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no arguments, it was given %q", cmd.CommandPath(), args[0])
	}
	return nil
}
