package e2e

import (
	"slices"
	"testing"
	"time"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// "explain" says why a server is as it is, and "history" who has done what to it, when and why: on the command line and over plain
// requests, from any replica, also after a restart and after the server is gone.
func TestExplainAndHistory(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha", replicas(2), annotation("time-zone", "Europe/Rome"))
	b.run(idle...)
	b.awaitReplicas("alpha", 2)
	events := b.events()
	b.lease("alpha", time.Hour)
	alpha := b.namespace + "/alpha"
	eventually(t, "the lease is explained", func() error {
		return missing(b.says(0, "explain", alpha), "running", "the-test until", "Europe/Rome", "idle-after", "3s")
	})
	b.lease("alpha", 0)
	b.ping("alpha")
	events.next(scaler.Slept, "alpha")
	eventually(t, "the sleep is explained", func() error {
		var e wire.Explanation
		b.ask("explain."+b.namespace+".alpha", "", "", &e)
		return missing(e.Text, "idle", "ping", "start")
	})
	b.order("start", "alpha", `{"actor":"ann","reason":"a demo","id":"c-7"}`)
	events.next(scaler.Ready, "alpha")
	b.kill()
	b.run(append(idle, "--idle-after", "1h")...)

	var past wire.History
	b.ask("history."+b.namespace+".alpha", `{"since":"1h"}`, "", &past)
	var types []string
	for _, e := range past.Events {
		if e.Type == string(scaler.Progress) {
			continue // on a busy machine it takes long enough to get ready to be asked why
		}
		types = append(types, e.Type)
		if e.Type == string(scaler.Woken) && (e.Actor != "ann" || e.Reason != "a demo" || e.Command != "c-7" || e.To != 2 || e.At.IsZero()) {
			t.Errorf("the history has %+v", e)
		}
	}
	if len(types) < 3 || !slices.Equal(types[:3], []string{"slept", "woken", "ready"}) || past.Truncated { // it may have slept again before the restart
		t.Errorf("the history is %v", types)
	}
	if err := missing(b.says(0, "history", alpha), "slept", "woken", "ann", "a demo"); err != nil {
		t.Error(err)
	}
	var none wire.Answer
	b.ask("history."+b.namespace+".nobody", "", "404", &none)
	b.ask("explain."+b.namespace+".nobody", "", "404", &none)
}
