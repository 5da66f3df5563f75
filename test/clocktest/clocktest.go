// Package clocktest makes the instants of a clock that was set, for tests.
package clocktest

import (
	"time"
	"unsafe"
)

// layout is that of time.Time. With the flag, monotonic is a reading in nanoseconds, and the clock on the wall counts from 1885.
type layout struct {
	wall      uint64 // the flag, 33 bits of seconds, 30 of nanoseconds
	monotonic int64
	_         *time.Location
}

const flag = 1 << 63

// Stepped is the instant at as it would be had the clock on the wall been set by some whole seconds: the monotonic one goes on. What has no
// monotonic reading, as in a bubble of testing/synctest, gets one. No method of time.Time makes such an instant, so this relies on how it is
// laid out; TestAge in activity checks that it does.
func Stepped(at time.Time, by time.Duration) time.Time {
	now := at
	t := (*layout)(unsafe.Pointer(&at))
	if t.wall&flag == 0 {
		t.wall = flag | uint64(now.Unix()-time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix())<<30 | uint64(now.Nanosecond())
		t.monotonic = now.UnixNano()
	}
	t.wall += uint64(by/time.Second) << 30
	return at
}
