// Package client speaks to the daemon over NATS. The command line uses it, and so can any program:
// it asks for servers and orders with an answer, reports use by pings and leases, and watches
// events.
//
// Concurrency: a [Client] may be used by any number of goroutines. Its connection belongs to the
// caller.
package client
