// Package scaler turns servers off while nobody uses them and on when somebody asks.
//
// Ways in: [Scaler.Submit] takes a command of the bus, [Scaler.Consider] looks at one server because something about it
// changed (a ping, a lease, its Deployment), a [Sweep] looks at all of them because the schedule says so, and the alarm because
// a window begins, a hold ends or a notice is over. All end in one function, change, which writes one Deployment once, and in the
// same write what happened, who asked and why; tell then publishes that, before anything may overwrite it.
//
// Only the leader writes: [Scaler.Lead] is one term of leadership. Reads ([Scaler.List], [Scaler.Status],
// [Scaler.Check]) are answered from memory by any replica at any time.
//
// Concurrency: everything that may write a server goes through its lane, a queue with one goroutine while it is not empty; so
// one server is handled in order and servers are handled in parallel, bounded by Config.MaxInFlight. A [Server]
// is never changed after it was made, and may be shared.
package scaler
