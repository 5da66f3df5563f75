// Package event publishes what happened to the stream of events, and reads it again: for a new
// leader that has to know what was published, and for history and report.
package event
