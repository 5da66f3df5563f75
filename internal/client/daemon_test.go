package client_test

import (
	"context"
	"log/slog"
	"os"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/embedded"
	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
)

// fakeDaemon starts a NATS server with the daemon's streams, on which every start of team-a/github
// succeeds. An example has no test to report a failure to, so it panics.
func fakeDaemon() (url string, stop func()) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "idle-scaler-example-")
	must(err)
	quiet := slog.New(slog.DiscardHandler)
	server, err := embedded.Start(dir, 0, quiet)
	must(err)
	nc, err := nats.Connect(server.URL())
	must(err)
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	must(err)
	must(stream.Ensure(context.Background(), nc, stream.Options{Subjects: subjects, Owner: "here", Replicas: 1}, quiet))
	_, err = nc.Subscribe("cortex.mcp.api.start.team-a.github", func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"server":{"name":"github","namespace":"team-a","status":"running","replicas":1,
			"ready_replicas":1,"endpoints":[{"service":"github","type":"ClusterIP","url":"http://github.team-a.svc:8080"}]},
			"event":{"type":"woken","from":0,"to":1},"command":{"sequence":1}}`))
	})
	must(err)
	must(nc.Flush())
	return server.URL(), func() {
		nc.Close()
		server.Shutdown()
		must(os.RemoveAll(dir))
	}
}
