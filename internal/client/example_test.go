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

// A gateway that got a call for a sleeping server starts it, and forwards the call when it is ready.
func Example() {
	url, stop := fakeDaemon()
	defer stop()
	nc, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	if err != nil {
		log.Fatal(err)
	}
	daemon, err := client.New(nc, subjects)
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	github := wire.ID{Namespace: "team-a", Name: "github"}
	answer, err := daemon.Start(ctx, github, time.Minute, wire.Sender{Actor: "gateway-1"})
	var refused *wire.Error
	switch {
	case errors.As(err, &refused):
		fmt.Println("refused:", refused.Code, refused.Text) // the caller gets 503 with this text
		return
	case err != nil:
		log.Fatal(err) // NATS or the daemon is away: see the errors of package client
	}
	fmt.Printf("%s is %s at %s\n", github, answer.Server.Status, answer.Server.Endpoints[0].URL)

	// As long as calls come in, each of them is a ping; a long stream holds a lease instead.
	if err := daemon.Ping(ctx, github); err != nil {
		log.Print(err)
	}
	if err := daemon.Lease(ctx, "gateway-1", github, 5*time.Minute); err != nil {
		log.Print(err)
	}
	// Output: team-a/github is running at http://github.team-a.svc:8080
}
