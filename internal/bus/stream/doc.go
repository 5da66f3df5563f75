// Package stream makes the streams of the daemon and reads them.
//
// [Ensure] makes them or adopts those that are there. A [Feed] reads one so that every message is
// accounted for: it ends, rather than goes on, when one is missing. Whoever needs more opens
// another one and reads again from the start, which can't be wrong. [Last] asks the leader of a
// stream what it holds.
package stream
