// Package api answers requests, as the NATS micro service "idle-scaler".
//
//	reads    status, list, explain, history, report: from the cache of any replica, and from events
//	orders   start, stop, scale, hold, release: checked, and put on the command stream, so that all
//	         commands have one order; then the replica waits for the leader, and for the server
//	wake     a start on the command stream for each server that the daemon has put to sleep
//	pauses   pause, resume: put on the stream of pauses, and answered when every daemon knows them
//
// Each request goes to one replica. No handler of a subscription blocks on IO.
package api
