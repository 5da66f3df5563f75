// Package bus is the daemon's side of NATS, in rooms of its own:
//
//	stream       makes the streams, and reads one so that nothing is missed
//	activitylog  activity.>, lease.>, pause.>   ──▶ activity.Tracker, scaler.Pauses; proves silence
//	command      command.VERB.NS.NAME           ──▶ scaler.Submit ──▶ answer, acknowledgement
//	api          api.VERB.NS.NAME               ──▶ reads from memory; orders onto the command stream
//	event        scaler ──▶ event.TYPE.NS.NAME; and back, for history and report
//	answer       what the domain says, as it is on the wire
//	embedded     a NATS server in this process
//
// None of them knows Kubernetes. What goes over the wire is in internal/wire, and the other end of
// it in internal/client.
//
// Concurrency: every exported type may be used by any number of goroutines. Nothing runs before Run is
// called, and nothing that it started runs after it has returned, except for the finish functions of
// commands, which work until the connection is closed. No handler of a subscription blocks on IO. A
// *nats.Conn belongs to its caller.
package bus
