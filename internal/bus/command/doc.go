// Package command delivers the commands of the command stream to the domain: those of one server in
// order, each until it is acknowledged, and only while this process leads.
//
//	command.VERB.NS.NAME ──▶ command stream ──▶ [Sessions] ──▶ scaler.Submit ──▶ answer, acknowledgement
//
// [Request] turns a request into a command for the stream, and [Read] reads it back. [Replies]
// receives the leader's answer in the replica that took the request.
package command
