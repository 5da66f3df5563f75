// Package client speaks to idle-scaler over NATS. A gateway, an MCP server or any other Go program
// uses it to report that servers are in use, to start and stop them, and to ask about them. The
// command line of idle-scaler uses it and nothing else.
//
// A program that calls sleeping servers needs three things:
//
//   - [Client.Start] before a call: it wakes the server and returns when the server is ready, or
//     says why it is not. For a server that is ready it returns at once.
//   - [Client.Ping] at each call: the server stays awake for its idle-after, 30 minutes by default.
//   - [Client.Lease] for a long session: the server stays awake until the lease ends.
//
// Ping and Lease are messages that NATS stores; they need no running daemon. All other methods are
// NATS requests that any replica of the daemon answers. Each of them gives up at the deadline of
// its context, at the latest ten seconds after the daemon has to answer. An error is one of these:
//
//   - a [*wire.Error]: the daemon refused the request. Code and Text say why, and what to do; the
//     codes are those of docs/wire.md.
//   - [ErrNoDaemon], [ErrNoStream], [ErrNotPermitted]: the request reached nobody, and has no
//     effect.
//   - [ErrNoAnswer], [ErrInterrupted], [ErrUnreachable]: the request may have been sent, and may
//     take effect. [Client.Status] tells.
//
// An error about a bad name or duration comes before anything is sent.
//
// The connection is a plain *nats.Conn, opened and closed by the caller. For an account whose
// permissions tell inboxes apart, open it with [nats.CustomInboxPrefix]; the prefix must begin with
// _INBOX. A [Client] may be used by any number of goroutines.
package client
