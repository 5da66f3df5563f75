package api

import "context"

// endpoint is one part of the service. Handle sends the answer, or returns why it can't.
type endpoint struct {
	name, subject string
	payload       string // shown by "nats micro info"
	handle        func(ctx context.Context, r request) error
	places        chan struct{}
}

func (a *API) endpoints() []endpoint {
	const (
		span  = `{"over":"24h","to":"2026-01-02T15:04:05Z","limit":100,"after":"..."}, all optional`
		by    = `"id":"...","actor":"...","reason":"..."}, all optional`
		who   = `{"actor":"...","reason":"..."}, all optional`
		until = `{"awake_until":"18:00"} or {"asleep_until":"2h"}, and "id", "actor", "reason", optional`
	)
	return []endpoint{
		{"list", "list", `{"selector":"app=x","limit":100,"after":"..."}, all optional`, a.list, a.slots},
		{"list-namespace", "list.*", "as that of list", a.list, a.slots},
		{"status", "status.*.>", "none", a.status, a.slots},
		{"explain", "explain.*.>", "none", a.explain, a.slots},
		{"history", "history.*.>", `{"since":"24h","limit":100}, all optional`, a.history, a.reads},
		{"report", "report", span, a.report, a.reads},
		{"report-namespace", "report.*", span, a.report, a.reads},
		{"start", "start.*.>", `{"wait":"60s",` + by + `; "0s" answers when it is written`, a.order, a.slots},
		{"stop", "stop.*.>", `{"force":false,` + by, a.order, a.slots},
		{"scale", "scale.*.>", `{"replicas":3,"wait":"0s",` + by + ` but replicas`, a.order, a.slots},
		{"hold", "hold.*.>", until, a.order, a.slots},
		{"release", "release.*.>", "{" + by, a.order, a.slots},
		{"pause", "pause", who, a.pause, a.pauses},
		{"pause-namespace", "pause.*", who, a.pause, a.pauses},
		{"pause-server", "pause.*.>", who, a.pause, a.pauses},
		{"resume", "resume", who, a.pause, a.pauses},
		{"resume-namespace", "resume.*", who, a.pause, a.pauses},
		{"resume-server", "resume.*.>", who, a.pause, a.pauses},
		{"wake", "wake", "{" + by + ": those of the commands to start", a.wake, a.wakes},
		{"wake-namespace", "wake.*", "as that of wake", a.wake, a.wakes},
	}
}
