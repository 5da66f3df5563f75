// Package activitylog reads the log of activity: the streams of pings, of leases, and of orders to
// pause. It fills activity.Tracker and scaler.Pauses, and proves that they know everything in the
// streams, which must hold before a server is put to sleep.
package activitylog
