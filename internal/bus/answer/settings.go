package answer

import (
	"cmp"
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
)

func settings(s policy.Settings) wire.Settings {
	all := make(wire.Settings, len(policy.Table))
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
			all[wire.Field(setting.Key)] = value
		}
	}
	return all
}

// sources says where each setting is written, under its name in wire.Settings.
func sources(written map[string]policy.Source) map[string]string {
	all := make(map[string]string, len(policy.Table))
	for _, setting := range policy.Table {
		all[wire.Field(setting.Key)] = string(cmp.Or(written[setting.Key], policy.FromDefault))
	}
	return all
}
