// Package natsconn opens and closes connections to NATS. They reconnect for ever, keep nothing to
// send later, and log in words what went wrong and what to do. The daemon and its clients use it.
package natsconn
