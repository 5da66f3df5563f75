package answer

import (
	"strings"

	"idle-scaler/internal/wire"
	"idle-scaler/policy"
)

func settings(s policy.Settings) wire.Settings {
	zone, idleAfter, notice := "UTC", "never", ""
	if s.TimeZone != nil {
		zone = s.TimeZone.String()
	}
	if s.IdleAfter != policy.Never {
		idleAfter = s.IdleAfter.String()
	}
	if s.SleepNotice > 0 {
		notice = s.SleepNotice.String()
	}
	return wire.Settings{
		IdleAfter: idleAfter, KeepWarm: s.KeepWarm.String(), SleepAt: s.SleepAt.String(), TimeZone: zone,
		SleepNotice: notice, WakeReplicas: s.WakeReplicas, MaxReplicas: s.MaxReplicas,
		WakeOnActivity: s.WakeOnActivity, Paused: s.Paused, DryRun: s.DryRun, Group: s.Group, After: s.After,
	}
}

// sources says where each setting is written, under its name in wire.Settings.
func sources(written map[string]policy.Source) map[string]string {
	all := make(map[string]string, len(policy.Keys))
	for _, key := range policy.Keys {
		source := written[key]
		if source == "" {
			source = policy.FromDefault
		}
		all[strings.ReplaceAll(key, "-", "_")] = string(source)
	}
	return all
}
