// Package command hands the commands of the command stream to the domain: in order for each server,
// each until it is finished, by the leader only.
//
//	command.VERB.NS.NAME   the command stream ──▶ [Sessions] ──▶ scaler.Submit ──▶ answer, acknowledgement
//
// It also says how a request becomes a command on the stream, [Request] and [Read], and how the replica that took the
// request hears what the leader says of the command: [Replies].
package command
