// Package activitylog reads the activity log: the streams of pings, of leases, and of orders to
// pause. It fills activity.Tracker and scaler.Pauses. Before a server is put to sleep it proves
// that they know everything in the streams.
package activitylog
