// Package scaler turns servers off while nobody uses them and on when somebody asks.
//
// Everything that may concern a server asks for a pass over it, in one queue: [Scaler.Submit] for a command,
// [Scaler.Enqueue] for a ping, a lease or a changed Deployment, [Scaler.Sweep] on the schedule, and the queue
// itself when an instant comes at which the decision may change. One function, reconcile, makes a pass: it
// applies the oldest command or, if none waits, decides; it writes the Deployment at most once, with what
// happened, who asked and why in the same write; and publishes that before anything may overwrite it.
//
// Only the leader makes passes: [Scaler.Lead] is one term of leadership. Any replica answers reads
// ([Scaler.List], [Scaler.Status], [Scaler.Check]) and waits for servers ([Scaler.Await]) from memory.
//
// Concurrency: never two passes over one server are under way at once. Passes over several servers are, up to
// Config.MaxInFlight. A [Server] is never changed after it was made, and may be shared.
package scaler
