// Package event publishes events to their stream and reads them again: for a new leader, which has
// to know what is published already, and for history and report.
package event
