// Package report says what sleep came to in a span of time: hours asleep, the CPU and memory that
// this freed, wakes and how long they took, and sleeps that were mistakes.
//
// An [Aggregate] takes the events of that time, in any order, and [Aggregate.Report] makes the
// figures of each server and of all. The package has no clock: every instant is log time and comes
// with an event, with a server, or as an end of the span. It adds whole numbers only.
//
// Concurrency: an Aggregate is for one goroutine. A [Report] is never changed after it was made.
package report
