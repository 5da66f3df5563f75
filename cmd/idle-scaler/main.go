// Command idle-scaler puts Kubernetes Deployments to sleep while nobody uses them, and wakes them
// when somebody asks.
//
// "idle-scaler run" is the daemon; the other commands talk to it over NATS. Only this package knows
// all others: daemon.go wires them. config.go and servers.go have the flags of the daemon, and
// layers.go says where their values come from. The client commands share client.go: orders are in
// orders.go, holds.go, leases.go, pauses.go and wakes.go, questions in reads.go, status.go,
// history.go and report.go.
package main

import (
	"os"
	_ "time/tzdata" // a distroless image has no zone files
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
