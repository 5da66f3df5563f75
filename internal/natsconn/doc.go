// Package natsconn opens and closes connections to NATS as this program needs them: they reconnect
// for ever, keep nothing to send later, and say what is wrong in words that tell what to do. The
// daemon and its clients use it.
package natsconn
