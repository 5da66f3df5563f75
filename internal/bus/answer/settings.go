package answer

import (
	"cmp"
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// settings returns those in force for a server, and where each is written.
func settings(server *scaler.Server) (wire.Settings, map[string]string) {
	all, sources := make(wire.Settings, len(policy.Table)), make(map[string]string, len(policy.Table))
	for _, setting := range policy.Table {
		field, value := wire.Field(setting.Key), setting.Value(&server.Settings)
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
			all[field] = value
		}
		sources[field] = string(cmp.Or(server.Sources[setting.Key], policy.FromDefault))
	}
	return all, sources
}
