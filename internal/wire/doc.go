// Package wire has everything that goes over NATS, without a connection: subjects, payloads,
// answers, events and errors. docs/wire.md describes the same for people.
//
// The daemon (internal/bus) and its clients (internal/client) both use it, so one file writes and
// reads each subject and payload. It knows neither the domain nor Kubernetes.
//
// Reading is strict: everything ambiguous is an error that wraps [ErrInvalid] or [ErrOutOfRange],
// and says what to write instead.
//
// Concurrency: all types are plain values.
package wire
