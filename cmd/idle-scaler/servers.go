package main

import (
	"github.com/spf13/pflag"

	"idle-scaler/policy"
)

// registerServers registers the flags that say how servers are treated of which nothing else is written: policy.ConfigKeys. They are read
// by policy.Parse, as annotations are.
func registerServers(flags *pflag.FlagSet) {
	standard := policy.Defaults(policy.DefaultIdleAfter)
	flags.String("idle-after", "30m", `how long a server is unused before it sleeps, or "never"`)
	flags.String("keep-warm", "", `when servers are kept awake: cron expressions, each with how long, like "0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h"`)
	flags.String("sleep-at", "", `when servers sleep that were not used since: cron expressions, like "0 22 * * *"`)
	flags.String("time-zone", "", `the zone of keep-warm and sleep-at, and of holds, like "Europe/Rome"; default UTC`)
	flags.Duration("sleep-notice", standard.SleepNotice, "how long before a server sleeps that is told, so that a ping or a lease can prevent it; 0 tells nothing")
	flags.Int("wake-replicas", standard.WakeReplicas, "replicas to wake with when none are remembered")
	flags.Int("max-replicas", standard.MaxReplicas, "the most that a scale command may ask for")
	flags.Bool("wake-on-activity", standard.WakeOnActivity, "a ping or a lease wakes a server")
	flags.Bool("dry-run", standard.DryRun, "put nothing to sleep by itself, only tell what would; commands work, and what sleeps is woken")
}

// servers returns what is written about servers, wherever: not what is only the default of a flag.
func (l *layers) servers() policy.Layer {
	written := make(map[string]string)
	for _, key := range policy.ConfigKeys {
		f := l.flags.Lookup(key)
		text := f.Value.String()
		if l.source[key] != "" && (text != "" || f.DefValue != "") { // keep-warm "" is none, idle-after "" is a mistake
			written[key] = text
		}
	}
	return policy.Layer{Source: policy.FromConfig, Written: written}
}
