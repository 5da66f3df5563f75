// Package wire is what goes over NATS, without a connection: subjects, payloads, answers, events
// and the errors of what can't be read. docs/wire.md describes the same for people.
//
// The daemon (internal/bus) and those who speak to it (internal/client) both use it, so that a
// subject or a payload is written and read by the same file. It knows neither the domain nor
// Kubernetes.
//
// Reading is strict: what could mean something else than what is done is an error that wraps
// [ErrInvalid] or [ErrOutOfRange], and says what to write instead.
//
// Concurrency: all types are plain values.
package wire
