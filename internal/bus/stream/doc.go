// Package stream makes the streams of the daemon and reads them.
//
// [Ensure] makes them or adopts those that exist. A [Feed] reads one and ends as soon as a message
// is missing. Its user then opens another one, which reads again from the start, so nothing gets
// lost. [Last] asks the leader of a stream for its last message.
package stream
