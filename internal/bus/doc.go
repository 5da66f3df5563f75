// Package bus adapts NATS to the domain: what comes in on subjects becomes calls of package scaler and package activity, and what
// they say goes out on subjects. It knows nothing of Kubernetes.
//
// The story, by subject (see [Subjects]):
//
//	command.VERB.NS.NAME   the command stream ──▶ [Sessions] ──▶ scaler.Submit ──▶ answer, ack
//	api.VERB.NS.NAME       [API]: reads are answered from memory; writes are checked and put on the command stream, with
//	                       where to answer; so there is one order for everything
//	api.pause              put on the stream of pauses; answered when every daemon must know it
//	activity, lease        their streams ──▶ [ActivityLog] ──▶ activity.Tracker
//	pause                  its stream ──▶ [ActivityLog] ──▶ scaler.Pauses
//	event.TYPE.NS.NAME     scaler ──▶ [Events] ──▶ the event stream
//
// [EnsureStreams] makes the five streams, [Connect] a connection, [Embedded] a NATS server inside this process. [Client] is the
// other end of it all: for the command line and for tests.
//
// All streams are read through a feed: a push consumer whose every message is accounted for, and which ends, rather than goes
// on, when one is missing. What is read again from the start can't be wrong.
//
// Concurrency: every exported type may be used by any number of goroutines. Nothing runs before Run is called, and nothing
// that it started runs after it has returned, but for the finish functions of commands, which work until the connection is
// closed. No handler of a subscription ever blocks on IO. A *nats.Conn belongs to its caller, who closes it with [Close].
package bus
