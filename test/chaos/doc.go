// Package chaos kills, freezes and cuts off everything that idle-scaler consists of and stands on, while it works, and then checks
// that nothing was lost and nobody was put to sleep by mistake.
//
//	make chaos SEED=7 DURATION=2m SERVERS=150
//
// What runs, each in a process of its own: a real control plane (bin/cluster), a real NATS server ([chaos/nats]), and three daemons
// with the race detector. Each daemon reaches both through proxies of its own; the harness goes past them. Whenever a daemon is started its clock
// is right, ahead or behind, by up to 5 minutes ([chaos/clock]); those of NATS and of the API server are that of the harness.
//
//	workload ──▶ NATS ◀── proxy ── daemon ── proxy ──▶ API server ──▶ history
//	    │                            ▲                                  │
//	    │                         faults                                │
//	    └──▶ Record: what was sent, acknowledged, done and told ◀───────┘
//	                              │
//	                           checker
//
// How to read it: record.go says what is written down, workload.go what is sent, faults.go what is broken, history.go how the
// Deployments' past is kept, checker.go and its checker_*.go what must hold, stage.go and finale.go how a run goes. The checker is a pure function of a [Record] and shares no code with what it
// checks: it imports nothing of this module, and knows the wire and the annotations only as their documentation has them.
// checker_test.go gives it made-up records, one for each thing that can be wrong. story.go tells all that is known of one server.
//
// A run is storms of faults with calm between them, and an end: faults and workload cease, everything unused must fall asleep and
// every command be finished, then everything that sleeps is used once more and must wake.
//
// The seed decides who is who and what is broken when; the threads of six processes on one machine do as they like, so that a
// seed makes a failure likely again, not certain.
package chaos
