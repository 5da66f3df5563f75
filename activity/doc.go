// Package activity knows when each server was last used, and how far that knowledge can be trusted.
//
// The activity log (a NATS stream that keeps the last ping of each server, and one of leases) is
// replayed into a [Tracker] by one goroutine per stream; any number of goroutines read it. Everything
// the Tracker holds can be thrown away and read again: it is a cache of the log.
//
// Silence in the log means "unused" only while the daemon knows all of the log. [Coverage] says whether
// it does. Nobody may conclude anything from silence while Coverage.Blind is set.
package activity
