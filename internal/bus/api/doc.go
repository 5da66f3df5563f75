// Package api answers requests, as the NATS micro service "idle-scaler".
//
//	api.VERB.NS.NAME   reads are answered from memory; orders are checked and put on the command stream,
//	                   with where to answer; so there is one order for everything
//	api.pause          goes to the stream of pauses, and is answered when every daemon must know it
//
// All replicas answer; each request goes to one of them. No handler of a subscription blocks on IO.
package api
