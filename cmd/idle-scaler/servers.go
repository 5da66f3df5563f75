package main

import (
	"time"

	"github.com/spf13/pflag"

	"idle-scaler/policy"
)

// registerServers registers a flag for each setting that may be written in the configuration: it is for servers
// of which nothing else is written. policy.Parse reads it, as it reads annotations.
func registerServers(flags *pflag.FlagSet) {
	for _, setting := range policy.Table {
		if !setting.In(policy.FromConfig) {
			continue
		}
		switch standard := setting.Default.(type) {
		case string:
			flags.String(setting.Key, standard, setting.Usage)
		case time.Duration:
			flags.Duration(setting.Key, standard, setting.Usage)
		case int:
			flags.Int(setting.Key, standard, setting.Usage)
		case bool:
			flags.Bool(setting.Key, standard, setting.Usage)
		}
	}
}

// servers returns what is written about servers, wherever: not what is only the default of a flag.
func (l *layers) servers() policy.Layer {
	written := make(map[string]string)
	for _, key := range policy.Keys(policy.FromConfig) {
		f := l.flags.Lookup(key)
		text := f.Value.String()
		if l.source[key] != "" && (text != "" || f.DefValue != "") { // keep-warm "" is none, idle-after "" is a mistake
			written[key] = text
		}
	}
	return policy.Layer{Source: policy.FromConfig, Written: written}
}
