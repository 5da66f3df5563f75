// Package bus is the daemon's side of NATS, in rooms of its own:
//
//	stream       makes the streams, and reads one so that nothing is missed
//	activitylog  activity.>, lease.>, pause.>   ──▶ activity.Tracker, scaler.Pauses; proves silence
//	command      command.VERB.NS.NAME           ──▶ scaler.Submit ──▶ answer, acknowledgement
//	api          api.VERB.NS.NAME               ──▶ reads from memory; orders onto the command stream
//	event        scaler ──▶ event.TYPE.NS.NAME; and back, for history and report
//	answer       turns views, outcomes and errors of the domain into those of the wire
//	embedded     a NATS server in this process
//
// None of them knows Kubernetes. Subjects and payloads are in internal/wire, and the other end of
// the wire is internal/client.
//
// Concurrency: any number of goroutines may use each exported type. Nothing runs before Run is
// called, and nothing that it started runs after it has returned. Only the finish functions of
// commands work until the connection is closed. No handler of a subscription blocks on IO. A
// *nats.Conn belongs to its caller.
package bus
