package main

import (
	"time"

	"github.com/spf13/pflag"

	"idle-scaler/policy"
)

// registerServers registers a flag for each setting that may be written in the configuration. It
// counts for servers for which nothing else is written. policy.Parse reads it, as it reads
// annotations.
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

// servers returns the settings of servers that are written anywhere, without the defaults of flags.
func (l *layers) servers() policy.Layer {
	written := make(map[string]string)
	for _, key := range policy.Keys(policy.FromConfig) {
		f := l.flags.Lookup(key)
		text := f.Value.String()
		if l.source[key] != "" && (text != "" || f.DefValue != "") { // keep-warm "" is none, idle-after "" an error
			written[key] = text
		}
	}
	return policy.Layer{Source: policy.FromConfig, Written: written}
}
