// Package scaler turns servers off while nobody uses them, and on when somebody asks.
//
// Everything that happens asks for a pass over one server, in one queue keyed by server:
//
//   - [Scaler.Submit]: a command came.
//   - [Scaler.Enqueue]: a ping or a lease came, or the Deployment changed.
//   - [Scaler.Sweep]: the schedule says so. Only its passes may put a server to sleep.
//   - The queue itself: an instant came at which the decision may change.
//
// One function, reconcile, makes each pass. It applies the oldest command; if none waits, it asks
// [policy.Rules.Decide]. Then it writes the Deployment at most once, and publishes the event. The
// same write holds the event, so the next leader can publish it if this one dies.
//
// Only the leader makes passes: [Scaler.Lead] is one term of leadership. Every replica answers reads
// ([Scaler.List], [Scaler.Status], [Scaler.Check]) and waits for servers ([Scaler.Await]) from memory.
//
// Concurrency: all methods of a [Scaler] may be called concurrently, but only one Lead may run at a
// time. Two passes over one server never overlap. At most Config.MaxInFlight passes run at once. A
// [Server] never changes after it was made, so it may be shared.
package scaler
