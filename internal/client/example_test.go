package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/client"
	"idle-scaler/internal/wire"
)

// A gateway gets a call for the server "github" of the namespace "team-a", which may be asleep. It
// wakes the server, forwards the call, and reports the use.
func Example() {
	url, stop := fakeDaemon() // in production: the URL of your NATS
	defer stop()

	// A Client needs a connection, and the prefix that the daemon runs with.
	nc, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	if err != nil {
		log.Fatal(err)
	}
	scaler, err := client.New(nc, subjects)
	if err != nil {
		log.Fatal(err)
	}

	// Start returns when the server is ready, here after a minute at most. If it is ready already,
	// that is at once.
	ctx := context.Background()
	github := wire.ID{Namespace: "team-a", Name: "github"}
	answer, err := scaler.Start(ctx, github, time.Minute, wire.Sender{Actor: "gateway-1"})
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		fmt.Println("the server does not start:", refused.Text) // tell the caller; 504: still starting, try later
		return
	}
	if err != nil {
		log.Fatal(err) // NATS or the daemon is away: see the errors of this package
	}
	fmt.Printf("%s is %s at %s\n", github, answer.Server.Status, answer.Server.Endpoints[0].URL)

	// Report each call by a ping, so that the server stays awake. Nobody has to wait for that.
	if err := scaler.Ping(ctx, github); err != nil {
		log.Print(err)
	}

	// A session without regular calls holds a lease instead: renew it in time, and end it with 0.
	if err := scaler.Lease(ctx, "gateway-1", github, 5*time.Minute); err != nil {
		log.Print(err)
	}
	// Output: team-a/github is running at http://github.team-a.svc:8080
}
