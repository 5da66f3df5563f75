package bus

import (
	"cmp"
	"strings"
	"time"

	"idle-scaler/policy"
)

// Settings are those in force for a server, by their names on the wire: see policy.Table. A duration is
// a text. What is empty is left out, a number and a truth never are.
type Settings map[string]any

// Field is the name on the wire of a setting.
func Field(key string) string { return strings.ReplaceAll(key, "-", "_") }

func settings(s policy.Settings) Settings {
	all := make(Settings, len(policy.Table))
	for _, setting := range policy.Table {
		value := setting.Value(&s)
		empty := false
		switch v := value.(type) {
		case string:
			empty = v == ""
		case []string:
			empty = len(v) == 0
		case time.Duration:
			value, empty = v.String(), v == 0
		}
		if !empty {
			all[Field(setting.Key)] = value
		}
	}
	return all
}

// sources says of each setting where it is written, under its name in Settings.
func sources(written map[string]policy.Source) map[string]string {
	all := make(map[string]string, len(policy.Table))
	for _, setting := range policy.Table {
		all[Field(setting.Key)] = string(cmp.Or(written[setting.Key], policy.FromDefault))
	}
	return all
}
