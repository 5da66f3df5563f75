package ops

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

func get(t *testing.T, handler http.Handler, path string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Code, string(body)
}

// /readyz says what is missing. It is ready when nothing is.
func TestReadyz(t *testing.T) {
	missing := "no connection"
	checks := []Check{
		{"deployments", func() string { return "" }},
		{"nats", func() string { return missing }},
	}
	handler := Handler(NewMetrics("v1"), checks, false)
	code, body := get(t, handler, "/readyz")
	if code != http.StatusServiceUnavailable || body != "deployments: ok\nnats: no connection\n" {
		t.Errorf("answered %d %q", code, body)
	}
	missing = ""
	if code, body = get(t, handler, "/readyz"); code != http.StatusOK || body != "deployments: ok\nnats: ok\n" {
		t.Errorf("answered %d %q", code, body)
	}
	if code, _ := get(t, handler, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answered %d", code)
	}
}

// Profiles are served only on request, because they show memory.
func TestPprofIsOff(t *testing.T) {
	for _, on := range []bool{false, true} {
		code, _ := get(t, Handler(NewMetrics("v1"), nil, on), "/debug/pprof/")
		if (code == http.StatusOK) != on {
			t.Errorf("pprof %v answered %d", on, code)
		}
	}
}

// The metrics have the names that dashboards use. The decisions are those of the last sweep.
func TestMetrics(t *testing.T) {
	m := NewMetrics("v1")
	m.Event(scaler.Event{Type: scaler.Slept, Cause: policy.CauseIdle})
	m.Wake("patch", 20*time.Millisecond)
	m.Wake("queued", -time.Second)
	m.Swept(scaler.Sweep{Decisions: map[policy.Reason]int{policy.Idle: 3}})
	m.Swept(scaler.Sweep{Decisions: map[policy.Reason]int{policy.Blind: 2}})
	m.MisSlept(true)
	m.APIRequest("PATCH", "200")
	m.Servers(func() map[policy.Status]int { return map[policy.Status]int{policy.StatusStopped: 4} })
	m.Drops("kubernetes-event", func() uint64 { return 0 })
	m.Drops("nats-message", func() uint64 { return 7 })
	_, body := get(t, Handler(m, nil, false), "/metrics")
	for _, line := range []string{
		`idle_scaler_events_total{cause="idle",type="slept"} 1`,
		`idle_scaler_wake_seconds_count{phase="patch"} 1`,
		`idle_scaler_wake_seconds_sum{phase="queued"} 0`,
		`idle_scaler_sweeps_total 2`,
		`idle_scaler_decisions{reason="blind"} 2`,
		`idle_scaler_mis_sleeps_total{dry_run="false"} 0`,
		`idle_scaler_mis_sleeps_total{dry_run="true"} 1`,
		`idle_scaler_api_requests_total{code="200",verb="PATCH"} 1`,
		`idle_scaler_servers{status="stopped"} 4`,
		`idle_scaler_drops_total{what="kubernetes-event"} 0`,
		`idle_scaler_drops_total{what="nats-message"} 7`,
		`idle_scaler_build_info{version="v1"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(body, `reason="idle"`) {
		t.Error("the decisions of the previous sweep are still there")
	}
}
