package kube

import (
	"encoding/json"
	"testing"

	"idle-scaler/scaler"
)

// One patch carries all that is to be changed: the version that it holds for, the marks, and the replicas when they change. What is not
// among the marks is removed, whoever wrote it.
func TestPatch(t *testing.T) {
	for _, c := range []struct {
		name     string
		server   scaler.Server
		replicas int
		mark     scaler.Mark
		want     string
	}{
		{
			"to sleep",
			scaler.Server{Version: "7", Replicas: 2},
			0,
			scaler.Mark{Restore: 2, Because: "idle", Asleep: noon},
			`{"metadata":{"resourceVersion":"7","annotations":{"idle-scaler/asleep-because":"idle","idle-scaler/asleep-since":"2026-03-01T12:00:00.123456789Z","idle-scaler/awake-since":null,"idle-scaler/command":null,"idle-scaler/failed":null,"idle-scaler/hold":null,"idle-scaler/last":null,"idle-scaler/replicas":"2","idle-scaler/reverts":null,"idle-scaler/seen":null}},"spec":{"replicas":0}}`,
		},
		{
			"awake again",
			scaler.Server{Version: "8", Mark: scaler.Mark{Restore: 2, Because: "idle", Asleep: noon}},
			2,
			scaler.Mark{Awake: noon},
			`{"metadata":{"resourceVersion":"8","annotations":{"idle-scaler/asleep-because":null,"idle-scaler/asleep-since":null,"idle-scaler/awake-since":"2026-03-01T12:00:00.123456789Z","idle-scaler/command":null,"idle-scaler/failed":null,"idle-scaler/hold":null,"idle-scaler/last":null,"idle-scaler/replicas":null,"idle-scaler/reverts":null,"idle-scaler/seen":null}},"spec":{"replicas":2}}`,
		},
		{
			"the replicas stay",
			scaler.Server{Version: "9", Replicas: 2},
			2,
			scaler.Mark{Awake: noon},
			`{"metadata":{"resourceVersion":"9","annotations":{"idle-scaler/asleep-because":null,"idle-scaler/asleep-since":null,"idle-scaler/awake-since":"2026-03-01T12:00:00.123456789Z","idle-scaler/command":null,"idle-scaler/failed":null,"idle-scaler/hold":null,"idle-scaler/last":null,"idle-scaler/replicas":null,"idle-scaler/reverts":null,"idle-scaler/seen":null}}}`,
		},
		{
			"what can't be read or is not believed goes, too",
			scaler.Server{Version: "9", Replicas: 2},
			2,
			scaler.Mark{Failed: "x"},
			`{"metadata":{"resourceVersion":"9","annotations":{"idle-scaler/asleep-because":null,"idle-scaler/asleep-since":null,"idle-scaler/awake-since":null,"idle-scaler/command":null,"idle-scaler/failed":"x","idle-scaler/hold":null,"idle-scaler/last":null,"idle-scaler/replicas":null,"idle-scaler/reverts":null,"idle-scaler/seen":null}}}`,
		},
	} {
		got, err := json.Marshal(newPatch(&c.server, c.replicas, c.mark))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
}
