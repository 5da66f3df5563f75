package bus

import (
	"strings"

	"idle-scaler/policy"
)

// Settings are those in force for a server.
type Settings struct {
	IdleAfter      string   `json:"idle_after"` // a duration, or "never"
	KeepWarm       string   `json:"keep_warm,omitempty"`
	SleepAt        string   `json:"sleep_at,omitempty"`
	TimeZone       string   `json:"time_zone"`
	SleepNotice    string   `json:"sleep_notice,omitempty"`
	WakeReplicas   int      `json:"wake_replicas"`
	MaxReplicas    int      `json:"max_replicas"`
	WakeOnActivity bool     `json:"wake_on_activity"`
	Paused         bool     `json:"paused"`
	DryRun         bool     `json:"dry_run"`
	Group          string   `json:"group,omitempty"`
	After          []string `json:"after,omitempty"`
}

func settings(s policy.Settings) Settings {
	zone := "UTC"
	if s.TimeZone != nil {
		zone = s.TimeZone.String()
	}
	after := "never"
	if s.IdleAfter != policy.Never {
		after = s.IdleAfter.String()
	}
	return Settings{
		IdleAfter: after, KeepWarm: s.KeepWarm.String(), SleepAt: s.SleepAt.String(), TimeZone: zone, SleepNotice: span(s.SleepNotice),
		WakeReplicas: s.WakeReplicas, MaxReplicas: s.MaxReplicas, WakeOnActivity: s.WakeOnActivity, Paused: s.Paused, DryRun: s.DryRun,
		Group: s.Group, After: s.After,
	}
}

// sources says of each setting where it is written, under its name in Settings.
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
