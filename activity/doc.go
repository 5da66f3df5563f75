// Package activity knows when each server was last used, and how far that knowledge can be trusted.
//
// The activity log consists of NATS streams: one keeps the last ping of each server, one keeps the
// leases. One goroutine per stream replays it into a [Tracker], and any number of goroutines read
// the Tracker. It is a cache of the log: everything in it can be thrown away and read again.
//
// Silence in the log means "unused" only while the daemon knows all of the log. [Coverage] says
// whether it does. Nobody may conclude anything from silence while Coverage.Blind is set.
package activity
